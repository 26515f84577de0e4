//! `cargo xtask`: everything that plain cargo cannot express. One file or folder per subcommand.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line tool")]

mod bench;
mod bpf;
mod build;
mod cache;
mod check;
mod ci;
mod clock;
mod compiler;
mod demo;
mod fixtures;
mod fuzz;
mod host;
mod lint;
mod manifests;
mod run;
mod setup;
mod sh;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Builds, tests and checks taskscope. Use it instead of plain cargo: it builds the kernel half,
/// installs what is missing, and adds the flags that an older compiler needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    Setup(setup::Options),
    Bpf(bpf::Options),
    Build(build::Options),
    Demo(demo::Options),
    Check(check::Options),
    Lint(lint::Options),
    Clippy(lint::ClippyOptions),
    Test(test::Options),
    Fuzz(fuzz::Options),
    Bench(bench::Options),
    Manifests(manifests::Options),
    Tidy(tidy::Options),
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Task::parse() {
        Task::Setup(options) => setup::run(&options).map(done),
        Task::Bpf(options) => bpf::run(&options).map(done),
        Task::Build(options) => build::run(&options).map(done),
        Task::Demo(options) => demo::run(&options).map(done),
        Task::Check(options) => check::run(&options).map(done),
        Task::Lint(options) => lint::run(&options).map(done),
        Task::Clippy(options) => lint::clippy(&options).map(done),
        Task::Test(options) => test::run(&options),
        Task::Fuzz(options) => fuzz::run(&options).map(done),
        Task::Bench(options) => bench::run(&options).map(done),
        Task::Manifests(options) => manifests::run(&options).map(done),
        Task::Tidy(options) => tidy::run(&options).map(done),
        Task::Ci(options) => ci::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
