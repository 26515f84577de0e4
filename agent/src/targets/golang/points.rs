//! The points of the probes: which function, and where in it.

use std::fmt;

use super::layout::Part;

/// Where a probe goes. Several points may share a name when a call was duplicated by the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub name: PointName,
    /// The function that holds the point.
    pub symbol: String,
    pub file_offset: u64,
    /// As linked, without the load bias.
    pub address: u64,
    pub kind: PointKind,
}

/// The instruction at the point; the kernel emulates each of these instead of stepping over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    PushRbp,
    /// Another push of one register.
    Push,
    /// A jump or no-op behind a call, where the results of the call are still in registers.
    AfterCall,
    Jcc,
    Nop,
    Call,
    Jmp,
}

impl PointKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::PushRbp => "push rbp",
            Self::Push => "push",
            Self::AfterCall => "after call",
            Self::Jcc => "jcc",
            Self::Nop => "nop",
            Self::Call => "call",
            Self::Jmp => "jmp",
        }
    }
}

/// What makes spans of its own, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Server,
    Client,
    Http2Server,
    Http2Client,
    /// Of golang.org/x/net/http2.
    SeparateServer,
    SeparateClient,
    Sql,
    GrpcServer,
    GrpcClient,
}

impl Side {
    pub const ALL: &'static [Self] = &[
        Self::Server,
        Self::Client,
        Self::Http2Server,
        Self::Http2Client,
        Self::SeparateServer,
        Self::SeparateClient,
        Self::Sql,
        Self::GrpcServer,
        Self::GrpcClient,
    ];

    #[must_use]
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::GrpcServer | Self::GrpcClient)
    }

    /// Whose points begin its requests, if not its own.
    #[must_use]
    pub fn begun_by(self) -> Option<Self> {
        (self == Self::Http2Client).then_some(Self::Client)
    }

    pub(crate) fn part(self) -> Part {
        match self {
            Self::Server | Self::Client => Part::All,
            Self::Http2Server | Self::Http2Client => Part::Http2,
            Self::SeparateServer | Self::SeparateClient => Part::SeparateHttp2,
            Self::Sql => Part::Sql,
            Self::GrpcServer | Self::GrpcClient => Part::All,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "http server spans",
            Self::Client => "http client spans",
            Self::Http2Server => "http2 server spans",
            Self::Http2Client => "http2 client spans",
            Self::SeparateServer => "http2 server spans of golang.org/x/net",
            Self::SeparateClient => "http2 client spans of golang.org/x/net",
            Self::Sql => "sql spans",
            Self::GrpcServer => "grpc server spans",
            Self::GrpcClient => "grpc client spans",
        })
    }
}

/// What a side does without one of its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// No span can be made.
    Must,
    /// Spans are poorer; the refusal is shown.
    Should,
    /// The linker drops the function from programs that cannot reach it.
    MayBeUnlinked,
}

/// Names that a function had in versions of Go: the first that the file has is it. Never empty.
pub(crate) type Names = &'static [&'static str];

/// The function, and for a point behind a call the function called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Entry(Names),
    AfterCall {
        caller: Names,
        callee: Names,
    },
    /// Each of these that the program has; one at least.
    Any(&'static [Self]),
}

impl Place {
    /// The functions that it speaks of.
    pub(crate) fn symbols(self) -> Vec<&'static str> {
        match self {
            Self::Entry(names) => names.to_vec(),
            Self::AfterCall { caller, callee } => [caller, callee].concat(),
            Self::Any(places) => places.iter().flat_map(|it| it.symbols()).collect(),
        }
    }
}

macro_rules! point_names {
    ($( $variant:ident = $name:literal, $side:ident, $need:ident, $place:expr; )+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PointName { $( $variant, )+ }

        impl PointName {
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            pub fn side(self) -> Side {
                match self { $( Self::$variant => Side::$side, )+ }
            }

            pub(crate) fn need(self) -> Need {
                match self { $( Self::$variant => Need::$need, )+ }
            }

            pub(crate) fn place(self) -> Place {
                match self { $( Self::$variant => $place, )+ }
            }
        }
    };
}

macro_rules! transport {
    ($name:literal) => {
        concat!("google.golang.org/grpc/internal/transport.", $name)
    };
}

const fn after(caller: Names, callee: Names) -> Place {
    Place::AfterCall { caller, callee }
}

const ROUND_TRIP: Names = &["net/http.(*Transport).roundTrip"];
const PERSIST_ROUND_TRIP: Names = &["net/http.(*persistConn).roundTrip"];
const GET_CONN: Names = &["net/http.(*Transport).getConn"];
const SHOULD_RETRY: Names = &["net/http.(*persistConn).shouldRetryRequest"];

// Names of HTTP/2 stand with the newest first: since 1.27 it is a package of its own.
const RUN_HANDLER: Names =
    &["net/http/internal/http2.(*serverConn).runHandler", "net/http.(*http2serverConn).runHandler"];
