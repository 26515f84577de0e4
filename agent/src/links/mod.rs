//! The interfaces of a network namespace: what each one is, and when one comes or goes.
//!
//! Must not know what is put on them.

mod kind;
mod message;
mod watch;

pub use kind::Kind;
pub use watch::{Change, Watch};

use std::io;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: Kind,
}

/// Those of this network namespace, by index.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn all() -> io::Result<Vec<Link>> {
    let mut watch = Watch::once()?;
    let mut links = Vec::new();
    watch.wait(|change| match change {
        Change::There(link) => links.push(link),
        Change::Gone(_) | Change::Whole => {}
    })?;
    links.sort_by_key(|it| it.index);
    Ok(links)
}
