//! Programs that do what they are told, line by line.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{ChildStdin, ChildStdout},
};

use anyhow::{Context as _, ensure};

/// What a program is told, and what it says.
pub(crate) struct Talk {
    told: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    /// Waits until it says `ready`.
    pub(super) fn new(told: ChildStdin, said: ChildStdout) -> anyhow::Result<Self> {
        let mut talk = Self { told, said: BufReader::new(said).lines() };
        let first = talk.line()?;
        ensure!(first == "ready", "it says `{first}`");
        Ok(talk)
    }

    /// Tells it a line, and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        writeln!(self.told, "{line}").with_context(|| format!("nobody hears `{line}`"))?;
        self.line()
    }

    fn line(&mut self) -> anyhow::Result<String> {
        Ok(self.said.next().context("it has ended")??)
    }
}
