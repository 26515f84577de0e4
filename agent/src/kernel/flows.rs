//! UDP flows that the kernel half counts.

use std::io;

use agent_common::{
    Wire as _,
    event::udp::{FlowCount, FlowKey, FlowRow, FlowTotals},
    names,
};
use aya::{
    Btf, Ebpf,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray},
    programs::{Iter, ProgramError},
};

use super::{
    KernelError,
    iter::{self, Link},
    maps::{self, InMap},
};

pub(super) struct Flows {
    map: HashMap<MapData, InMap<FlowKey>, InMap<FlowCount>>,
    totals: PerCpuArray<MapData, InMap<FlowTotals>>,
    dump: Link,
}

impl Flows {
    pub(super) fn new(ebpf: &mut Ebpf, btf: &Btf) -> Result<Self, KernelError> {
        let totals = maps::take(ebpf, names::MAP_FLOW_TOTALS, PerCpuArray::try_from)?;
        let map = maps::take(ebpf, names::MAP_FLOWS, Ok)?;
        let dump = link(ebpf, &map, btf)?;
        let name = names::MAP_FLOWS;
        let map =
            HashMap::try_from(map).map_err(|source| KernelError::Map { name, source: Box::new(source) })?;
        Ok(Self { map, totals, dump })
    }

    /// The totals are read first: what comes meanwhile is in the next ones, and never taken for lost.
    pub(super) fn dump(&self, mut sink: impl FnMut(FlowRow)) -> Result<FlowTotals, KernelError> {
        let name = names::MAP_FLOW_TOTALS;
        let per_cpu =
            self.totals.get(&0, 0).map_err(|source| KernelError::Map { name, source: Box::new(source) })?;
        let sum = |field: fn(&FlowTotals) -> u64| per_cpu.iter().map(|it| field(&it.0)).sum();
        let totals = FlowTotals {
            bytes: sum(|it| it.bytes),
            packets: sum(|it| it.packets),
            flows: sum(|it| it.flows),
        };
        let failed = |source| KernelError::Iterator { what: names::PROG_FLOW_DUMP, source };
        let mut walk = self.dump.walk().map_err(failed)?;
        // As for sockets: never a part of a row.
        let mut bytes = vec![0; 32 * 1024];
        loop {
            let n_bytes = iter::read(&mut walk, &mut bytes).map_err(failed)?;
            if n_bytes == 0 {
                return Ok(totals);
            }
            bytes[..n_bytes]
                .chunks_exact(size_of::<FlowRow>())
                .filter_map(FlowRow::read_from)
                .for_each(&mut sink);
        }
    }

    /// One that is not there any more is fine.
    pub(super) fn remove(&mut self, key: FlowKey) -> Result<(), KernelError> {
        match self.map.remove(&InMap(key)) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(KernelError::Map { name: names::MAP_FLOWS, source: Box::new(source) }),
        }
    }
}

fn link(ebpf: &mut Ebpf, map: &Map, btf: &Btf) -> Result<Link, KernelError> {
    let name = names::PROG_FLOW_DUMP;
    let refuse = |source| KernelError::Program { program: name, source: Box::new(source) };
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
    let program: &mut Iter = program.try_into().map_err(refuse)?;
    program.load("bpf_map_elem", btf).map_err(refuse)?;
    let fd = program.fd().map_err(refuse)?;
    let Map::LruHashMap(map) = map else {
        return Err(refuse(ProgramError::UnexpectedProgramType));
    };
    Link::create(fd, Some(std::os::fd::AsFd::as_fd(map.fd())))
        .map_err(|source| KernelError::Iterator { what: name, source })
}
