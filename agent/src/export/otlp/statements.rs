//! What a span of a statement has in place of what one of a request has.
//!
//! The conventions ask for `server.address` as well: the address is the driver's own business, and not known here.

use std::borrow::Cow;

use super::span_attributes::AttributeSink;
use crate::{assemble::span::Statement, export::semconv};

/// As the conventions have it: the summary, else the system.
pub(in crate::export) fn name(statement: &Statement) -> Cow<'static, str> {
    statement.summary().map_or(Cow::Borrowed(statement.system), Cow::Owned)
}

pub(super) fn attributes(statement: &Statement, out: &mut impl AttributeSink) {
    out.text(semconv::DB_SYSTEM_NAME, statement.system);
    if let Some(operation) = statement.operation {
        out.text(semconv::DB_OPERATION_NAME, operation);
    }
    if let Some(summary) = statement.summary() {
        out.text(semconv::DB_QUERY_SUMMARY, &summary);
    }
    if !statement.text.is_empty() {
        out.text(semconv::DB_QUERY_TEXT, &statement.text);
    }
}