/// It runs before another that is deferred: in 1.21 `func2`, when the writer's state belongs to nobody any more.
const RAN_HANDLER: Names = &[
    "net/http/internal/http2.(*serverConn).runHandler.func1",
    "net/http.(*http2serverConn).runHandler.func1",
];
const SERVER_CONN_CLOSED: Names = &[
    "net/http/internal/http2.(*serverConn).closeAllStreamsOnConnClose",
    "net/http.(*http2serverConn).closeAllStreamsOnConnClose",
];
const WRITE_HEADERS: Names = &[
    "net/http/internal/http2.(*clientStream).encodeAndWriteHeaders",
    "net/http.(*http2clientStream).encodeAndWriteHeaders",
];
const HTTP2_ROUND_TRIP: Names =
    &["net/http/internal/http2.(*Transport).RoundTripOpt", "net/http.(*http2Transport).RoundTripOpt"];
const HTTP2_ATTEMPT: Names = &[
    "net/http/internal/http2.(*ClientConn).roundTrip",
    "net/http.(*http2ClientConn).roundTrip",
    "net/http.(*http2ClientConn).RoundTrip",
];
const HTTP2_SHOULD_RETRY: Names =
    &["net/http/internal/http2.shouldRetryRequest", "net/http.http2shouldRetryRequest"];
const READ_LOOP_ENDED: Names =
    &["net/http/internal/http2.(*clientConnReadLoop).cleanup", "net/http.(*http2clientConnReadLoop).cleanup"];

const SEPARATE_RUN_HANDLER: Names = &["golang.org/x/net/http2.(*serverConn).runHandler"];
const SEPARATE_RAN_HANDLER: Names = &["golang.org/x/net/http2.(*serverConn).runHandler.func1"];
const SEPARATE_SERVER_CONN_CLOSED: Names =
    &["golang.org/x/net/http2.(*serverConn).closeAllStreamsOnConnClose"];
const SEPARATE_WRITE_HEADERS: Names = &["golang.org/x/net/http2.(*clientStream).encodeAndWriteHeaders"];
const SEPARATE_ROUND_TRIP: Names = &[
    "golang.org/x/net/http2.(*Transport).roundTripViaPool",
    "golang.org/x/net/http2.(*Transport).RoundTripOpt",
];
const SEPARATE_ATTEMPT: Names =
    &["golang.org/x/net/http2.(*ClientConn).roundTrip", "golang.org/x/net/http2.(*ClientConn).RoundTrip"];
const SEPARATE_SHOULD_RETRY: Names = &["golang.org/x/net/http2.shouldRetryRequest"];
const SEPARATE_READ_LOOP_ENDED: Names = &["golang.org/x/net/http2.(*clientConnReadLoop).cleanup"];

const SERVE_MUX: Names = &["net/http.(*ServeMux).ServeHTTP"];
const FIND_HANDLER: Names = &["net/http.(*ServeMux).findHandler"];
const FIND_HANDLER_121: Names = &["net/http.(*serveMux121).findHandler"];

const QUERY: Names = &["database/sql.(*DB).queryDC"];
const EXEC: Names = &["database/sql.(*DB).execDC"];
const ROWS_OF_STMT: Names = &["database/sql.rowsiFromStatement"];
const RESULT_OF_STMT: Names = &["database/sql.resultFromStatement"];

/// Where a program uses statements that it prepared.
const STMT: Place = Place::Any(&[
    Place::Entry(&["database/sql.(*Stmt).QueryContext"]),
    Place::Entry(&["database/sql.(*Stmt).ExecContext"]),
]);
const RUN: Place = Place::Any(&[Place::Entry(ROWS_OF_STMT), Place::Entry(RESULT_OF_STMT)]);
/// Of the closures that hold the connection's lock.
const ANSWERED: Place = Place::Any(&[
    Place::AfterCall {
        caller: &["database/sql.(*DB).queryDC.func1"],
        callee: &["database/sql.ctxDriverQuery"],
    },
    Place::AfterCall {
        caller: &["database/sql.(*DB).execDC.func2"],
        callee: &["database/sql.ctxDriverExec"],
    },
]);
const PREPARED: Place = Place::Any(&[
    Place::AfterCall {
        caller: &["database/sql.(*DB).queryDC.func2"],
        callee: &["database/sql.ctxDriverPrepare"],
    },
    Place::AfterCall {
        caller: &["database/sql.(*DB).execDC.func3"],
        callee: &["database/sql.ctxDriverPrepare"],
    },
]);
const ENDED: Place = Place::Any(&[
    Place::AfterCall { caller: QUERY, callee: ROWS_OF_STMT },
    Place::AfterCall { caller: &["database/sql.(*Stmt).QueryContext.func1"], callee: ROWS_OF_STMT },
    Place::AfterCall { caller: RESULT_OF_STMT, callee: &["database/sql.ctxDriverStmtExec"] },
]);

