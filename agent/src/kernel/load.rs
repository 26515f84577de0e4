//! The loaded kernel half.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd as _, RawFd},
};

use agent_common::{
    Wire as _,
    counter::{self, Counters},
    event::udp::{FlowKey, FlowRow, FlowTotals},
    layout::{GoProcess, point},
    limits, names,
};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{BtfTracePoint, Iter, ProgramError},
};

use super::{
    AttachedFile, Forms, Hook, KernelError, Prices, PushedIn, Refused, btf, calibrate,
    dump::Dumps,
    flows::Flows,
    heap,
    iter::{self, Link},
    log::KernelLog,
    maps::{self, InMap},
    packets::{Packets, Way},
    uprobes,
};
use crate::{
    clock::Ktime,
    config::settings::{TcMode, XdpMode},
    links,
    targets::{golang::Point, process::Tgid},
};

pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/agent.bpf.o"));

/// Maps that the kernel evicts from, with their least size.
const LRU_MAPS: &[(&str, u32)] = &[
    (names::MAP_SERVED, limits::OPEN_CALLS),
    (names::MAP_SENT, limits::OPEN_CALLS),
    (names::MAP_STATEMENTS, limits::OPEN_STATEMENTS),
    (names::MAP_CONNS, limits::HTTP_CONNECTIONS),
    (names::MAP_CONTEXTS, limits::HTTP_CONNECTIONS),
    (names::MAP_PEERS, limits::PACKET_PEERS),
];

fn lru_entries() -> u32 {
    let n_cpus = aya::util::nr_cpus().map_or(1, u32::from);
    limits::LRU_ENTRIES_PER_CPU.saturating_mul(n_cpus)
}

/// What can be chosen at load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A power of two, at least a page.
    pub ring_bytes: u32,
    /// More where the kernel would not keep so few.
    pub flow_entries: u32,
    pub log: bool,
    /// `None`: as this kernel takes them.
    pub forms: Option<Forms>,
    pub tc: TcMode,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_bytes: limits::RING_BYTES,
            flow_entries: limits::FLOWS,
            log: false,
            forms: None,
            tc: TcMode::Auto,
        }
    }
}

/// Programs, maps and links. Dropped, nothing of it stays in the kernel; of filters, which [`Hook`]s hold, only doors.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    ring: RingBuf<MapData>,
    pub(super) rows: RingBuf<MapData>,
    counters: PerCpuArray<MapData, InMap<Counters>>,
    watched: HashMap<MapData, u32, InMap<GoProcess>>,
    socks: Map,
    seed: Option<Link>,
    pub(super) dumps: Dumps,
    flows: Option<Flows>,
    log: KernelLog,
    map_bytes: u64,
    tracepoints: Vec<RawFd>,
    packets: Packets,
}

