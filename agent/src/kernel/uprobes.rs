//! Uprobes on files. One attachment serves all processes of a file; who is looked at, the gate says.

use std::{fs, fs::File, path::Path, thread};

use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};

use super::{KernelError, points};
use crate::targets::{
    golang::{Need, Point, PointName, Refusal, RefusalReason, Side, Subject},
    proc::open_link,
};

/// A point, its file offset, and what is there.
type Linked = (PointName, u64, UProbeLink);

/// The probes on one file. Dropped, they are detached, which takes the kernel tens of milliseconds
/// for each, so that happens on a thread of its own.
#[derive(Debug, Default)]
pub struct AttachedFile {
    links: Vec<Linked>,
    pub refused: Vec<(PointName, KernelError)>,
    /// Sides of which a point was refused that they need; nothing of them is attached.
    pub given_up: Vec<Refusal>,
}

impl AttachedFile {
    /// The points that are hit; a name may be there more than once.
    #[must_use]
    pub fn attached(&self) -> Vec<PointName> {
        self.links.iter().map(|(name, _, _)| *name).collect()
    }

    /// What is left of a side costs every request and can make no span.
    fn give_up_incomplete(&mut self) {
        self.given_up.clear();
        for &side in Side::ALL {
            let is_of = |name: PointName| name.side() == side || Some(name.side()) == side.begun_by();
            let is_missing = |name: &PointName| is_of(*name) && name.need() == Need::Must;
            let Some(missing) = self.refused.iter().map(|(name, _)| *name).find(is_missing) else {
                continue;
            };
            let reason = RefusalReason::Incomplete { missing };
            self.given_up.push(Refusal { subject: Subject::Side(side), reason });
            let (gone, kept): (Vec<_>, _) =
                self.links.drain(..).partition(|(name, _, _)| name.side() == side);
            self.links = kept;
            detach(gone);
        }
    }

    fn has(&self, point: &Point) -> bool {
        self.links.iter().any(|(name, offset, _)| (*name, *offset) == (point.name, point.file_offset))
    }
}

impl Drop for AttachedFile {
    fn drop(&mut self) {
        detach(std::mem::take(&mut self.links));
    }
}

fn detach(links: Vec<Linked>) {
    if !links.is_empty() {
        // If no thread can be made the links are dropped right here, which is only slower.
        drop(thread::Builder::new().name("detach".to_owned()).spawn(move || drop(links)));
    }
}

/// Attaches each point of `exe` that is not attached yet.
pub(super) fn attach(ebpf: &mut Ebpf, exe: &File, points: &[Point], file: &mut AttachedFile) {
    file.refused.clear();
    for point in points {
        let Some(row) = points::row(point.name).filter(|_| !file.has(point)) else {
            continue;
        };
        // Older kernels than those that have cookies can do without the one that is nothing.
        let cookie = (row.cookie != 0).then_some(row.cookie);
        match attach_one(ebpf, row.program, exe, point.file_offset, cookie) {
            Ok(link) => file.links.push((point.name, point.file_offset, link)),
            Err(error) => file.refused.push((point.name, error)),
        }
    }
    file.give_up_incomplete();
}

/// `cookie` is what `bpf_get_attach_cookie` returns in the program.
pub(super) fn attach_one(
    ebpf: &mut Ebpf,
    program: &'static str,
    exe: &File,
    file_offset: u64,
    cookie: Option<u64>,
) -> Result<UProbeLink, KernelError> {
    let path = open_link(exe);
    let probe = ebpf.program_mut(program).ok_or(KernelError::Missing { what: "program", name: program })?;
    let attach = |source| KernelError::Attach { program, target: shown(&path), source: Box::new(source) };
    let probe: &mut UProbe = probe.try_into().map_err(attach)?;
    if probe.fd().is_err() {
        probe.load().map_err(|source| KernelError::Program { program, source: Box::new(source) })?;
    }
    let point = UProbeAttachPoint { location: UProbeAttachLocation::AbsoluteOffset(file_offset), cookie };
    let id = probe.attach([point], &path, UProbeScope::AllProcesses).map_err(attach)?;
    probe.take_link(id).map_err(attach)
}

/// The file's own name, for those who read of it.
fn shown(link: &Path) -> String {
    fs::read_link(link).unwrap_or_else(|_| link.to_owned()).display().to_string()
}
