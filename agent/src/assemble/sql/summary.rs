//! What a statement does, and to what: the few words that stand for it.

use super::redact::{Spaced, Token};

/// What a statement may begin with.
const OPERATIONS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "WITH",
    "MERGE",
    "REPLACE",
    "UPSERT",
    "CALL",
    "EXEC",
    "EXECUTE",
    "CREATE",
    "ALTER",
    "DROP",
    "TRUNCATE",
    "BEGIN",
    "START",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "SET",
    "SHOW",
    "EXPLAIN",
    "ANALYZE",
    "VACUUM",
    "PRAGMA",
    "COPY",
    "LOCK",
    "GRANT",
    "REVOKE",
    "USE",
    "VALUES",
    "DECLARE",
    "FETCH",
    "CLOSE",
    "LISTEN",
    "NOTIFY",
    "REFRESH",
    "REINDEX",
    "OPTIMIZE",
    "DESCRIBE",
];
/// What `WITH` may lead to.
const AFTER_WITH: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"];
/// Between a word and the name that it is about.
const FILLERS: &[&str] = &["ONLY", "IF", "NOT", "EXISTS", "LOW_PRIORITY", "IGNORE", "TABLE"];
/// In place of a name, these begin something else.
const NO_NAMES: &[&str] = &["SELECT", "LATERAL", "UNNEST", "VALUES"];
/// Of a name with all its parts; a longer one makes no good summary.
const MAX_NAME_BYTES: usize = 64;

/// As far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub operation: Option<&'static str>,
    /// A table, mostly.
    pub target: Option<String>,
}

/// Of the first statement, if there are several.
#[must_use]
pub(super) fn summary(tokens: &[Spaced<'_>], is_cut: bool) -> Summary {
    let words = Words { tokens, is_cut };
    let Some((at, operation)) = words.operation() else {
        return Summary::default();
    };
    let target = match operation {
        "SELECT" | "DELETE" => words.behind(at, "FROM"),
        "INSERT" | "REPLACE" | "MERGE" | "UPSERT" => words.behind(at, "INTO"),
        "CREATE" | "ALTER" | "DROP" => words.behind(at, "TABLE"),
        "UPDATE" | "TRUNCATE" | "CALL" | "EXEC" | "EXECUTE" => Some(at + 1),
        _ => None,
    };
    Summary { operation: Some(operation), target: target.and_then(|at| words.name(at)) }
}

struct Words<'a> {
    tokens: &'a [Spaced<'a>],
    is_cut: bool,
}

impl Words<'_> {
    fn operation(&self) -> Option<(usize, &'static str)> {
        let first = self.tokens.iter().position(|it| it.1 != Token::Mark('('))?;
        let operation = self.one_of(first, OPERATIONS)?;
        if operation != "WITH" {
            return Some((first, operation));
        }
        self.on_level(first).find_map(|at| Some((at, self.one_of(at, AFTER_WITH)?)))
    }

    fn one_of(&self, at: usize, words: &[&'static str]) -> Option<&'static str> {
        let Token::Word(word) = self.tokens.get(at)?.1 else {
            return None;
        };
        words.iter().find(|it| it.eq_ignore_ascii_case(word)).copied()
    }

    /// Those from `at` on that are in no deeper parentheses, to the end of what it is in.
    fn on_level(&self, at: usize) -> impl Iterator<Item = usize> {
        let mut depth = 0i32;
        let deeper = self.tokens.iter().enumerate().skip(at).map(move |(at, (_, token))| {
            let before = depth;
            match token {
                Token::Mark('(') => depth += 1,
                Token::Mark(')') => depth -= 1,
                _ => {}
            }
            (at, before, *token == Token::Mark(';') || depth < 0)
        });
        deeper.take_while(|(_, _, is_over)| !is_over).filter(|(_, depth, _)| *depth == 0).map(|(at, ..)| at)
    }

    fn behind(&self, at: usize, word: &'static str) -> Option<usize> {
        self.on_level(at).find(|at| self.one_of(*at, &[word]).is_some()).map(|at| at + 1)
    }

    /// One that the cut may have halved is none.
    fn name(&self, at: usize) -> Option<String> {
        let mut at = (at..self.tokens.len()).find(|at| self.one_of(*at, FILLERS).is_none())?;
        if self.one_of(at, NO_NAMES).is_some() {
            return None;
        }
        let mut name = String::new();
        loop {
            let (Token::Word(part) | Token::Quoted(part)) = self.tokens.get(at)?.1 else {
                return None;
            };
            name.push_str(part);
            match self.tokens.get(at + 1) {
                None if self.is_cut => return None,
                Some((false, Token::Mark('.'))) => name.push('.'),
                _ => break,
            }
            at += 2;
        }
        (name.len() <= MAX_NAME_BYTES).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::sql::{redact::tokens, system::Dialect};

    #[test]
    fn what_is_done_to_what() {
        check("select a, b from Orders where c = 1", "SELECT Orders");
        check("DELETE FROM shop.orders", "DELETE shop.orders");
        check("insert into \"shop\".\"orders\" (a) values (1)", "INSERT shop.orders");
        check("UPDATE ONLY orders SET a = 1", "UPDATE orders");
        check("CREATE TABLE IF NOT EXISTS orders (a int)", "CREATE orders");
        check("CREATE INDEX a ON orders (a)", "CREATE");
        check("TRUNCATE TABLE orders", "TRUNCATE orders");
        check("CALL pay($1)", "CALL pay");
        check("BEGIN", "BEGIN");
        check("(SELECT 1 FROM a) UNION (SELECT 2 FROM b)", "SELECT a");
    }

    #[test]
    fn what_is_in_parentheses_is_something_else() {
        check("SELECT extract(year FROM day), (SELECT 1 FROM a) FROM b", "SELECT b");
        check("SELECT a FROM (SELECT b FROM c) d", "SELECT");
        check("WITH a AS (DELETE FROM b RETURNING c) INSERT INTO d SELECT c FROM a", "INSERT d");
        check("WITH RECURSIVE a(b) AS (SELECT 1 FROM c) SELECT b FROM a", "SELECT a");
        check("SELECT 1; DELETE FROM a", "SELECT");
    }

    #[test]
    fn what_is_no_statement_has_no_summary() {
        check("hunter2 FROM orders", "");
        check("'select' from orders", "");
        check("", "");
        check(&format!("SELECT 1 FROM {}", "a".repeat(65)), "SELECT");
    }

    #[test]
    fn a_name_that_may_be_halved_is_none() {
        let target = |text: &str| summary(&tokens(text.as_bytes(), true, Dialect::Postgres), true).target;
        assert_eq!(target("SELECT a FROM ord"), None);
        assert_eq!(target("SELECT a FROM orders WHERE"), Some("orders".to_owned()));
        assert_eq!(target("SELECT a FROM shop."), None);
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let Summary { operation, target } =
            summary(&tokens(text.as_bytes(), false, Dialect::Postgres), false);
        let got = [operation, target.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert_eq!(got, want, "{text}");
    }
}
