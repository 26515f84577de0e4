//! The agent's side of the API. Read-only: nothing that a client sends changes the agent.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport;

use super::{
    MAX_ANSWER_BYTES, MAX_QUESTION_BYTES, WINDOW_BYTES,
    answer::Desk,
    proto::query_server::QueryServer,
    snapshot::Snapshot,
    socket::{self, SocketFile},
};
use crate::vitals::{Part, Vitals};

const BEAT: Duration = Duration::from_secs(1);
/// Clients that do not read their answer must not keep the agent from ending.
const GRACE: Duration = Duration::from_secs(1);
const MAX_FRAME_BYTES: u32 = 1 << 20;
/// Of one connection.
const MAX_QUESTIONS_AT_ONCE: usize = 16;

#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot listen on {socket}; another place can be given with `--socket`", socket = .socket.display())]
    Bind { socket: PathBuf, source: io::Error },
    #[error("{path} is there and is no socket: remove it, or give another place with `--socket`", path = .path.display())]
    NotASocket { path: PathBuf },
    #[error(
        "another agent{} answers on {socket}: stop it, or give another place with `--socket`",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        socket = .socket.display()
    )]
    SecondAgent { socket: PathBuf, pid: Option<i32> },
    #[error("cannot listen on {address}; another one can be given with `--listen`")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the query API stopped")]
    Serve { source: Box<transport::Error> },
}

/// Listening, and not answering yet.
#[derive(Debug)]
pub struct Server {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    file: SocketFile,
}

impl Server {
    /// Fails when another agent is alive, so call it before anything is attached.
    pub async fn bind(socket: &Path, listen: Option<SocketAddr>) -> Result<Self, ServeError> {
        let (unix, file) = socket::bind(socket)?;
        let tcp = match listen {
            Some(address) => Some(
                TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?,
            ),
            None => None,
        };
        Ok(Self { unix, tcp, file })
    }

    /// Answers from the last snapshot until `stop`.
    pub async fn run(
        self,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        vitals: Arc<Vitals>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let desk = Desk { snapshots, vitals: Arc::clone(&vitals) };
        let (stopping, stopped) = watch::channel(());
        let unix = router(&desk)
            .serve_with_incoming_shutdown(UnixListenerStream::new(self.unix), ended(stopped.clone()));
        let tcp = async {
            match self.tcp {
                Some(tcp) => {
                    let incoming = TcpListenerStream::new(tcp);
                    router(&desk).serve_with_incoming_shutdown(incoming, ended(stopped)).await
                }
                None => Ok(()),
            }
        };
        let serving = async { tokio::try_join!(unix, tcp) };
        tokio::pin!(serving, stop);
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                ended = &mut serving => return result(ended),
                () = &mut stop => break,
                _ = beat.tick() => vitals.beat(Part::Query),
            }
        }
        // While it still listens: later, the file could be that of the next agent.
        drop(self.file);
        drop(stopping);
        match tokio::time::timeout(GRACE, serving).await {
            Ok(ended) => result(ended),
            Err(_) => {
                tracing::info!("Clients that did not read their answers were left.");
                Ok(())
            }
        }
    }
}

fn router(desk: &Desk) -> transport::server::Router {
    transport::Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .concurrency_limit_per_connection(MAX_QUESTIONS_AT_ONCE)
        .add_service(
            QueryServer::new(desk.clone())
                .max_decoding_message_size(MAX_QUESTION_BYTES)
                .max_encoding_message_size(MAX_ANSWER_BYTES),
        )
}

