//! The client commands as typed.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{
    Question, ScreenKind,
    flags::{Common, Look, Select, bys, causes, duration, formats, names, nanos},
    print::{Format, Style},
    proto::{By, Filter},
    view::{findings, targets, topology, traces},
};

/// Commands that ask a running agent.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// The agent itself: what it costs, what it made, delivered and lost
    #[command(after_long_help = STATUS)]
    Status(StatusArgs),
    /// Watched processes, every probe on them with its price, and every probe that was refused
    #[command(after_long_help = TARGETS)]
    Targets(TargetsArgs),
    /// Who talks to whom: traffic, connections, requests, errors, latency
    #[command(after_long_help = TOPOLOGY)]
    Topology(TopologyArgs),
    /// Recent traces; with an id, the tree of that one
    #[command(after_long_help = TRACES)]
    Traces(TracesArgs),
    /// What is wrong, how it is known, and which command to type next; worst first
    #[command(after_long_help = FINDINGS)]
    Findings(FindingsArgs),
}

const STATUS: &str = "\
Examples:
  taskscope status                     is it alive, what does it cost
  taskscope status --watch             the same, every two seconds
  taskscope status -o json | jq .lost  what was lost, by reason";

const TARGETS: &str = "\
Examples:
  taskscope targets               every watched process
  taskscope targets 4711          one, with its probes and what each costs
  taskscope targets --sort cpu    where the probes cost most
  taskscope targets -o wide       all of it";

const TOPOLOGY: &str = "\
Examples:
  taskscope topology                           the busiest edges first
  taskscope topology --sort failed --limit 10  where connects fail
  taskscope topology --service shop --watch    one service and its neighbours, live
  taskscope topology --by service              instances of a service as one
  taskscope topology -o wide                   faults by class, addresses, identifiers
  taskscope topology --edge 9f6b1c0de54a2387   one in full: requests by duration, faults, connections that ended
  taskscope topology -o dot | dot -Tsvg        a picture";

const TRACES: &str = "\
Examples:
  taskscope traces                    the newest first
  taskscope traces --slow             the slowest first
  taskscope traces --slow=250ms       only those that took at least so long
  taskscope traces --errors --since 5m
  taskscope traces --cause rto        only those that waited for a lost segment
  taskscope traces 4bf92f35           the tree of one; the beginning of its id is enough";

const FINDINGS: &str = "\
Examples:
  taskscope findings                   start here
  taskscope findings -o wide           with the evidence
  taskscope findings --service cart    of one service
  taskscope findings -o json --watch   one object a line, for a program

The exit status is 2 when nothing was found.";

const FORMAT: &str = "FORMAT";
const TABLES: &[&str] = &["table", "wide", "json"];

#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// How to print it
    #[arg(short, long, value_name = FORMAT, default_value = "table", value_parser = formats(TABLES))]
    output: Format,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Debug)]
pub struct TargetsArgs {
    /// Only this process, with its probes
    #[arg(value_name = "PID", conflicts_with = "pid")]
    process: Option<u32>,
    /// How to print them
    #[arg(short, long, value_name = FORMAT, default_value = "table", value_parser = formats(TABLES))]
    output: Format,
    /// What comes first
    #[arg(long, value_name = "COLUMN", value_parser = names(targets::COLUMNS))]
    sort: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Debug)]
pub struct TopologyArgs {
    /// How to print it
    #[arg(
        short,
        long,
        value_name = FORMAT,
        default_value = "table",
        value_parser = formats(&["table", "wide", "json", "dot", "mermaid"])
    )]
    output: Format,
    /// What comes first
    #[arg(long, value_name = "COLUMN", value_parser = names(topology::COLUMNS))]
    sort: Option<String>,
    /// What each end stands for: workers of one program in one container are one anyway; a workload is the
    /// owner of a pod, else a container, a systemd unit, an executable [default: process]
    #[arg(long, value_name = "WHAT", value_parser = bys())]
    by: Option<By>,
    /// This edge in full: an ID of `-o wide`, whatever `--by` it was of
    #[arg(long, value_name = "ID")]
    edge: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Debug)]
pub struct TracesArgs {
    /// The tree of this trace; the beginning of its id is enough
    #[arg(
        value_name = "TRACE_ID",
        required_if_eq("output", "tree"),
        conflicts_with_all = [
            "sort", "slow", "errors", "cause", "since", "limit", "pid", "service", "exe", "container", "pod",
            "namespace"
        ]
    )]
    trace_id: Option<String>,
    /// How to print them; a tree needs an id
    #[arg(
        short,
        long,
        value_name = FORMAT,
        default_value = "table",
        value_parser = formats(&["table", "wide", "json", "tree"])
    )]
    output: Format,
    /// What comes first
    #[arg(long, value_name = "COLUMN", value_parser = names(&traces::columns()))]
    sort: Option<String>,
    /// The slowest first; with a time, only those that took at least so long
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0s",
        value_parser = duration
    )]
    slow: Option<Duration>,
    /// Only traces with an error
    #[arg(long)]
    errors: bool,
    /// Only traces with a request that this hit: `rto`, a retransmission time-out on its connection; `connect`, a
    /// connect that failed
    #[arg(long, value_name = "KIND", value_parser = causes())]
    cause: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Debug)]