impl Kernel {
    /// Loads everything and attaches what looks at sockets and processes.
    ///
    /// # Errors
    ///
    /// When nothing can work. What fails alone is in the second part of the answer.
    pub fn load(options: Options) -> Result<(Self, Vec<Refused>), KernelError> {
        if OBJECT.is_empty() {
            return Err(KernelError::BuiltWithout);
        }
        let forms = options.forms.unwrap_or_else(Forms::of_this_kernel);
        let layouts = btf::layouts()?;
        let log_level = if options.log { aya_log::Level::Debug as u8 } else { 0 };
        let dns_on_xdp = u8::from(forms.xdp_frags);
        let lru_entries = lru_entries();
        let mut loader = EbpfLoader::new();
        for (name, least) in LRU_MAPS {
            loader.map_max_entries(name, lru_entries.max(*least));
        }
        loader.map_max_entries(names::MAP_FLOWS, lru_entries.max(options.flow_entries));
        let mut ebpf = loader
            .override_global(names::GLOBAL_KERNEL_LAYOUT, &InMap(layouts.kernel), true)
            .override_global(names::GLOBAL_FILE_LAYOUT, &InMap(layouts.file), true)
            .override_global(names::GLOBAL_TCP_LAYOUT, &InMap(layouts.tcp), true)
            .override_global(names::GLOBAL_RESET_REASONS, &InMap(layouts.resets), true)
            // A helper of the same kernel as that form of programs.
            .override_global(names::GLOBAL_DNS_ON_XDP, &dns_on_xdp, true)
            .override_global(aya_log::LEVEL, &log_level, false)
            .map_max_entries(names::MAP_EVENTS, options.ring_bytes)
            .load(&forms.apply(OBJECT))
            .map_err(|source| KernelError::Load { source: Box::new(source) })?;
        let packets = Packets {
            way: Way::choose(options.tc, forms.tcx),
            doors: maps::take(&mut ebpf, names::MAP_DOORS, ProgramArray::try_from)?,
        };
        if packets.way == Some(Way::Clsact) {
            tracing::info!(
                "Programs hang on filters of clsact; after a kill -9 empty ones stay until the next start."
            );
        }
        let map_bytes = maps::memory_bytes();
        let log = if options.log { KernelLog::new(&mut ebpf) } else { KernelLog::off() };
        let mut kernel = Self {
            ring: maps::take(&mut ebpf, names::MAP_EVENTS, RingBuf::try_from)?,
            rows: maps::take(&mut ebpf, names::MAP_ROWS, RingBuf::try_from)?,
            counters: maps::take(&mut ebpf, names::MAP_COUNTERS, PerCpuArray::try_from)?,
            watched: maps::take(&mut ebpf, names::MAP_WATCHED, HashMap::try_from)?,
            socks: maps::take(&mut ebpf, names::MAP_SOCKS, Ok)?,
            ebpf,
            seed: None,
            dumps: Dumps::default(),
            flows: None,
            log,
            map_bytes,
            tracepoints: Vec::new(),
            packets,
        };
        let mut refused = layouts.refused;
        if kernel.packets.way.is_none() {
            refused.push(Refused { feature: "UDP and DNS of this node", error: KernelError::NoTcx });
        }
        refused.extend(kernel.attach_network(btf::needed(&layouts.tracepoints, forms.received)));
        heap::give_back();
        Ok((kernel, refused))
    }

    fn attach_network(
        &mut self,
        tracepoints: impl Iterator<Item = &'static btf::Tracepoint>,
    ) -> Vec<Refused> {
        let mut refused = Vec::new();
        let btf = match Btf::from_sys_fs() {
            Ok(btf) => btf,
            Err(source) => {
                let source = Box::new(ProgramError::Btf(source));
                let error = KernelError::Program { program: names::PROG_SOCK_STATE, source };
                return vec![Refused { feature: "topology", error }];
            }
        };
        for btf::Tracepoint { program, name, feature, .. } in tracepoints {
            if let Err(error) = self.attach_tracepoint(program, name, &btf) {
                refused.push(Refused { feature, error });
            }
        }
        refused.extend(self.attach_dumps(&btf));
        match self.link_iterator(names::PROG_SEED, "task_file", &btf) {
            Ok(link) => self.seed = Some(link),
            Err(error) => refused.push(Refused { feature: "connections older than the agent", error }),
        }
        match Flows::new(&mut self.ebpf, &btf) {
            Ok(flows) => self.flows = Some(flows),
            Err(error) => refused.push(Refused { feature: "UDP", error }),
        }
        refused
    }

    fn attach_tracepoint(
        &mut self,
        program: &'static str,
        tracepoint: &str,
        btf: &Btf,
    ) -> Result<(), KernelError> {
        let name = program;
        let refuse = |source| KernelError::Program { program, source: Box::new(source) };
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
        let program: &mut BtfTracePoint = program.try_into().map_err(refuse)?;
        program.load(tracepoint, btf).map_err(refuse)?;
        program.attach().map_err(refuse)?;
        self.tracepoints.push(program.fd().map_err(refuse)?.as_fd().as_raw_fd());
        Ok(())
    }

