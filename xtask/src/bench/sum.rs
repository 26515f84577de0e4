//! What a target says of its round: the last line that it prints.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::sh;

pub(super) struct Sum(Value);

impl Sum {
    /// Runs the target to its end. Nothing of what it did may have failed.
    pub(super) fn of(target: &mut Command) -> anyhow::Result<Self> {
        let output = sh::output(target.stderr(Stdio::inherit()))?;
        Self::read(&output).with_context(|| format!("the sum of `{}`", sh::shown(target)))
    }

    fn read(output: &str) -> anyhow::Result<Self> {
        let line = output.lines().last().context("it says nothing")?;
        let sum = Self(serde_json::from_str(line).with_context(|| format!("it ends with `{line}`"))?);
        ensure!(sum.0["failed"].as_u64().unwrap_or(0) == 0, "some failed: {line}");
        Ok(sum)
    }

    pub(super) fn number(&self, name: &str) -> anyhow::Result<f64> {
        self.0[name].as_f64().with_context(|| format!("no number `{name}` in {}", self.0))
    }

    /// How much of `noun` it did, which must be something.
    pub(super) fn done(&self, noun: &str) -> anyhow::Result<f64> {
        let done = self.number(noun)?;
        ensure!(0.0 < done, "nothing was done: {}", self.0);
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let sum = Sum::read("ready\n{\"requests\": 7, \"failed\": 0, \"bytes\": 0}\n").unwrap();
        assert_eq!((sum.number("requests").unwrap(), sum.done("requests").unwrap()), (7.0, 7.0));
        assert!(sum.number("seconds").is_err() && sum.done("bytes").is_err());
        for bad in ["", "ready\n", "{\"requests\": 7, \"failed\": 1}"] {
            assert!(Sum::read(bad).is_err(), "{bad}");
        }
    }
}
