//! Code that runs in both halves and is tested on the host: no clocks, no maps, no reads of foreign memory.

pub mod glance;
pub mod packet;
