//! A watched server with its clients, and the records of their requests.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use agent::kernel::AttachedFile;
use agent_common::{
    Wire as _, counter,
    event::{
        Event,
        http::{Call, joined_by},
    },
    layout::GoProcess,
};
use tests::{Observer, Target, has_admin, own_maps, paths::built};

/// A watched server, and what clients of the same file need to be watched.
pub(crate) struct Scene {
    pub(crate) observer: Observer,
    pub(crate) server: Target,
    exe: PathBuf,
    process: GoProcess,
    _file: AttachedFile,
}

impl Scene {
    #[track_caller]
    pub(crate) fn open(name: &str, args: &[&str]) -> Self {
        Self::open_by(Observer::load(), name, args)
    }

    #[track_caller]
    pub(crate) fn open_by(observer: Observer, name: &str, args: &[&str]) -> Self {
        Self::start(observer, &[], name, args)
    }

    /// With these variables in the server's environment.
    #[track_caller]
    pub(crate) fn open_in(env: &[(&str, &str)], name: &str, args: &[&str]) -> Self {
        Self::start(Observer::load(), env, name, args)
    }

    #[track_caller]
    fn start(mut observer: Observer, env: &[(&str, &str)], name: &str, args: &[&str]) -> Self {
        let exe = built(name);
        // Without randomisation all processes of a file have their tables at the same addresses, so that
        // clients can be watched before they run.
        let mut command = Command::new("setarch");
        command.arg("-R").arg(&exe).args(args).envs(env.iter().copied());
        let server = Target::start(command);
        let (file, plan) = observer.attach(server.pid());
        observer.watch(server.pid(), plan.process);
        Self { observer, server, exe, process: plan.process, _file: file }
    }

    #[track_caller]
    pub(crate) fn watch(&mut self, pid: u32) {
        self.observer.watch(pid, self.process);
    }

    /// Starts a client that is watched from its first request on.
    #[track_caller]
    pub(crate) fn client(&mut self, args: &[&str]) -> Target {
        let exe = self.exe.to_str().expect("paths of targets are UTF-8");
        let mut client = Target::held("setarch", [&["-R", exe, "client"], args].concat());
        self.watch(client.pid());
        client.tell("go");
        client
    }

    /// No context waits for a server.
    #[track_caller]
    pub(crate) fn assert_each_stream_was_taken(&self) {
        if has_admin() {
            let contexts = own_maps::values::<JOIN_KEY_BYTES, CONTEXT_BYTES>("CONTEXTS");
            assert_eq!(contexts.len(), 0);
        }
    }

    /// Starts another program of the file that is watched from its first request on.
    #[track_caller]
    pub(crate) fn another(&mut self, args: &[&str]) -> Target {
        let mut command = Command::new("setarch");
        command.arg("-R").arg(&self.exe).args(args);
        let another = Target::start(command);
        self.watch(another.pid());
        another
    }

    #[track_caller]
    pub(crate) fn assert_nothing_lost_or_left(&self) {
        for slot in [
            counter::HTTP_RING_FULL,
            counter::HTTP_NOT_KEPT,
            counter::HTTP_NO_IDENTITY,
            counter::HTTP_END_WITHOUT_BEGIN,
            counter::USER_READ_FAILED,
        ] {
            assert_eq!(self.observer.counter(slot), 0, "{}", counter::TABLE[slot as usize].name);
        }
        // Maps are opened by number, which takes more than the agent needs.
        let maps: &[&str] = if has_admin() { &["SERVED", "SENT"] } else { &[] };
        for requests in maps {
            let kept = own_maps::values::<16, { size_of::<Call>() }>(requests);
            // What has ended on a connection that is still open keeps its room, without a trace.
            let calls = kept.iter().filter_map(|bytes| Call::read_from(bytes));
            let is_open = |call: &Call| call.trace_id[..8] != [0; 8];
            assert_eq!(calls.filter(is_open).count(), 0, "{requests}");
        }
    }
}

/// Of the kernel half's `JoinKey` and `Context`.
const JOIN_KEY_BYTES: usize = 44;
const CONTEXT_BYTES: usize = 32;

/// By process, side and path.
pub(crate) struct Calls<'a>(BTreeMap<(u32, u8, &'a str), &'a Call>);

impl<'a> Calls<'a> {
    #[track_caller]
    pub(crate) fn new(calls: &'a [Call]) -> Self {
        let mut by_path = BTreeMap::new();
        for call in calls {
            let again = by_path.insert((call.header.tgid, call.side, text(call)), call);
            assert!(again.is_none(), "two records of {}", text(call));
        }
        Self(by_path)
    }

    #[track_caller]
    pub(crate) fn one(&self, tgid: u32, side: u8, path: &str) -> &'a Call {
        self.0.get(&(tgid, side, path)).unwrap_or_else(|| panic!("no record of {path} by {tgid}"))
    }

    pub(crate) fn of(&self, tgid: u32) -> impl Iterator<Item = &'a Call> {
        self.0.iter().filter(move |(key, _)| key.0 == tgid).map(|(_, call)| *call)
    }
}

#[track_caller]
pub(crate) fn assert_joined(client: &Call, server: &Call) {
    let path = text(server);
    assert_eq!(server.joined_by, joined_by::CONNECTION, "{path}");
    assert_eq!((server.parent_span_id, server.trace_id), (client.span_id, client.trace_id), "{path}");
    assert_eq!((server.local, server.local_port), (client.remote, client.remote_port), "{path}");
    assert_eq!((server.remote, server.remote_port), (client.local, client.local_port), "{path}");
}

pub(crate) fn text(call: &Call) -> &str {
    std::str::from_utf8(&call.path[..usize::from(call.path_len)]).expect("our paths are ASCII")
}

pub(crate) fn route(call: &Call) -> &str {
    std::str::from_utf8(&call.route[..usize::from(call.route_len)]).expect("our patterns are ASCII")
}

pub(crate) fn call(event: &Event) -> Option<Call> {
    match event {
        Event::Call(it) => Some(*it),
        _ => None,
    }
}
