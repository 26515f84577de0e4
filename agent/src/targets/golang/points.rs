//! The points of the HTTP/1 probes: which function, and where in it.

use std::fmt;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Server,
    Client,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "http server spans",
            Self::Client => "http client spans",
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

/// The function, and for a point behind a call the function called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Entry(&'static str),
    AfterCall { caller: &'static str, callee: &'static str },
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

const TRANSPORT_ROUND_TRIP: &str = "net/http.(*Transport).roundTrip";
const PERSIST_ROUND_TRIP: &str = "net/http.(*persistConn).roundTrip";
const GET_CONN: &str = "net/http.(*Transport).getConn";
const SHOULD_RETRY: &str = "net/http.(*persistConn).shouldRetryRequest";

const fn after(callee: &'static str) -> Place {
    Place::AfterCall { caller: TRANSPORT_ROUND_TRIP, callee }
}

const fn after_route(callee: &'static str) -> Place {
    Place::AfterCall { caller: "net/http.(*ServeMux).ServeHTTP", callee }
}

point_names! {
    ServerBegin = "server begin", Server, Must, Place::Entry("net/http.serverHandler.ServeHTTP");
    ServerEnd = "server end", Server, Must, Place::Entry("net/http.(*response).finishRequest");
    ServerHijacked = "server hijacked", Server, MayBeUnlinked, Place::Entry("net/http.(*conn).hijackLocked");
    ServerDeferred = "server deferred", Server, Should, Place::Entry("net/http.(*conn).serve.func1");
    ServerRoute = "server route", Server, MayBeUnlinked, after_route("net/http.(*ServeMux).findHandler");
    ServerRoute121 = "server route 1.21", Server, MayBeUnlinked, after_route("net/http.(*serveMux121).findHandler");
    ClientBegin = "client begin", Client, Must, Place::Entry(TRANSPORT_ROUND_TRIP);
    ClientConn = "client connection", Client, Should, after(GET_CONN);
    ClientSent = "client sent", Client, Must, Place::Entry(PERSIST_ROUND_TRIP);
    ClientAttempted = "client attempted", Client, Must, after(PERSIST_ROUND_TRIP);
    ClientRetry = "client retry", Client, Must, after(SHOULD_RETRY);
    ClientConnClosed = "client connection closed", Client, Should, Place::Entry("net/http.(*persistConn).closeLocked");
}

impl fmt::Display for PointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
