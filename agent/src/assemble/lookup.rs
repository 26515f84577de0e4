//! What became of a question to a resolver.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::Ktime,
    decode::dns::{Question, ResponseCode},
    targets::process::Process,
};

/// One of them, with its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// `None`: it is not known which process asked.
    pub client: Option<Arc<Process>>,
    pub client_ip: IpAddr,
    /// As the client knows it, which may be an address that is translated.
    pub resolver: SocketAddr,
    pub question: Question,
    pub outcome: Outcome,
    pub at: Ktime,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        code: ResponseCode,
        took: Duration,
    },
    /// There was none for so long, and most clients do not wait any longer.
    Unanswered {
        waited: Duration,
    },
}

impl Lookup {
    /// The service, or where it asked from.
    #[must_use]
    pub fn client_name(&self) -> String {
        self.client.as_ref().map_or_else(|| self.client_ip.to_string(), |it| it.service.name.clone())
    }
}