    pub(super) fn link_iterator(
        &mut self,
        name: &'static str,
        walk: &str,
        btf: &Btf,
    ) -> Result<Link, KernelError> {
        let refuse = |source| KernelError::Program { program: name, source: Box::new(source) };
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
        let program: &mut Iter = program.try_into().map_err(refuse)?;
        program.load(walk, btf).map_err(refuse)?;
        let fd = program.fd().map_err(refuse)?;
        let map = match (&self.socks, name) {
            (Map::SkStorage(map) | Map::Unsupported(map), names::PROG_SOCK_DUMP | names::PROG_SOCK_NEWS) => {
                Some(map.fd())
            }
            _ => None,
        };
        let map = map.map(AsFd::as_fd);
        Link::create(fd, map).map_err(|source| KernelError::Iterator { what: name, source })
    }

    /// Finds the owners of sockets that are there already. Whole machine: below a millisecond.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the walk.
    pub fn seed(&mut self) -> Result<(), KernelError> {
        let Some(link) = &self.seed else {
            return Ok(());
        };
        let failed = |source| KernelError::Iterator { what: names::PROG_SEED, source };
        let mut walk = link.walk().map_err(failed)?;
        // The program writes nothing.
        while iter::read(&mut walk, &mut [0; 16]).map_err(failed)? != 0 {}
        Ok(())
    }

    /// Hands a row for each UDP flow to `sink`; returns what was ever counted, `None` where UDP is refused.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the walk.
    pub fn flows(&mut self, sink: impl FnMut(FlowRow)) -> Result<Option<FlowTotals>, KernelError> {
        self.flows.as_ref().map(|flows| flows.dump(sink)).transpose()
    }

    /// Makes room for another flow.
    ///
    /// # Errors
    ///
    /// When the kernel refuses. One that is not there any more is fine.
    pub fn end_flow(&mut self, flow: FlowKey) -> Result<(), KernelError> {
        self.flows.as_mut().map_or(Ok(()), |flows| flows.remove(flow))
    }

    /// Hands waiting records to `sink`, at most so many; returns how many there were.
    pub fn drain(&mut self, most: usize, mut sink: impl FnMut(&[u8])) -> usize {
        let mut n_records = 0;
        while n_records < most
            && let Some(record) = self.ring.next()
        {
            sink(&record);
            n_records += 1;
        }
        self.log.flush();
        n_records
    }

    /// What the kernel half counted, by slot of [`agent_common::counter`], summed over CPUs.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let Ok(per_cpu) = self.counters.get(&0, 0) else {
            return [0; counter::SLOTS];
        };
        std::array::from_fn(|slot| per_cpu.iter().map(|it| it.0[slot]).sum())
    }

    /// Hits of tracepoints that the kernel left out, because they came while the same program was running on that CPU.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.tracepoints.iter().map(|program| maps::skipped(*program)).sum()
    }

    /// Kernel memory of the maps, in bytes.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// Whether there can be programs on interfaces of workloads, on loopback and where packets leave.
    #[must_use]
    pub fn has_classifiers(&self) -> bool {
        self.packets.way.is_some()
    }

    /// Puts the packet program on an interface; `None` when it is not wished.
    ///
    /// # Errors
    ///
    /// When neither form is possible, or the interface is gone.
    pub fn attach_packets(&mut self, interface: &str, wish: XdpMode) -> Result<Option<Hook>, KernelError> {
        self.packets.attach(&mut self.ebpf, interface, wish)
    }

    /// Puts the programs on a workload's interface.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or the interface is gone.
    pub fn attach_workload(&mut self, link: &links::Link) -> Result<[Hook; 2], KernelError> {
        self.packets.attach_workload(&mut self.ebpf, link)
    }

    /// Puts the program where packets of sockets leave.
    ///
    /// # Errors
    ///
    /// As [`Self::attach_workload`].
    pub fn attach_egress(&mut self, link: &links::Link) -> Result<[Hook; 1], KernelError> {
        self.packets.attach_egress(&mut self.ebpf, link).map(|hook| [hook])
    }

    /// Looks whether programs of others came before this one, and puts it first again if that may be; `None`: it
    /// is not there any more.
    pub fn look(&mut self, link: &links::Link, hook: Hook, now: Ktime) -> (Option<Hook>, Option<PushedIn>) {
        self.packets.look(&mut self.ebpf, link, hook, now)
    }

    /// Puts the probes on a file that are not on it yet, for all processes that run it.
    pub fn attach_file(&mut self, exe: &File, points: &[Point], file: &mut AttachedFile) {
        uprobes::attach(&mut self.ebpf, exe, points, file);
    }

    /// Opens the gate for a process.
    ///
    /// # Errors
    ///
    /// When too many are watched.
    pub fn watch(&mut self, tgid: Tgid, process: GoProcess) -> Result<(), KernelError> {
        let name = names::MAP_WATCHED;
        self.watched
            .insert(&tgid.0, &InMap(process), 0)
            .map_err(|source| KernelError::Map { name, source: Box::new(source) })
    }

    /// Closes it. A process that is not watched is fine.
    pub fn unwatch(&mut self, tgid: Tgid) {
        if let Err(error) = self.watched.remove(&tgid.0) {
            tracing::debug!(%error, tgid = tgid.0, "The process was not watched.");
        }
    }

    /// Hits of each point by this process so far; `None` when it is not watched.
    #[must_use]
    pub fn hits(&self, tgid: Tgid) -> Option<[u64; point::COUNT]> {
        self.watched.get(&tgid.0, 0).ok().map(|process| process.0.hits)
    }

    /// Measures what hits cost here.
    ///
    /// # Errors
    ///
    /// When uprobes are refused: then no probe works.
    pub fn calibrate(&mut self) -> Result<Prices, KernelError> {
        let this = Tgid(std::process::id());
        self.watch(this, GoProcess::zeroed())?;
        let prices = calibrate::prices(&mut self.ebpf);
        self.unwatch(this);
        prices
    }
}

