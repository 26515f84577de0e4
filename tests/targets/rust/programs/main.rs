//! target-programs: what the kernel counts for the programs that another process holds.
//!
//! `target-programs PID` makes the kernel count as long as it runs, says `ready`, and answers each line with one
//! of JSON: of each program its `name` (cut by the kernel after 15 letters), `hits`, and the `ns` that these took,
//! with the reading of the clock, some 30 ns each.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the bench reads them")]

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _},
    process::ExitCode,
};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use clap::Parser;
use serde_json::{Value, json};

/// What the kernel counts for the programs of a process.
#[derive(Parser)]
struct Args {
    pid: u32,
}

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("target-programs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    let _counting = enable_stats(Stats::RunTime)?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        line?;
        println!("{}", counts(&held_by(args.pid)?)?);
    }
    Ok(())
}

/// Programs behind the descriptors of a process; a link counts as its program.
fn held_by(pid: u32) -> io::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // It may have been closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let id = text.lines().find_map(|it| it.strip_prefix("prog_id:"));
        ids.extend(id.and_then(|it| it.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}

fn counts(ids: &BTreeSet<u32>) -> Result<Value, Error> {
    let mut all = Vec::new();
    for program in loaded_programs() {
        let program = program?;
        if ids.contains(&program.id()) {
            let name = program.name_as_str().unwrap_or("?");
            let ns = program.run_time().as_nanos() as u64;
            all.push(json!({"id": program.id(), "name": name, "hits": program.run_count(), "ns": ns}));
        }
    }
    Ok(Value::Array(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_programs_holds_none() {
        assert_eq!(held_by(std::process::id()).unwrap(), BTreeSet::new());
        assert!(held_by(u32::MAX).is_err());
    }
}
