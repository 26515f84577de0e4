//! What will work on this machine, and why not the rest.
//!
//! Reads procfs and sysfs once as text and judges it; loads nothing, so it needs no privileges. Must
//! not know aya: what really loads is said by `kernel`.

mod capabilities;
#[cfg(test)]
mod deployed;
mod facts;
mod features;
mod ground;
mod inputs;
mod interfaces;
mod verdict;
mod version;

pub use self::{
    inputs::Inputs,
    verdict::{Check, State},
};
use crate::config::settings::Settings;

/// The features of taskscope first, then what they stand on, then the interfaces.
#[must_use]
pub fn examine(inputs: &Inputs, settings: &Settings) -> Vec<Check> {
    let facts = facts::Facts::new(inputs);
    let features = features::checks(&facts, inputs, settings);
    let ground = ground::checks(&facts, inputs);
    let interfaces = interfaces::checks(&facts, &inputs.interfaces, settings);
    features.into_iter().chain(ground).chain(interfaces).collect()
}

#[cfg(test)]
mod tests;