/// How often a program ran, while the kernel counts that (`kernel.bpf_stats_enabled`).
#[derive(Clone, Debug)]
pub struct RunCount {
    pub program: String,
    pub hits: u64,
}

impl Kernel {
    /// Of the programs that are loaded. For tests.
    pub fn run_counts(&self) -> Vec<RunCount> {
        let counts = self.ebpf.programs().filter_map(|(name, program)| {
            let info = program.info().ok()?;
            Some(RunCount { program: name.to_owned(), hits: info.run_count() })
        });
        counts.collect()
    }
}

/// What the verifier had to look at.
#[derive(Debug)]
pub struct VerifierCost {
    pub program: String,
    /// Instructions, on all paths.
    pub verified: u32,
}

/// Loads every program. For tests.
///
/// # Errors
///
/// The first program that is refused.
pub fn verifier_costs() -> Result<Vec<VerifierCost>, KernelError> {
    let (mut kernel, refused) = Kernel::load(Options::default())?;
    if let Some(refused) = refused.into_iter().next() {
        return Err(refused.error);
    }
    let types = Btf::from_sys_fs().map_err(|source| KernelError::Program {
        program: names::PROG_SOCK_READER,
        source: Box::new(ProgramError::Btf(source)),
    })?;
    let mut costs = Vec::new();
    for (name, program) in kernel.ebpf.programs_mut() {
        // Only tests come here.
        let named: &'static str = name.to_owned().leak();
        let refuse = |source| KernelError::Program { program: named, source: Box::new(source) };
        use aya::programs::Program;
        match program {
            Program::UProbe(it) if it.fd().is_err() => it.load().map_err(refuse)?,
            Program::Xdp(it) => it.load().map_err(refuse)?,
            Program::SchedClassifier(it) => it.load().map_err(refuse)?,
            // The only one that another stands for.
            Program::BtfTracePoint(it) if it.fd().is_err() => it.load(btf::READER, &types).map_err(refuse)?,
            _ => {}
        }
        let verified = program.info().map_err(refuse)?.verified_instruction_count().unwrap_or(0);
        costs.push(VerifierCost { program: name.to_owned(), verified });
    }
    costs.sort_by(|a, b| a.program.cmp(&b.program));
    Ok(costs)
}
