//! What the kernel half and the user half agree on, and nothing else.
//!
//! Invariant: no dependencies, no allocation, no I/O. Everything here compiles for the host and for
//! `bpfel-unknown-none`, so each layout assertion is proved twice: once by each compiler.
#![cfg_attr(not(test), no_std)]

#[macro_use]
mod wire;
pub mod counter;
pub mod event;
pub mod layout;
pub mod limits;
pub mod names;
pub mod pure;

pub use wire::{Plain, Wire};
