//! Which program goes to which point of a Go binary, and what class of price a hit has.

use agent_common::layout::{point, price};

use crate::targets::golang::PointName;

/// What a hit costs is calibrated at start, by what the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    /// The trap and a look-up.
    Trap,
    /// Keeps a request, or its connection and context.
    Begin,
    /// Makes a record.
    End,
}

impl Price {
    pub const ALL: [Self; 3] = [Self::Trap, Self::Begin, Self::End];

    pub(super) fn cookie(self) -> u64 {
        match self {
            Self::Trap => price::TRAP,
            Self::Begin => price::BEGIN,
            Self::End => price::END,
        }
    }
}

/// A row: point, program, index of its hits, price.
#[derive(Clone, Copy, Debug)]
pub struct PointRow {
    pub point: PointName,
    pub program: &'static str,
    pub hits: usize,
    pub price: Price,
}

macro_rules! rows {
    ($( $point:ident, $program:literal, $hits:ident, $price:ident; )*) => {
        /// One row for each point; a probe more is a row more.
        pub const POINTS: &[PointRow] = &[ $( PointRow {
            point: PointName::$point,
            program: $program,
            hits: point::$hits,
            price: Price::$price,
        }, )* ];
    };
}

rows! {
    ServerBegin, "server_begin", SERVER_BEGIN, Begin;
    ServerEnd, "server_end", SERVER_END, End;
    ServerHijacked, "server_hijacked", SERVER_HIJACKED, Trap;
    ServerDeferred, "server_deferred", SERVER_DEFERRED, Trap;
    ServerRoute, "server_route", SERVER_ROUTE, Trap;
    ServerRoute121, "server_route_121", SERVER_ROUTE_121, Trap;
    ClientBegin, "client_begin", CLIENT_BEGIN, Begin;
    ClientConn, "client_conn", CLIENT_CONN, Trap;
    ClientSent, "client_sent", CLIENT_SENT, Begin;
    ClientAttempted, "client_attempted", CLIENT_ATTEMPTED, End;
    ClientRetry, "client_retry", CLIENT_RETRY, Trap;
    ClientConnClosed, "client_conn_closed", CLIENT_CONN_CLOSED, Trap;
}

/// The row of a point.
pub(super) fn row(name: PointName) -> Option<&'static PointRow> {
    POINTS.iter().find(|row| row.point == name)
}
