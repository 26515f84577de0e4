//! `cargo xtask check`: the quickest answer to "does it compile".

use clap::Args;

use crate::{host::host_cargo, sh};

/// Type-checks the host half, without the kernel half and without linking.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask check\n  cargo xtask check -- -p agent --tests")]
pub(crate) struct Options {
    /// Passed on to `cargo check`.
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    sh::run(host_cargo("check")?.args(&options.args))
}
