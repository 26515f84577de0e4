//! What `demo` and `bench` have in common: programs that run beside us, the agent, a place for its exports.

mod agent;
mod process;
mod root;
mod sink;

pub(crate) use agent::{Agent, Client};
pub(crate) use process::Process;
pub(crate) use root::{User, again_as_root};
pub(crate) use sink::Sink;
