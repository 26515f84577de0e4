//! target-dropper: a link that loses what it is told to lose, while it runs.
//!
//! `target-dropper INTERFACE [PORT]` puts a program on both directions of the host's end of a veth pair, in
//! the network namespace that it was started in, and takes commands, a line each:
//!
//! | command | loses |
//! |---|---|
//! | `nothing` | nothing |
//! | `everything` | all packets, both ways |
//! | `data FIRST LAST` | segments with payload from behind the interface, counted from the command on |
//! | `one-in N` | every Nth of those |
//! | `syn-acks N` | the first N SYN-ACKs to behind the interface |
//! | `figures` | as before |
//!
//! The answer is what the command before lost: `{"seen": …, "dropped": …}`. A packet is one however many
//! segments offload made of it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the test reads them")]

#[path = "../../../dropper/src/command.rs"]
#[expect(unreachable_pub, reason = "the file belongs to the kernel half, too")]
mod command;

use std::{
    ffi::CString,
    io::{self, BufRead as _},
    process::ExitCode,
    str::SplitWhitespace,
};

use ::tests::paths;
use agent_common::{Plain, Wire as _};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{LinkOrder, SchedClassifier, TcAttach, TcAttachType},
};
use clap::Parser;
use serde_json::{Value, json};

use command::{Command, MAP_COMMAND, PROG_FROM, PROG_TO, drop};

/// A link that loses what it is told to lose.
#[derive(Parser)]
struct Args {
    /// The host's end of a veth pair, in the network namespace that this runs in.
    interface: CString,
    /// Only TCP from or to this port.
    port: Option<u16>,
}

/// Lets aya put our record into a map.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct InMap<T>(T);

// SAFETY: `Plain` promises what `Pod` asks for, and the wrapper is transparent.
unsafe impl<T: Plain> aya::Pod for InMap<T> {}

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("target-dropper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    let object = paths::find_built("dropper.bpf.o").ok_or("dropper.bpf.o is not built: `cargo xtask bpf`")?;
    let mut ebpf = Ebpf::load_file(object)?;
    for (name, attach_type) in [(PROG_FROM, TcAttachType::Ingress), (PROG_TO, TcAttachType::Egress)] {
        let program: &mut SchedClassifier =
            ebpf.program_mut(name).ok_or("a program is missing")?.try_into()?;
        program.load()?;
        let at = TcAttach::Tcx { attach_type, order: LinkOrder::first() };
        program.attach(args.interface.as_c_str(), at)?;
    }
    let map = ebpf.map_mut(MAP_COMMAND).ok_or("the map is missing")?;
    let mut map: Array<&mut MapData, InMap<Command>> = map.try_into()?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        println!("{}", obey(&mut map, &line?, args.port)?);
    }
    Ok(())
}

fn obey(
    map: &mut Array<&mut MapData, InMap<Command>>,
    line: &str,
    port: Option<u16>,
) -> Result<Value, Error> {
    let Command { seen, dropped, .. } = map.get(&0, 0)?.0;
    if line != "figures" {
        let Some(command) = parse(line) else {
            return Ok(json!({"error": format!("this is not a command: {line}")}));
        };
        map.set(0, &InMap(Command { port: port.unwrap_or(0).into(), ..command }), 0)?;
    }
    Ok(json!({"seen": seen, "dropped": dropped}))
}

fn parse(line: &str) -> Option<Command> {
    let mut words = line.split_whitespace();
    let (drop, first, last) = match words.next()? {
        "nothing" => (drop::NOTHING, 0, 0),
        "everything" => (drop::EVERYTHING, 0, 0),
        "data" => (drop::DATA, number(&mut words)?, number(&mut words)?),
        "one-in" => (drop::ONE_IN, number(&mut words)?, 0),
        "syn-acks" => (drop::SYN_ACKS, 1, number(&mut words)?),
        _ => return None,
    };
    words.next().is_none().then_some(Command { drop, first, last, ..Command::zeroed() })
}

fn number(words: &mut SplitWhitespace<'_>) -> Option<u32> {
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_refused() {
        let check = |line: &str, want: Option<(u32, u32, u32)>| {
            assert_eq!(parse(line).map(|it| (it.drop, it.first, it.last)), want, "{line:?}");
        };
        check("nothing", Some((drop::NOTHING, 0, 0)));
        check("data 3 4", Some((drop::DATA, 3, 4)));
        check("one-in 50", Some((drop::ONE_IN, 50, 0)));
        check("syn-acks 2", Some((drop::SYN_ACKS, 1, 2)));
        for line in ["", "data 3", "data 3 4 5", "one-in", "one-in x", "dance"] {
            check(line, None);
        }
    }
}
