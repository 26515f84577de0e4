//! Pure state machines: events in, findings out. No clocks, no I/O: same events, same findings.

mod connect;
mod dns;
pub mod finding;
mod incident;
mod ledger;
mod server_errors;
mod standstill;
mod words;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use finding::Finding;

use self::{
    connect::FailedConnects, dns::Resolvers, incident::Incidents, ledger::Ledger,
    server_errors::ServerErrors, standstill::Standstills,
};
use crate::{
    assemble::{failure::ConnectFailure, incident::Incident, lookup::Lookup, span::Span},
    clock::Ktime,
    vitals::{Vital, Vitals},
};

/// What detectors are told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    Failure(&'a ConnectFailure),
    Incident(&'a Incident),
    Span(&'a Span),
    Lookup(&'a Lookup),
}

/// A machine that turns inputs into findings. A repeated finding is merged by the ledger.
trait Detector: Send {
    fn name(&self) -> &'static str;
    fn input(&mut self, input: Input<'_>) -> Option<Finding>;
}

/// All detectors, and what they found.
pub struct Detectors {
    running: Vec<Box<dyn Detector>>,
    ledger: Ledger,
    vitals: Arc<Vitals>,
}

impl Detectors {
    #[must_use]
    pub fn new(vitals: Arc<Vitals>) -> Self {
        let server_errors = ServerErrors::new(Arc::clone(&vitals));
        let resolvers = Resolvers::new(Arc::clone(&vitals));
        let running: Vec<Box<dyn Detector>> = vec![
            Box::new(FailedConnects),
            Box::new(Incidents),
            Box::new(Standstills),
            Box::new(server_errors),
            Box::new(resolvers),
        ];
        Self { running, ledger: Ledger::default(), vitals }
    }

    /// A detector that panics is reported once and switched off; the others go on.
    pub fn input(&mut self, input: Input<'_>) {
        let (ledger, vitals) = (&mut self.ledger, &self.vitals);
        self.running.retain_mut(|detector| {
            let name = detector.name();
            match catch_unwind(AssertUnwindSafe(|| detector.input(input))) {
                Ok(finding) => {
                    if let Some(finding) = finding {
                        ledger.add(finding, vitals);
                    }
                    true
                }
                Err(_) => {
                    tracing::error!(detector = name, "A detector panicked and is off from now on.");
                    vitals.add(Vital::DetectorsOff, 1);
                    false
                }
            }
        });
    }

    /// Forgets findings that were not seen for the window.
    pub fn sweep(&mut self, now: Ktime, window: Duration) {
        self.ledger.sweep(now, window);
    }

    /// Worst first, then newest first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.ledger.findings()
    }
}
