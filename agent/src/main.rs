//! `taskscope`: parse, run, turn the outcome into an exit status.
//!
//! 0 done · 1 failed while running · 2 nothing found · 64 bad usage.

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use agent::{
    causes,
    clock::{self, Clock},
    config::{self, AgentArgs, settings::Settings},
    doctor, kernel,
    query::{
        self, Screen, ScreenKind, Size,
        command::{ClientCommand, DoctorArgs},
        print::doctor::{Patient, Row},
    },
    run,
};
use clap::{Parser, Subcommand, error::ErrorKind};

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 64;

/// Sees who talks to whom, how fast and with what errors, with no change to the programs.
///
/// `taskscope agent` watches this node; every other command asks a running agent. Begin with
/// `taskscope doctor` (what will work here), then `taskscope findings` (what is wrong).
#[derive(Debug, Parser)]
#[command(name = "taskscope", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until SIGINT or SIGTERM
    Agent {
        #[command(flatten)]
        args: Box<AgentArgs>,
    },
    /// What will work on this machine, and why not the rest; needs no agent
    Doctor(DoctorArgs),
    #[command(flatten)]
    Client(Box<ClientCommand>),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let outcome = match arguments.command {
        Command::Agent { args } => agent(&args),
        Command::Doctor(args) => examine(&args),
        Command::Client(command) => ask(&command),
    };
    outcome.unwrap_or_else(|failure| {
        complain(failure.error.as_ref());
        ExitCode::from(failure.status)
    })
}

/// An error with its exit status.
struct Failure {
    status: u8,
    error: Box<dyn Error>,
}

fn failed(error: impl Error + 'static) -> Failure {
    Failure { status: FAILED, error: Box::new(error) }
}

fn misused(error: impl Error + 'static) -> Failure {
    Failure { status: BAD_USAGE, error: Box::new(error) }
}

/// Help and version are no errors.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody may be listening, which is fine.
    let _written = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(BAD_USAGE),
    }
}

fn agent(args: &AgentArgs) -> Result<ExitCode, Failure> {
    if args.help_markdown {
        let written = io::stdout().write_all(config::settings_table().as_bytes());
        return written.map(|()| ExitCode::SUCCESS).map_err(failed);
    }
    let settings = config::load(args, &config::environment).map_err(misused)?;
    log_to_stderr(&settings);
    if let Err(error) = kernel::yield_to_others() {
        tracing::warn!(%error, "The agent may get in the way of watched programs when all cores are busy.");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
    let ended = runtime.block_on(run::run(settings));
    // A thread that hangs is not waited for any longer.
    runtime.shutdown_background();
    ended.map_err(|error| if error.is_bad_setting() { misused(error) } else { failed(error) })?;
    Ok(ExitCode::SUCCESS)
}

/// Lines of the kernel half come through the `log` crate.
fn log_to_stderr(settings: &Settings) {
    use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let started = tracing_subscriber::registry().with(EnvFilter::new(&settings.log)).with(lines).try_init();
    if let Err(error) = started {
        complain(&error);
    }
    if let Err(error) = tracing_log::LogTracer::init() {
        complain(&error);
    }
}

fn examine(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let settings = config::load(&AgentArgs::default(), &config::environment).map_err(misused)?;
    let tracking = kernel::Conntrack::open().map(drop).map_err(|error| causes::chain(&error).to_string());
    let inputs = doctor::Inputs { tracking: Some(tracking), ..doctor::Inputs::read() };
    let checks = doctor::examine(&inputs, &settings);
    let row = |check: doctor::Check| Row {
        feature: check.feature.clone(),
        state: check.state.name(),
        detail: check.detail,
        remedy: check.remedy,
    };
    let patient = Patient {
        node: settings.node,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: Clock::new().wall(clock::now()),
    };
    let rows = checks.into_iter().map(row).collect();
    let mut out = io::stdout().lock();
    match query::print::doctor::print(rows, patient, &args.style(screen_kind()), &mut out) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn ask(command: &ClientCommand) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut out, mut notes) = (io::stdout().lock(), io::stderr().lock());
    let mut screen = Screen { out: &mut out, notes: &mut notes, kind: screen_kind(), size: screen_size };
    let outcome = runtime.block_on(query::run(command, &mut screen));
    // Before the complaint, which wants the lock.
    drop(notes);
    let outcome =
        outcome.map_err(|error| if error.is_bad_setting() { misused(error) } else { failed(error) })?;
    Ok(ExitCode::from(outcome.exit_status()))
}

fn screen_kind() -> ScreenKind {
    if io::stdout().is_terminal() { ScreenKind::Terminal } else { ScreenKind::Pipe }
}

fn screen_size() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that does not know says 0.
    let known = |it: u16| (it != 0).then_some(usize::from(it));
    Some(Size { columns: known(size.ws_col)?, rows: known(size.ws_row)? })
}

/// The error and its causes on one line; nobody may be listening, which is fine.
fn complain(error: &dyn Error) {
    let _written = writeln!(io::stderr(), "taskscope: {}", causes::chain(error));
}
