//! What cannot be watched in a Go program, and why.

use std::fmt;

use thiserror::Error;

use super::{
    aftercall,
    points::{PointName, Side},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub subject: Subject,
    pub reason: RefusalReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Point(PointName),
    Side(Side),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point(name) => name.fmt(f),
            Self::Side(side) => side.fmt(f),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefusalReason {
    #[error("the program has no function `{symbol}`")]
    Absent { symbol: &'static str },
    #[error("the code of `{symbol}` is not in the file")]
    NoCode { symbol: &'static str },
    #[error("a probe in `{symbol}` would have to be single-stepped, which costs 35 times as much")]
    SingleStep { symbol: &'static str },
    #[error("a probe in `{symbol}` would fire again each time the stack grows")]
    FiresTwice { symbol: &'static str },
    #[error("`{caller}` does not call `{callee}` (inlined by a profile-guided build?)")]
    NoCall { caller: &'static str, callee: &'static str },
    #[error("the results of `{callee}` do not survive to a place in `{caller}` that can be probed")]
    ResultsLost { caller: &'static str, callee: &'static str },
    #[error("the code behind the call of `{callee}` in `{caller}` is reached without it too")]
    ReachedOtherwise { caller: &'static str, callee: &'static str },
    #[error("`{caller}` calls `{callee}` from more than {} places", aftercall::MAX_POINTS)]
    TooManyCalls { caller: &'static str, callee: &'static str },
    #[error("the file does not tell where `{field}` is, and this version of Go was never looked at")]
    NoOffset { field: &'static str },
    #[error(
        "gRPC {version} is not known, and the file has no debug information that would tell every offset"
    )]
    UnknownGrpc { version: String },
    #[error("the point `{missing}` is refused, and without it there are no spans")]
    Incomplete { missing: PointName },
}
