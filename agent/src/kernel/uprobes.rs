//! Uprobes on files. One attachment serves all processes of a file; who is looked at, the gate says.

use std::{path::Path, thread};

use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};

use super::{KernelError, points};
use crate::targets::golang::{Point, PointName};

/// The probes on one file. Dropped, they are detached, which takes the kernel tens of milliseconds
/// for each, so that happens on a thread of its own.
#[derive(Debug, Default)]
pub struct AttachedFile {
    links: Vec<UProbeLink>,
    pub attached: Vec<PointName>,
    pub refused: Vec<(PointName, KernelError)>,
}

impl Drop for AttachedFile {
    fn drop(&mut self) {
        let links = std::mem::take(&mut self.links);
        if !links.is_empty() {
            // If no thread can be made the links are dropped right here, which is only slower.
            drop(thread::Builder::new().name("detach".to_owned()).spawn(move || drop(links)));
        }
    }
}

/// Attaches each point to `path`, which may be a magic link such as `/proc/PID/exe`.
pub(super) fn attach(ebpf: &mut Ebpf, path: &Path, points: &[Point]) -> AttachedFile {
    let mut file = AttachedFile::default();
    for point in points {
        let Some(row) = points::row(point.name) else {
            continue;
        };
        match attach_one(ebpf, row.program, path, point.file_offset, None) {
            Ok(link) => {
                file.links.push(link);
                file.attached.push(point.name);
            }
            Err(error) => file.refused.push((point.name, error)),
        }
    }
    file
}

/// `cookie` is what `bpf_get_attach_cookie` returns in the program.
pub(super) fn attach_one(
    ebpf: &mut Ebpf,
    program: &'static str,
    path: &Path,
    file_offset: u64,
    cookie: Option<u64>,
) -> Result<UProbeLink, KernelError> {
    let probe = ebpf.program_mut(program).ok_or(KernelError::Missing { what: "program", name: program })?;
    let attach = |source| KernelError::Attach {
        program,
        target: path.display().to_string(),
        source: Box::new(source),
    };
    let probe: &mut UProbe = probe.try_into().map_err(attach)?;
    if probe.fd().is_err() {
        probe.load().map_err(|source| KernelError::Program { program, source: Box::new(source) })?;
    }
    let point = UProbeAttachPoint { location: UProbeAttachLocation::AbsoluteOffset(file_offset), cookie };
    let id = probe.attach([point], path, UProbeScope::AllProcesses).map_err(attach)?;
    probe.take_link(id).map_err(attach)
}
