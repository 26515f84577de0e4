//! The client's side of the API.

use std::{
    error::Error as _,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{net::UnixStream, time::timeout};
use tonic::{
    Response, Status,
    transport::{self, Channel, Endpoint},
};

use super::{
    MAX_ANSWER_BYTES, WINDOW_BYTES,
    in_full::InFull,
    proto::{
        Filter, FindingsAnswer, StatusAnswer, TargetsAnswer, TraceAnswer, TracesAnswer,
        query_client::QueryClient,
    },
    topology::{Incomplete, Topology},
};
use crate::config::ConfigError;

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
    #[error(
        "the agent on {socket} does not answer: it took {} s and said nothing; see its log, and whether its \
         process is stuck (`ps`, `systemctl status taskscope`)",
        PATIENCE.as_secs(),
        socket = .socket.display()
    )]
    NoAnswer { socket: PathBuf },
    #[error(transparent)]
    Setting(#[from] ConfigError),
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

/// For a connection, and for an answer. One over ten thousand edges takes some tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

impl QueryError {
    /// Nothing was tried: the command line or the environment has to change first.
    #[must_use]
    pub fn is_bad_setting(&self) -> bool {
        matches!(self, Self::Setting(_))
    }
}

/// A connection to a running agent.
#[derive(Clone, Debug)]
pub struct Client {
    inner: QueryClient<Channel>,
    socket: PathBuf,
}

impl Client {
    pub async fn connect(socket: &Path) -> Result<Self, QueryError> {
        match timeout(PATIENCE, Self::connect_patiently(socket)).await {
            Ok(connected) => connected,
            Err(_) => Err(QueryError::NoAnswer { socket: socket.to_owned() }),
        }
    }

    async fn connect_patiently(socket: &Path) -> Result<Self, QueryError> {
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
        let inner = QueryClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Self { inner, socket: socket.to_owned() })
    }

    pub async fn status(&mut self, filter: Filter) -> Result<StatusAnswer, QueryError> {
        answer(&self.socket, self.inner.status(filter)).await
    }

    pub async fn targets(&mut self, filter: Filter) -> Result<TargetsAnswer, QueryError> {
        answer(&self.socket, self.inner.targets(filter)).await
    }

    pub async fn topology(&mut self, filter: Filter) -> Result<Topology, QueryError> {
        let answer = answer(&self.socket, self.inner.topology(filter)).await?;
        answer.try_into().map_err(|source| QueryError::Senseless { source })
    }

    /// `Filter::edge` says which.
    pub async fn edge(&mut self, filter: Filter) -> Result<InFull, QueryError> {
        let answer = answer(&self.socket, self.inner.edge(filter)).await?;
        answer.try_into().map_err(|source| QueryError::Senseless { source })
    }

    pub async fn traces(&mut self, filter: Filter) -> Result<TracesAnswer, QueryError> {
        answer(&self.socket, self.inner.traces(filter)).await
    }

    /// `Filter::trace_id` says which.
    pub async fn trace(&mut self, filter: Filter) -> Result<TraceAnswer, QueryError> {
        answer(&self.socket, self.inner.trace(filter)).await
    }

    pub async fn findings(&mut self, filter: Filter) -> Result<FindingsAnswer, QueryError> {
        answer(&self.socket, self.inner.findings(filter)).await
    }
}

async fn answer<T>(
    socket: &Path,
    asked: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, QueryError> {
    let Ok(answer) = timeout(PATIENCE, asked).await else {
        return Err(QueryError::NoAnswer { socket: socket.to_owned() });
    };
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
