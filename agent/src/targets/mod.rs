//! Which processes there are, and what is in them.
//!
//! Reads procfs and ELF files; hands on plain data. Must not know aya.

pub mod elf;
pub mod golang;
pub mod memory;
pub mod process;
