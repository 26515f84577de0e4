//! A statement's record becomes a span. What is private in its text ends here.

pub mod redact;
mod summary;
pub mod system;

use std::sync::Arc;

use ahash::AHashMap;

use agent_common::event::sql::kind;

use self::{
    redact::{redacted, tokens},
    summary::{Summary, summary},
    system::{OTHER, system},
};
use super::{
    span::{JoinedBy, Outcome, Protocol, Side, Span, SpanId, Statement, TraceId},
    texts::Texts,
};
use crate::{
    clock::Ktime,
    decode::sql::StatementText,
    targets::{
        golang::SqlTypes,
        process::{Process, Tgid},
    },
};

/// What the statements of each process speak of.
#[derive(Debug, Default)]
pub(super) struct Statements {
    types: AHashMap<Tgid, Arc<SqlTypes>>,
}

impl Statements {
    /// Of the program that a process runs now.
    pub(super) fn types(&mut self, tgid: Tgid, types: Arc<SqlTypes>) {
        if types.is_empty() {
            self.types.remove(&tgid);
        } else {
            self.types.insert(tgid, types);
        }
    }

    /// Bounded by the processes that are known.
    pub(super) fn sweep(&mut self, is_known: impl Fn(Tgid) -> bool) {
        self.types.retain(|tgid, _| is_known(*tgid));
    }

    /// `None` when the record contradicts itself, which no kernel half of this build makes.
    #[must_use]
    pub(super) fn span(
        &self,
        statement: &StatementText,
        process: &Arc<Process>,
        texts: &mut Texts,
    ) -> Option<Span> {
        let record = &statement.record;
        if !matches!(record.kind, kind::QUERY | kind::EXEC | kind::PREPARED) {
            return None;
        }
        let types = self.types.get(&process.tgid);
        let system = types.and_then(|it| it.driver(record.driver_itab)).map_or(OTHER, |it| system(it));
        let is_cut = statement.is_cut();
        let tokens = tokens(&statement.text, is_cut, system.dialect);
        let Summary { operation, target } = summary(&tokens, is_cut);
        let error = types.and_then(|it| it.error(record.error_itab)).map(Arc::clone);
        let empty = texts.get(b"");
        Some(Span {
            trace_id: TraceId(record.trace_id),
            span_id: SpanId(record.span_id),
            parent: (record.parent_span_id != [0; 8]).then_some(SpanId(record.parent_span_id)),
            joined_by: JoinedBy::of(record.joined_by),
            side: Side::Client,
            protocol: Protocol::Http1(None),
            process: Arc::clone(process),
            began: Ktime(record.began_ktime_ns),
            ended: Ktime(record.header.ktime_ns),
            method: Arc::clone(&empty),
            path: Arc::clone(&empty),
            route: None,
            has_query: false,
            host: empty,
            outcome: if record.error_itab == 0 { Outcome::Answered } else { Outcome::DriverError },
            local: None,
            peer: None,
            goid: record.goid,
            causes: None,
            statement: Some(Box::new(Statement {
                system: system.name,
                operation,
                target: target.map(|it| texts.get(it.as_bytes())),
                text: texts.get(redacted(&tokens, is_cut).as_bytes()),
                error,
            })),
        })
    }
}

#[cfg(test)]
mod tests {
    use agent_common::{Wire as _, event::sql::Statement as Record};

    use super::*;
    use crate::assemble::directory;

    const DRIVER: u64 = 0x10;
    const ERROR: u64 = 0x20;

    #[test]
    fn the_driver_says_which_system_and_which_dialect() {
        check(
            DRIVER,
            0,
            "SELECT \"a\" FROM t1 WHERE b = 'c'",
            "postgresql SELECT t1 Answered: SELECT \"a\" FROM t1 WHERE b = ?",
        );
        check(7, 0, "SELECT \"a\" FROM t1", "other_sql SELECT t1 Answered: SELECT ? FROM t1");
        check(0, 0, "hunter2", "other_sql Answered: hunter2");
    }

    #[test]
    fn an_error_is_told_by_its_type() {
        check(
            DRIVER,
            ERROR,
            "DELETE FROM t1 WHERE a = 1",
            "postgresql DELETE t1 *pq.Error DriverError: DELETE FROM t1 WHERE a = ?",
        );
        check(DRIVER, 7, "COMMIT", "postgresql COMMIT DriverError: COMMIT");
    }

    #[test]
    fn what_is_cut_shows_it() {
        let record = Record { kind: kind::EXEC, text_bytes: 1000, ..Record::zeroed() };
        let text = b"INSERT INTO t1 VALUES (1, 'se".as_slice().into();
        let span = spans(&StatementText { record, text }).unwrap();
        assert_eq!(&*span.statement.unwrap().text, "INSERT INTO t1 VALUES (?, ?…");
    }

    #[test]
    fn rubbish_is_no_span() {
        let record = Record { kind: 77, ..Record::zeroed() };
        assert_eq!(spans(&StatementText { record, text: Box::default() }), None);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut statements = statements();
        statements.sweep(|_| true);
        assert_eq!(statements.types.len(), 1);
        statements.sweep(|_| false);
        assert_eq!(statements.types.len(), 0);
        statements.types(Tgid(1), Arc::default());
        assert_eq!(statements.types.len(), 0, "a program without a database");
    }

    fn statements() -> Statements {
        let mut types = SqlTypes::default();
        types.add_driver(DRIVER, "github.com/jackc/pgx/v5/stdlib");
        types.add_error(ERROR, "*pq.Error");
        let mut statements = Statements::default();
        statements.types(Tgid(1), Arc::new(types));
        statements
    }

    fn spans(statement: &StatementText) -> Option<Span> {
        statements().span(statement, &directory::tests::process(1, "/bin/a"), &mut Texts::default())
    }

    #[track_caller]
    fn check(driver_itab: u64, error_itab: u64, text: &str, want: &str) {
        let text_bytes = u32::try_from(text.len()).unwrap();
        let record = Record { kind: kind::QUERY, driver_itab, error_itab, text_bytes, ..Record::zeroed() };
        let span = spans(&StatementText { record, text: text.as_bytes().into() }).unwrap();
        assert_eq!((span.side, span.is_error()), (Side::Client, error_itab != 0));
        let statement = span.statement.unwrap();
        let summary = statement.summary();
        let words = [Some(statement.system), summary.as_deref(), statement.error.as_deref()];
        let words: Vec<_> = words.into_iter().flatten().collect();
        assert_eq!(format!("{} {:?}: {}", words.join(" "), span.outcome, statement.text), want);
    }
}
