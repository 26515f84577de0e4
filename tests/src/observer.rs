//! The kernel half at work, with all that it has reported so far.
//!
//! It sees the whole machine: a test picks what belongs to its own processes.

use std::net::{Ipv6Addr, SocketAddr};

use agent::{
    decode::sql::StatementText,
    kernel::{AttachedFile, Kernel, Options},
    targets::{
        golang::SelfCheckError,
        plan::{Plan, PlanError, Planner},
        process::Tgid,
    },
};
use agent_common::{
    event::{
        Event, decode,
        dns::DnsPacket,
        http::Call,
        sock::{Closed, Row},
    },
    layout::{GoProcess, point},
};

use crate::eventually;

pub struct Observer {
    pub kernel: Kernel,
    pub events: Vec<Event>,
    /// Copies of DNS messages, which are among the events without their bytes.
    pub messages: Vec<(DnsPacket, Vec<u8>)>,
    /// As above.
    pub statements: Vec<StatementText>,
}

impl Observer {
    #[track_caller]
    pub fn load() -> Self {
        Self::with(Options::default())
    }

    #[track_caller]
    pub fn with_ring(ring_bytes: u32) -> Self {
        Self::with(Options { ring_bytes, ..Options::default() })
    }

    #[track_caller]
    pub fn with(options: Options) -> Self {
        let (kernel, refused) = Kernel::load(options).unwrap_or_else(|error| panic!("{error}: {error:?}"));
        assert!(refused.is_empty(), "{refused:?}");
        Self { kernel, events: Vec::new(), messages: Vec::new(), statements: Vec::new() }
    }

    /// Takes what is in the ring; returns how many records that were.
    #[track_caller]
    pub fn drain(&mut self) -> usize {
        let Self { kernel, events, messages, statements } = self;
        kernel.drain(usize::MAX, |bytes| {
            let event = decode(bytes).unwrap_or_else(|error| panic!("{error:?} in {bytes:?}"));
            if let Event::DnsPacket(packet) = event {
                let payload = packet.payload(bytes).unwrap_or_else(|| panic!("{packet:?}"));
                messages.push((packet, payload.to_vec()));
            }
            if let Event::Statement(record) = event {
                let text = record.text(bytes).unwrap_or_else(|| panic!("{record:?}")).into();
                statements.push(StatementText { record, text });
            }
            events.push(event);
        })
    }

    /// Drains until `pick` has found `n`; there must not be more.
    #[track_caller]
    pub fn wait_for<T>(&mut self, n: usize, what: &str, pick: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        let mut looked_at = 0;
        eventually(&format!("{n} {what}"), || {
            self.drain();
            found.extend(self.events[looked_at..].iter().filter_map(&pick));
            looked_at = self.events.len();
            (n <= found.len()).then_some(())
        });
        assert_eq!(found.len(), n, "{what}");
        found
    }

    /// The ends of `n` sockets that talked to a server on `port` or were its own.
    #[track_caller]
    pub fn closed(&mut self, n: usize, port: u16) -> Vec<Closed> {
        self.wait_for(n, "ends of sockets", |event| match event {
            Event::Closed(it) if [it.row.state.local_port, it.row.state.remote_port].contains(&port) => {
                Some(*it)
            }
            _ => None,
        })
    }

    /// `n` requests that these processes made or served.
    #[track_caller]
    pub fn calls(&mut self, n: usize, tgids: &[u32]) -> Vec<Call> {
        self.wait_for(n, "requests", |event| match event {
            Event::Call(it) if tgids.contains(&it.header.tgid) => Some(*it),
            _ => None,
        })
    }

    #[track_caller]
    pub fn rows(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        self.kernel.dump(|row| rows.push(row)).unwrap_or_else(|error| panic!("{error:?}"));
        rows
    }

    pub fn counter(&self, slot: u32) -> u64 {
        self.kernel.counters()[slot as usize]
    }

    /// Attaches the probes to the file of a running Go program, all of them.
    #[track_caller]
    pub fn attach(&mut self, pid: u32) -> (AttachedFile, Plan) {
        let plan = Self::plan(pid);
        let file = self.attach_planned(&plan);
        (file, plan)
    }

    /// As [`attach`](Self::attach), whatever the process does meanwhile.
    #[track_caller]
    pub fn attach_planned(&mut self, plan: &Plan) -> AttachedFile {
        let mut file = AttachedFile::default();
        self.kernel.attach_file(&plan.exe, &plan.binary.points, &mut file);
        assert!(file.refused.is_empty(), "{:?}", file.refused);
        assert_eq!(file.attached().len(), plan.binary.points.len());
        file
    }

    /// What there is to do about a running Go program.
    #[track_caller]
    pub fn plan(pid: u32) -> Plan {
        let mut planner = Planner::default();
        // A process that was just executed has no goroutines yet.
        eventually("a plan", || match planner.plan(Tgid(pid)) {
            Err(PlanError::SelfCheck { source: SelfCheckError::NotStarted, .. }) => None,
            plan => Some(plan.unwrap_or_else(|error| panic!("{error}: {error:?}"))),
        })
    }

    /// Opens the gate for a process.
    #[track_caller]
    pub fn watch(&mut self, pid: u32, process: GoProcess) {
        self.kernel.watch(Tgid(pid), process).unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// How often a watched process has come by a point.
    #[track_caller]
    pub fn hits(&self, pid: u32) -> [u64; point::COUNT] {
        self.kernel.hits(Tgid(pid)).unwrap_or_else(|| panic!("{pid} is not watched"))
    }
}

/// An address as the kernel half writes it.
pub fn address(ip: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
}
