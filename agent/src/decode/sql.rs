//! Statements: what the kernel half says of one, with the front of its text.

use std::fmt;

use agent_common::event::sql::Statement;

/// Its text is as the program wrote it, with all that is private in it: it is for who makes it fit to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct StatementText {
    pub record: Statement,
    pub text: Box<[u8]>,
}

impl StatementText {
    /// Whether there is more of it than was copied.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        usize::try_from(self.record.text_bytes).is_ok_and(|whole| self.text.len() < whole)
    }
}

impl fmt::Debug for StatementText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementText").field("record", &self.record).finish_non_exhaustive()
    }
}
