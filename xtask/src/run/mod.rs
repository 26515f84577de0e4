//! What `demo` and `bench` have in common: programs that run beside us, networks for them, the
//! agent, a place for its exports.

mod agent;
mod netns;
mod node;
mod process;
mod root;
mod sink;
mod talk;

pub(crate) use agent::{Agent, Client, Network};
pub(crate) use netns::{NetNs, again_apart};
pub(crate) use node::{Node, Pod};
pub(crate) use process::Process;
pub(crate) use root::{User, again_as_root};
pub(crate) use sink::Sink;
pub(crate) use talk::Talk;