/// Until the sender is dropped; nothing is ever sent.
async fn ended(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

fn result(ended: Result<((), ()), transport::Error>) -> Result<(), ServeError> {
    match ended {
        Ok(_) => Ok(()),
        Err(source) => Err(ServeError::Serve { source: Box::new(source) }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{
        query::{
            client::{Client, QueryError},
            proto::{Filter, StatusAnswer},
            samples,
        },
        vitals::Vital,
    };

    #[tokio::test]
    async fn answers_every_question_over_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/agent.sock");
        let agent = Agent::start(&socket, samples::snapshot()).await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o660, 0o755));

        let mut client = Client::connect(&socket).await.unwrap();
        assert_eq!(client.status(Filter::default()).await.unwrap().items.len(), 1);
        assert_eq!(client.targets(Filter::default()).await.unwrap().items.len(), 2);
        assert_eq!(client.topology(Filter::default()).await.unwrap().n_edges(), 2);
        assert_eq!(client.traces(Filter::default()).await.unwrap().items.len(), 1);
        let one = Filter { trace_id: Some("0101".to_owned()), ..Filter::default() };
        assert_eq!(client.trace(one).await.unwrap().items.len(), 1);
        assert_eq!(client.findings(Filter::default()).await.unwrap().items.len(), 2);
        let wrong = Filter { sort: Some("beauty".to_owned()), ..Filter::default() };
        let error = client.topology(wrong).await.unwrap_err();
        assert!(error.to_string().contains("`beauty` is no column to sort by"), "{error}");
        assert_eq!(agent.vitals.get(Vital::Queries), 7);
        assert!(agent.vitals.last_beat(Part::Query).is_some());

        agent.stop().await;
        assert!(!socket.exists());
    }

    /// The owner hangs: no new snapshot comes, but its heart is seen to stand still.
    #[tokio::test]
    async fn status_is_of_the_moment_of_the_question() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let agent = Agent::start(&socket, samples::snapshot()).await;
        let mut client = Client::connect(&socket).await.unwrap();
        let beat = |answer: &StatusAnswer, name: &str| {
            let found = answer.items[0].components.iter().find(|it| it.name == name);
            found.and_then(|it| it.last_beat)
        };
        let before = client.status(Filter::default()).await.unwrap();
        assert_eq!(beat(&before, "state"), None);
        agent.vitals.beat(Part::State);
        agent.vitals.add(Vital::SpansSent, 3);
        agent.vitals.add(Vital::SpansQueueFull, 4);
        let after = client.status(Filter::default()).await.unwrap();
        let time = |answer: &StatusAnswer| answer.head.as_ref().unwrap().time;
        assert!(time(&before) < beat(&after, "state").unwrap() && beat(&after, "state") < Some(time(&after)));
        assert_eq!((after.items[0].export[0].sent, after.lost["export_queue_full"]), (3, 4));
        agent.stop().await;
    }

    #[tokio::test]
    async fn the_last_snapshot_of_a_dead_state_is_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let mut agent = Agent::start(&socket, samples::snapshot()).await;
        let mut client = Client::connect(&socket).await.unwrap();
        agent.snapshots = None;
        for error in [
            client.status(Filter::default()).await.map(drop).unwrap_err(),
            client.findings(Filter::default()).await.map(drop).unwrap_err(),
        ] {
            let want = "the agent cannot answer any more: its state has stopped: restart it";
            assert_eq!(error.to_string(), want);
        }
        agent.stop().await;
    }

    #[tokio::test]
    async fn a_second_agent_is_told_about_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let agent = Agent::start(&socket, samples::snapshot()).await;
        let error = Server::bind(&socket, None).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("another agent (pid {})", std::process::id())), "{error}");
        // The first is undisturbed.
        let mut client = Client::connect(&socket).await.unwrap();
        assert_eq!(client.status(Filter::default()).await.unwrap().items.len(), 1);
        agent.stop().await;
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_agent_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        drop(UnixListener::bind(&socket).unwrap());
        assert!(matches!(Client::connect(&socket).await, Err(QueryError::NoAgent { .. })));
        Agent::start(&socket, samples::snapshot()).await.stop().await;

        fs::write(&socket, "precious").unwrap();
        let error = Server::bind(&socket, None).await.unwrap_err();
        assert!(matches!(error, ServeError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    }

    #[tokio::test]
    async fn without_an_agent_the_error_says_how_to_start_one() {
        let directory = tempfile::tempdir().unwrap();
        let error = Client::connect(&directory.path().join("none.sock")).await.unwrap_err();
        assert!(error.to_string().contains("`sudo taskscope agent`"), "{error}");
    }

    #[tokio::test]
    async fn ten_thousand_edges_come_through_whole() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let agent = Agent::start(&socket, samples::many_edges(10_000)).await;
        let mut client = Client::connect(&socket).await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.topology(Filter::default()).await.unwrap().n_edges(), 10_000);
        }
        agent.stop().await;
    }

    /// An agent without anything behind it.
    pub(in crate::query) struct Agent {
        vitals: Arc<Vitals>,
        stop: tokio::sync::oneshot::Sender<()>,
        running: tokio::task::JoinHandle<Result<(), ServeError>>,
        snapshots: Option<watch::Sender<Arc<Snapshot>>>,
    }

    impl Agent {
        pub(in crate::query) async fn start(socket: &Path, snapshot: Snapshot) -> Self {
            let server = Server::bind(socket, None).await.unwrap();
            let (sender, receiver) = watch::channel(Arc::new(snapshot));
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let vitals = Arc::new(Vitals::new());
            let stopped = async move { drop(stopped.await) };
            let running = tokio::spawn(server.run(receiver, Arc::clone(&vitals), stopped));
            Self { vitals, stop, running, snapshots: Some(sender) }
        }

        pub(in crate::query) async fn stop(self) {
            self.stop.send(()).unwrap();
            self.running.await.unwrap().unwrap();
        }
    }
}
