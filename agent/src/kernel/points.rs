//! Which program goes to which point of a Go binary, and what class of price a hit has.

use agent_common::layout::{http2_code, point, price};

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

/// A row: point, program, index of its hits, price, cookie.
#[derive(Clone, Copy, Debug)]
pub struct PointRow {
    pub point: PointName,
    pub program: &'static str,
    pub hits: usize,
    pub price: Price,
    /// Tells the program which copy of a code the point is in.
    pub(super) cookie: u64,
}

macro_rules! rows {
    ($( $point:ident, $program:literal, $hits:ident $( + $shift:ident )?, $price:ident, $code:ident; )*) => {
        /// One row for each point; a probe more is a row more.
        pub const POINTS: &[PointRow] = &[ $( PointRow {
            point: PointName::$point,
            program: $program,
            hits: point::$hits $( + point::$shift )?,
            price: Price::$price,
            cookie: http2_code::$code,
        }, )* ];
    };
}

rows! {
    ServerBegin, "server_begin", SERVER_BEGIN, Begin, BUNDLED;
    ServerEnd, "server_end", SERVER_END, End, BUNDLED;
    ServerHijacked, "server_hijacked", SERVER_HIJACKED, Trap, BUNDLED;
    ServerDeferred, "server_deferred", SERVER_DEFERRED, Trap, BUNDLED;
    ServerRoute, "server_route", SERVER_ROUTE, Trap, BUNDLED;
    ServerRoute121, "server_route_121", SERVER_ROUTE_121, Trap, BUNDLED;
    ClientBegin, "client_begin", CLIENT_BEGIN, Begin, BUNDLED;
    ClientConn, "client_conn", CLIENT_CONN, Trap, BUNDLED;
    ClientSent, "client_sent", CLIENT_SENT, Begin, BUNDLED;
    ClientAttempted, "client_attempted", CLIENT_ATTEMPTED, End, BUNDLED;
    ClientRetry, "client_retry", CLIENT_RETRY, Trap, BUNDLED;
    ClientConnClosed, "client_conn_closed", CLIENT_CONN_CLOSED, Trap, BUNDLED;
    Http2ServerBegin, "http2_server_begin", HTTP2_SERVER_BEGIN, Begin, BUNDLED;
    Http2ServerEnd, "http2_server_end", HTTP2_SERVER_END, End, BUNDLED;
    Http2ServerConnClosed, "http2_server_conn_closed", HTTP2_SERVER_CONN_CLOSED, Trap, BUNDLED;
    Http2ClientSent, "http2_client_sent", HTTP2_CLIENT_SENT, Begin, BUNDLED;
    Http2ClientAttempted, "http2_client_attempted", HTTP2_CLIENT_ATTEMPTED, End, BUNDLED;
    Http2ClientRetry, "http2_client_retry", HTTP2_CLIENT_RETRY, Trap, BUNDLED;
    Http2ClientConnClosed, "http2_client_conn_closed", HTTP2_CLIENT_CONN_CLOSED, Trap, BUNDLED;
    SeparateServerBegin, "http2_server_begin", HTTP2_SERVER_BEGIN + SEPARATE, Begin, SEPARATE;
    SeparateServerEnd, "http2_server_end", HTTP2_SERVER_END + SEPARATE, End, SEPARATE;
    SeparateServerConnClosed, "http2_server_conn_closed", HTTP2_SERVER_CONN_CLOSED + SEPARATE, Trap, SEPARATE;
    SeparateClientBegin, "client_begin", SEPARATE_CLIENT_BEGIN, Begin, SEPARATE;
    SeparateClientSent, "http2_client_sent", HTTP2_CLIENT_SENT + SEPARATE, Begin, SEPARATE;
    SeparateClientAttempted, "http2_client_attempted", HTTP2_CLIENT_ATTEMPTED + SEPARATE, End, SEPARATE;
    SeparateClientRetry, "http2_client_retry", HTTP2_CLIENT_RETRY + SEPARATE, Trap, SEPARATE;
    SeparateClientConnClosed, "http2_client_conn_closed", HTTP2_CLIENT_CONN_CLOSED + SEPARATE, Trap, SEPARATE;
    SqlQuery, "sql_query", SQL_QUERY, Begin, BUNDLED;
    SqlExec, "sql_exec", SQL_EXEC, Begin, BUNDLED;
    SqlStmt, "sql_stmt", SQL_STMT, Begin, BUNDLED;
    SqlRun, "sql_run", SQL_RUN, Trap, BUNDLED;
    SqlAnswered, "sql_answered", SQL_ANSWERED, End, BUNDLED;
    SqlPrepared, "sql_prepared", SQL_PREPARED, Trap, BUNDLED;
    SqlEnded, "sql_ended", SQL_ENDED, End, BUNDLED;
    GrpcServerBegin, "grpc_server_begin", GRPC_SERVER_BEGIN, Begin, BUNDLED;
    GrpcServerEnd, "grpc_server_end", GRPC_SERVER_END, End, BUNDLED;
    GrpcServerClosed, "grpc_server_closed", GRPC_SERVER_CLOSED, Trap, BUNDLED;
    GrpcClientBegin, "grpc_client_begin", GRPC_CLIENT_BEGIN, Begin, BUNDLED;
    GrpcClientStream, "grpc_client_stream", GRPC_CLIENT_STREAM, Begin, BUNDLED;
    GrpcClientEnd, "grpc_client_end", GRPC_CLIENT_END, End, BUNDLED;
    GrpcClientClosed, "grpc_client_closed", GRPC_CLIENT_CLOSED, Trap, BUNDLED;
}

/// The row of a point.
pub(super) fn row(name: PointName) -> Option<&'static PointRow> {
    POINTS.iter().find(|row| row.point == name)
}