point_names! {
    ServerBegin = "server begin", Server, Must, Place::Entry(&["net/http.serverHandler.ServeHTTP"]);
    ServerEnd = "server end", Server, Must, Place::Entry(&["net/http.(*response).finishRequest"]);
    ServerHijacked = "server hijacked", Server, MayBeUnlinked, Place::Entry(&["net/http.(*conn).hijackLocked"]);
    ServerDeferred = "server deferred", Server, Should, Place::Entry(&["net/http.(*conn).serve.func1"]);
    ServerRoute = "server route", Server, MayBeUnlinked, after(SERVE_MUX, FIND_HANDLER);
    ServerRoute121 = "server route 1.21", Server, MayBeUnlinked, after(SERVE_MUX, FIND_HANDLER_121);
    ClientBegin = "client begin", Client, Must, Place::Entry(ROUND_TRIP);
    ClientConn = "client connection", Client, Should, after(ROUND_TRIP, GET_CONN);
    ClientSent = "client sent", Client, Must, Place::Entry(PERSIST_ROUND_TRIP);
    ClientAttempted = "client attempted", Client, Must, after(ROUND_TRIP, PERSIST_ROUND_TRIP);
    ClientRetry = "client retry", Client, Must, after(ROUND_TRIP, SHOULD_RETRY);
    ClientConnClosed = "client connection closed", Client, Should, Place::Entry(&["net/http.(*persistConn).closeLocked"]);

    Http2ServerBegin = "http2 server begin", Http2Server, Must, Place::Entry(RUN_HANDLER);
    Http2ServerEnd = "http2 server end", Http2Server, Must, Place::Entry(RAN_HANDLER);
    Http2ServerConnClosed = "http2 server connection closed", Http2Server, Should, Place::Entry(SERVER_CONN_CLOSED);
    Http2ClientSent = "http2 client sent", Http2Client, Must, Place::Entry(WRITE_HEADERS);
    Http2ClientAttempted = "http2 client attempted", Http2Client, Must, after(HTTP2_ROUND_TRIP, HTTP2_ATTEMPT);
    Http2ClientRetry = "http2 client retry", Http2Client, Must, after(HTTP2_ROUND_TRIP, HTTP2_SHOULD_RETRY);
    Http2ClientConnClosed = "http2 client connection closed", Http2Client, Should, Place::Entry(READ_LOOP_ENDED);

    SeparateServerBegin = "x/net server begin", SeparateServer, Must, Place::Entry(SEPARATE_RUN_HANDLER);
    SeparateServerEnd = "x/net server end", SeparateServer, Must, Place::Entry(SEPARATE_RAN_HANDLER);
    SeparateServerConnClosed = "x/net server connection closed", SeparateServer, Should,
        Place::Entry(SEPARATE_SERVER_CONN_CLOSED);
    SeparateClientBegin = "x/net client begin", SeparateClient, Must, Place::Entry(SEPARATE_ROUND_TRIP);
    SeparateClientSent = "x/net client sent", SeparateClient, Must, Place::Entry(SEPARATE_WRITE_HEADERS);
    SeparateClientAttempted = "x/net client attempted", SeparateClient, Must,
        after(SEPARATE_ROUND_TRIP, SEPARATE_ATTEMPT);
    SeparateClientRetry = "x/net client retry", SeparateClient, Must,
        after(SEPARATE_ROUND_TRIP, SEPARATE_SHOULD_RETRY);
    SeparateClientConnClosed = "x/net client connection closed", SeparateClient, Should,
        Place::Entry(SEPARATE_READ_LOOP_ENDED);

    SqlQuery = "sql query", Sql, MayBeUnlinked, Place::Entry(QUERY);
    SqlExec = "sql exec", Sql, MayBeUnlinked, Place::Entry(EXEC);
    SqlStmt = "sql statement", Sql, MayBeUnlinked, STMT;
    SqlRun = "sql run", Sql, Should, RUN;
    SqlAnswered = "sql answered", Sql, Must, ANSWERED;
    SqlPrepared = "sql prepared", Sql, Should, PREPARED;
    SqlEnded = "sql ended", Sql, Must, ENDED;

    GrpcServerBegin = "grpc server begin", GrpcServer, Must, Place::Entry(&["google.golang.org/grpc.(*Server).handleStream"]);
    GrpcServerEnd = "grpc server end", GrpcServer, Must,
        Place::Entry(&[transport!("(*http2Server).writeStatus"), transport!("(*http2Server).WriteStatus")]);
    GrpcServerClosed = "grpc server connection closed", GrpcServer, Should,
        Place::Entry(&[transport!("(*http2Server).Close")]);
    GrpcClientBegin = "grpc client begin", GrpcClient, Must, Place::Entry(&[transport!("(*http2Client).NewStream")]);
    GrpcClientStream = "grpc client stream", GrpcClient, Must,
        Place::Entry(&[transport!("(*http2Client).NewStream.func3")]);
    GrpcClientEnd = "grpc client end", GrpcClient, Must, Place::Entry(&[transport!("(*http2Client).closeStream")]);
    GrpcClientClosed = "grpc client connection closed", GrpcClient, Should,
        Place::Entry(&[transport!("(*http2Client).Close")]);
}

impl fmt::Display for PointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
