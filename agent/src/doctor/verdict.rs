//! A check and how it is put together: the worst of its reasons counts.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ok,
    /// Works in part.
    Degraded,
    Missing,
}

impl State {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub feature: String,
    pub state: State,
    pub detail: String,
    /// What the user can do; `None` when there is nothing to do.
    pub remedy: Option<String>,
}

/// Collects reasons against a feature.
#[derive(Debug)]
pub(crate) struct Verdict {
    state: State,
    details: Vec<String>,
    remedies: Vec<String>,
}

impl Verdict {
    pub(crate) fn new() -> Self {
        Self { state: State::Ok, details: Vec::new(), remedies: Vec::new() }
    }

    pub(crate) fn against(&mut self, state: State, detail: impl Into<String>, remedy: &str) {
        self.state = self.state.max(state);
        self.details.push(detail.into());
        if !remedy.is_empty() && !self.remedies.iter().any(|it| it == remedy) {
            self.remedies.push(remedy.to_owned());
        }
    }

    /// `fine` is the detail when nothing spoke against it.
    pub(crate) fn check(self, feature: impl Into<String>, fine: impl Into<String>) -> Check {
        let detail = if self.details.is_empty() { fine.into() } else { self.details.join("; ") };
        let remedy = (!self.remedies.is_empty()).then(|| self.remedies.join("; "));
        Check { feature: feature.into(), state: self.state, detail, remedy }
    }
}
