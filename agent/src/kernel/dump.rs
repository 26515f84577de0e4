//! Walks over the sockets, read in parts.

use std::fs::File;

use agent_common::{Wire as _, event::sock::Row, names};
use aya::Btf;

use super::{
    Kernel, KernelError, Refused,
    iter::{self, Link, Step},
};

/// The two walks, as far as the kernel takes them.
#[derive(Default)]
pub(super) struct Dumps {
    all: Option<Link>,
    news: Option<Link>,
}

/// A walk under way.
#[derive(Debug)]
pub struct Dump {
    walk: File,
    what: &'static str,
}

/// Which part of a walk it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpPart {
    Middle,
    Last,
}

impl Kernel {
    pub(super) fn attach_dumps(&mut self, btf: &Btf) -> Vec<Refused> {
        let mut refused = Vec::new();
        let mut link = |name, feature| {
            let link = self.link_iterator(name, "bpf_sk_storage_map", btf);
            link.map_err(|error| refused.push(Refused { feature, error })).ok()
        };
        let all = link(names::PROG_SOCK_DUMP, "figures of open connections");
        let news = link(names::PROG_SOCK_NEWS, "cheap figures of open connections");
        self.dumps = Dumps { all, news };
        refused
    }

    /// Hands a row for each TCP socket to `sink`; returns how many.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the walk.
    pub fn dump(&mut self, mut sink: impl FnMut(Row)) -> Result<usize, KernelError> {
        let mut n_rows = 0;
        if let Some(mut dump) = self.begin_dump()? {
            let mut count = |row| {
                sink(row);
                n_rows += 1;
            };
            while self.dump_part(&mut dump, &mut count)? == DumpPart::Middle {}
        }
        Ok(n_rows)
    }

    /// Hands the next rows to `sink`, as many as the ring for them holds at most.
    ///
    /// # Errors
    ///
    /// When the kernel breaks the walk off. What came of it so far is no dump.
    pub fn dump_part(&mut self, dump: &mut Dump, mut sink: impl FnMut(Row)) -> Result<DumpPart, KernelError> {
        let Dump { walk, what } = dump;
        let step = iter::step(walk);
        // Whatever came of it: the next walk must not find them.
        while let Some(bytes) = self.rows.next() {
            if let Some(row) = Row::read_from(&bytes) {
                sink(row);
            }
        }
        let step = step.map_err(|source| KernelError::Iterator { what, source })?;
        Ok(match step {
            Step::Paused => DumpPart::Middle,
            Step::Ended => DumpPart::Last,
        })
    }

    /// Begins a walk over all sockets; `None` when this kernel has none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn begin_dump(&mut self) -> Result<Option<Dump>, KernelError> {
        begin(self.dumps.all.as_ref(), names::PROG_SOCK_DUMP)
    }

    /// The same over those that changed since a walk showed them last, over those that are stuck, and over
    /// listeners.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn begin_news(&mut self) -> Result<Option<Dump>, KernelError> {
        match &self.dumps.news {
            Some(link) => begin(Some(link), names::PROG_SOCK_NEWS),
            None => self.begin_dump(),
        }
    }
}

fn begin(link: Option<&Link>, what: &'static str) -> Result<Option<Dump>, KernelError> {
    let walk = link.map(Link::walk).transpose();
    let walk = walk.map_err(|source| KernelError::Iterator { what, source })?;
    Ok(walk.map(|walk| Dump { walk, what }))
}
