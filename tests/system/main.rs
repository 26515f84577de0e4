//! Whole programs, end to end.

mod collector;
mod shop;
