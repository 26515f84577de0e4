//! The client's side of the API.

use std::{
    error::Error as _,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tonic::{
    Response, Status,
    transport::{self, Channel, Endpoint},
};

use super::{
    MAX_ANSWER_BYTES, WINDOW_BYTES,
    proto::{
        Filter, FindingsAnswer, StatusAnswer, TargetsAnswer, TraceAnswer, TracesAnswer,
        query_client::QueryClient,
    },
    topology::{Incomplete, Topology},
};

#[derive(Debug, Error)]
pub enum QueryError {
    #[error(
        "no agent answers on {socket}: start one with `sudo taskscope agent`, or say where it is with `--socket`",
        socket = .socket.display()
    )]
    NoAgent { socket: PathBuf, source: io::Error },
    #[error(
        "not allowed to talk to the agent on {socket}: use sudo, or join the group that owns the socket",
        socket = .socket.display()
    )]
    NotAllowed { socket: PathBuf, source: io::Error },
    #[error("cannot connect to {socket}", socket = .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error("what answers on {socket} is no agent of this kind", socket = .socket.display())]
    Handshake { socket: PathBuf, source: Box<transport::Error> },
    #[error("the agent did not answer: {}; `taskscope status` tells whether it is alive", .status.message())]
    Asked { status: Box<Status> },
    #[error("the agent cannot answer any more: {}", .status.message())]
    Stopped { status: Box<Status> },
    #[error("the agent cannot answer that: {}", .status.message())]
    Refused { status: Box<Status> },
    #[error("the agent is older than this command: use the `taskscope` that it was started with")]
    TooOld,
    #[error("the agent's answer makes no sense: is it of another version? `taskscope status` tells")]
    Senseless { source: Incomplete },
    #[error("cannot write the result")]
    Write { source: io::Error },
    #[error("cannot write the result as JSON")]
    Json { source: serde_json::Error },
    #[error("cannot wait for Ctrl-C")]
    Signal { source: io::Error },
}

/// A connection to a running agent.
#[derive(Clone, Debug)]
pub struct Client {
    inner: QueryClient<Channel>,
}

impl Client {
    pub async fn connect(socket: &Path) -> Result<Self, QueryError> {
        // Tried by itself first: the errors of a channel do not tell one cause from the other.
        UnixStream::connect(socket).await.map_err(|source| cannot_connect(socket, source))?;
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        let channel = Endpoint::from_static("http://agent.invalid")
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect_with_connector(connector)
            .await
            .map_err(|source| QueryError::Handshake {
                socket: socket.to_owned(),
                source: Box::new(source),
            })?;
        Ok(Self { inner: QueryClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES) })
    }

    pub async fn status(&mut self, filter: Filter) -> Result<StatusAnswer, QueryError> {
        answer(self.inner.status(filter).await)
    }

    pub async fn targets(&mut self, filter: Filter) -> Result<TargetsAnswer, QueryError> {
        answer(self.inner.targets(filter).await)
    }

    pub async fn topology(&mut self, filter: Filter) -> Result<Topology, QueryError> {
        let answer = answer(self.inner.topology(filter).await)?;
        answer.try_into().map_err(|source| QueryError::Senseless { source })
    }

    pub async fn traces(&mut self, filter: Filter) -> Result<TracesAnswer, QueryError> {
        answer(self.inner.traces(filter).await)
    }

    /// `Filter::trace_id` says which.
    pub async fn trace(&mut self, filter: Filter) -> Result<TraceAnswer, QueryError> {
        answer(self.inner.trace(filter).await)
    }

    pub async fn findings(&mut self, filter: Filter) -> Result<FindingsAnswer, QueryError> {
        answer(self.inner.findings(filter).await)
    }
}

fn answer<T>(answer: Result<Response<T>, Status>) -> Result<T, QueryError> {
    match answer {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == tonic::Code::InvalidArgument => {
            Err(QueryError::Refused { status: Box::new(status) })
        }
        Err(status) if status.code() == tonic::Code::Unimplemented => Err(QueryError::TooOld),
        // What the transport made has a source; this is the agent's own word.
        Err(status) if status.code() == tonic::Code::Unavailable && status.source().is_none() => {
            Err(QueryError::Stopped { status: Box::new(status) })
        }
        Err(status) => Err(QueryError::Asked { status: Box::new(status) }),
    }
}

fn cannot_connect(socket: &Path, source: io::Error) -> QueryError {
    let socket = socket.to_owned();
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => QueryError::NoAgent { socket, source },
        ErrorKind::PermissionDenied => QueryError::NotAllowed { socket, source },
        _ => QueryError::Connect { socket, source },
    }
}
