//! A load on a program, without and with the agent.
//!
//! Both see the same load in turns, so that what the machine does meanwhile hits both alike. What
//! counts is the target's own CPU time per request: probes run on the target's time.

use super::{Outcome, Programs, agent, figure::Figure, stats};
use crate::run::Network;

pub(super) trait Scenario {
    /// What CPU time and rate are counted by: `request`.
    fn unit(&self) -> &'static str;

    /// Starts what is watched.
    fn prepare(&mut self, programs: &Programs) -> anyhow::Result<()>;

    /// The process that is watched, and in which the agent must have placed probes before a round
    /// counts, if there is one.
    fn probed(&self) -> Option<u32>;

    /// Whose interfaces the agent sees.
    fn network(&self) -> Network<'_> {
        Network::OfMachine
    }

    /// Some seconds of load.
    fn round(&mut self, programs: &Programs) -> anyhow::Result<Measures>;

    fn figures(&self, pairs: &Pairs) -> Vec<Figure>;
}

/// What one round showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    pub(super) target_cpu_us_per_unit: f64,
    pub(super) units_per_second: f64,
}

pub(super) struct Pairs {
    pub(super) unit: &'static str,
    pub(super) off: Vec<Measures>,
    pub(super) on: Vec<Measures>,
}

impl Pairs {
    /// Off and on.
    pub(super) fn cpu(&self) -> [Vec<f64>; 2] {
        [&self.off, &self.on].map(|it| it.iter().map(|it| it.target_cpu_us_per_unit).collect())
    }

    /// Off and on.
    pub(super) fn rate(&self) -> [Vec<f64>; 2] {
        [&self.off, &self.on].map(|it| it.iter().map(|it| it.units_per_second).collect())
    }

    pub(super) fn added_cpu(&self, name: &'static str, at_most_us: f64) -> Figure {
        let [off, on] = self.cpu();
        Figure::at_most(name, "us", stats::differences(&on, &off), at_most_us)
    }

    pub(super) fn rate_ratio(&self, name: &'static str, at_least: f64) -> Figure {
        let [off, on] = self.rate();
        Figure::at_least(name, "of the rate", stats::ratios(&on, &off), at_least)
    }
}

/// Which comes first changes from pair to pair, so that what grows with time favours neither.
pub(super) fn run(
    scenario: &mut dyn Scenario,
    programs: &Programs,
    n_rounds: u32,
) -> anyhow::Result<Outcome> {
    scenario.prepare(programs)?;
    // Caches, connections and the target's own heap come to rest.
    scenario.round(programs)?;
    let mut pairs = Pairs { unit: scenario.unit(), off: Vec::new(), on: Vec::new() };
    for pair in 0..n_rounds {
        for is_on in [pair % 2 == 1, pair % 2 == 0] {
            if is_on {
                let agent = agent::start(&programs.taskscope, scenario.network(), scenario.probed(), None)?;
                pairs.on.push(scenario.round(programs)?);
                agent.stop()?;
            } else {
                pairs.off.push(scenario.round(programs)?);
            }
        }
    }
    let figures = scenario.figures(&pairs);
    Ok(Outcome { pairs: Some(pairs), figures })
}
