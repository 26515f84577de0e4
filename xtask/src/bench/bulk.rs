//! One TCP connection between two network namespaces, as fast as it goes.
//!
//! The sender pays: on a veth pair the receiver's part of the stack runs on the sender's time, too.

use std::{net::Ipv4Addr, process::Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    Programs,
    figure::Figure,
    pairs::{Measures, Pairs, Scenario},
};
use crate::{
    run::{NetNs, Process},
    sh,
};

const SECONDS: &str = "2";
const FROM: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const TO: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Default)]
pub(super) struct Bulk {
    /// The receiver goes before its namespace.
    receiver: Option<(Process, String)>,
    namespaces: Option<[NetNs; 2]>,
}

impl Scenario for Bulk {
    fn unit(&self) -> &'static str {
        "MiB"
    }

    fn prepare(&mut self, programs: &Programs) -> anyhow::Result<()> {
        let [from, to] = [NetNs::new("from")?, NetNs::new("to")?];
        NetNs::join([(&from, FROM), (&to, TO)])?;
        let mut command = to.command(programs.cargo.join("target-conn"));
        command.args(["bulk-recv", &format!("{TO}:0")]);
        self.receiver = Some(Process::listening("the receiver", &command)?);
        self.namespaces = Some([from, to]);
        Ok(())
    }

    fn probed(&self) -> Option<u32> {
        None
    }

    fn round(&mut self, programs: &Programs) -> anyhow::Result<Measures> {
        let [from, _] = self.namespaces.as_ref().context("there are namespaces")?;
        let (_, address) = self.receiver.as_ref().context("the receiver runs")?;
        let mut command = from.command(programs.cargo.join("target-conn"));
        let output = sh::output(command.args(["bulk-send", address, SECONDS]).stderr(Stdio::inherit()))?;
        let sum = output.lines().last().context("the sender says what it did")?;
        let sum: Value = serde_json::from_str(sum).context("the sender's sum")?;
        let number = |name: &str| sum[name].as_f64().with_context(|| format!("the sender's {name}"));
        let n_mib = number("bytes")? / MIB;
        ensure!(1.0 < n_mib, "the sender sent nothing: {sum}");
        Ok(Measures {
            target_cpu_us_per_unit: number("cpu_seconds")? * 1e6 / n_mib,
            units_per_second: number("bytes_per_second")? / MIB,
        })
    }

    fn figures(&self, pairs: &Pairs) -> Vec<Figure> {
        vec![pairs.rate_ratio("bulk TCP", 0.98)]
    }
}