pub struct FindingsArgs {
    /// How to print them
    #[arg(short, long, value_name = FORMAT, default_value = "table", value_parser = formats(TABLES))]
    output: Format,
    /// What comes first
    #[arg(long, value_name = "COLUMN", value_parser = names(findings::COLUMNS))]
    sort: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    common: Common,
}

/// `taskscope doctor` asks no agent, and prints as the others do.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// How to print it
    #[arg(short, long, value_name = FORMAT, default_value = "table", value_parser = formats(TABLES))]
    output: Format,
    #[command(flatten)]
    look: Look,
}

impl DoctorArgs {
    #[must_use]
    pub fn style(&self, screen: ScreenKind) -> Style {
        self.look.style(self.output, screen)
    }
}

/// What a command comes down to.
pub(super) struct Asked<'a> {
    pub(super) question: Question,
    pub(super) filter: Filter,
    pub(super) format: Format,
    pub(super) common: &'a Common,
}

impl ClientCommand {
    pub(super) fn asked(&self) -> Asked<'_> {
        match self {
            Self::Status(StatusArgs { output, common }) => {
                Asked { question: Question::Status, filter: Filter::default(), format: *output, common }
            }
            Self::Targets(TargetsArgs { process, output, sort, select, common }) => {
                let filter = select.filter(sort.as_ref());
                let filter = Filter { pid: process.or(filter.pid), ..filter };
                Asked { question: Question::Targets, filter, format: *output, common }
            }
            Self::Topology(args) => args.asked(),
            Self::Traces(args) => args.asked(),
            Self::Findings(FindingsArgs { output, sort, select, common }) => {
                let filter = select.filter(sort.as_ref());
                Asked { question: Question::Findings, filter, format: *output, common }
            }
        }
    }
}

impl TopologyArgs {
    fn asked(&self) -> Asked<'_> {
        let Self { output, sort, by, edge, select, common } = self;
        let by = by.map(i32::from);
        let filter = Filter { by, edge: edge.clone(), ..select.filter(sort.as_ref()) };
        let question = match output {
            // A picture of one edge is a picture.
            Format::Dot | Format::Mermaid => Question::Topology,
            _ if edge.is_some() => Question::Edge,
            _ => Question::Topology,
        };
        Asked { question, filter, format: *output, common }
    }
}

impl TracesArgs {
    fn asked(&self) -> Asked<'_> {
        let Self { trace_id, output, sort, slow, errors, cause, select, common } = self;
        let slowest_first = slow.map(|_| "duration".to_owned());
        let filter = Filter {
            trace_id: trace_id.clone(),
            slower_than_ns: slow.map(nanos),
            errors: *errors,
            cause: cause.clone(),
            ..select.filter(sort.as_ref().or(slowest_first.as_ref()))
        };
        let question = if trace_id.is_some() { Question::Trace } else { Question::Traces };
        Asked { question, filter, format: *output, common }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: ClientCommand,
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_a_filter() {
        check("topology", Question::Topology, Filter::default());
        check("targets 41", Question::Targets, Filter { pid: Some(41), ..Filter::default() });
        check(
            "topology --since 1m --limit 3 --sort p99 -n prod --edge abc",
            Question::Edge,
            Filter {
                since_ns: Some(60_000_000_000),
                limit: Some(3),
                sort: Some("p99".to_owned()),
                namespace: Some("prod".to_owned()),
                edge: Some("abc".to_owned()),
                ..Filter::default()
            },
        );
        let edge = Filter { edge: Some("abc".to_owned()), ..Filter::default() };
        check("topology --edge abc -o wide", Question::Edge, edge.clone());
        check("topology --edge abc -o mermaid", Question::Topology, edge);
        check(
            "topology --by workload",
            Question::Topology,
            Filter { by: Some(By::Workload.into()), ..Filter::default() },
        );
        check(
            "traces --cause rto",
            Question::Traces,
            Filter { cause: Some("rto".to_owned()), ..Filter::default() },
        );
        check(
            "traces --slow=250ms --errors",
            Question::Traces,
            Filter {
                slower_than_ns: Some(250_000_000),
                sort: Some("duration".to_owned()),
                errors: true,
                ..Filter::default()
            },
        );
        check(
            "traces 4bf9 -o tree",
            Question::Trace,
            Filter { trace_id: Some("4bf9".to_owned()), ..Filter::default() },
        );
    }

    #[test]
    fn bad_usage_is_refused() {
        for line in [
            "findings --sort beauty",
            "findings -o dot",
            "topology --since -5m",
            "topology --since soon",
            "topology --by port",
            "status --watch=1ms",
            "targets 1 --pid 2",
            "status --no-color yes",
            "traces -o tree",
            "traces 4bf9 --service shop",
            "traces 4bf9 --since 5m",
            "traces 4bf9 --limit 1",
            "traces 4bf9 --errors",
            "traces 4bf9 --cause rto",
            "traces --cause weather",
            "traces 4bf9 --slow",
            "traces 4bf9 --sort start",
        ] {
            let words = ["taskscope"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[track_caller]
    fn check(line: &str, question: Question, filter: Filter) {
        let cli = Cli::try_parse_from(["taskscope"].into_iter().chain(line.split(' '))).unwrap();
        let asked = cli.command.asked();
        assert_eq!((asked.question, asked.filter), (question, filter), "{line}");
    }
}
