//! How long things take.

use std::time::Instant;

pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "xtask measures itself; the rule is for the agent")]
    Instant::now()
}
