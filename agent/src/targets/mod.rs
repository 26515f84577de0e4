//! Which processes there are, and what is in them.
//!
//! Reads procfs and ELF files; hands on plain data. Must not know aya.

pub mod cgroup;
pub mod elf;
pub mod golang;
pub mod memory;
pub mod plan;
pub mod proc;
pub mod process;
pub mod select;
pub mod service;
