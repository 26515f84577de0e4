//! The daemon: builds all stages, joins them by bounded queues, and takes them down in order.
//!
//! kernel thread --events, rows--> owner thread --spans, edges, snapshots--> export and query tasks
//! owner --who is new--> planner thread --plans--> kernel thread
//! owner --questions--> servers thread --answers--> owner
//!
//! It knows every room and decides nothing of its own.

mod dumps;
mod error;
mod kernel_thread;
mod loads;
mod message;
mod outbox;
mod owner;
mod planner;
mod probes;
mod publish;
mod servers;
mod threads;
mod watching;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::{
    signal::unix,
    sync::{mpsc as async_mpsc, watch},
    task::JoinHandle,
};

pub use self::{error::RunError, kernel_thread::DRAIN_EVERY, servers::answer};
use self::{
    kernel_thread::KernelThread,
    message::ToOwner,
    owner::{Outlets, Owner},
    threads::{Thread, first_to_end},
};
use crate::{
    assemble::{edge::Edges, network_event::NetworkEvent, resolutions::ResolutionSeries, span::Batch},
    clock,
    config::settings::{Exports, Settings},
    export::{
        self, DurationExport, HttpDurations, LOG_QUEUE, LogExport, MetricExport, Node, Own, Pace, Sender,
        SpanExport,
    },
    kernel::{Kernel, Options},
    query::{server::Server, snapshot::Snapshot},
    vitals::Vitals,
};

/// Messages on the way to the owner. At 50 ms each this is several seconds of a stalled owner; how many
/// events may be in them is bounded, too.
const OWNER_QUEUE: usize = 64;
const PLANNER_QUEUE: usize = 4096;
const KERNEL_QUEUE: usize = 1024;
const SPAN_QUEUE: usize = 256;
/// Batches of network events: what one drain of the ring brought.
const EVENT_QUEUE: usize = 256;
/// What the kernel thread and the owner may take to hand on what they have.
const STAGES_DRAIN: Duration = Duration::from_secs(1);
/// After a signal everything has to be done within 5 s; the exporters take up to 3.5 s of it.
const EXPORT_DRAIN: Duration = Duration::from_millis(3900);

/// Runs until SIGINT or SIGTERM; then drains within 5 s and leaves nothing in the kernel.
///
/// # Errors
///
/// When it cannot start: another agent answers on the socket, the kernel half is refused, the exporter's
/// settings are unusable, or process ids mean something else here. Later, when a thread dies.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let settings = Arc::new(settings);
    if !in_first_pid_namespace() {
        return Err(RunError::PidNamespace);
    }
    raise_open_files();
    let vitals = Arc::new(Vitals::new());
    // Before anything is attached: a second agent must not count everything twice.
    let server = Server::bind(&settings.socket, settings.listen).await?;
    let node = Arc::new(Node::this(settings.node.clone(), settings.resource_attributes.clone()));
    let (stop, stopped) = watch::channel(false);
    let (edges, new_edges) = watch::channel(Edges::default());
    let (resolutions, new_resolutions) = watch::channel(ResolutionSeries::default());
    let state = StateOutlets { edges: new_edges, resolutions: new_resolutions };
    let exporters = Exporters::start(&settings, &node, &vitals, state, &stopped)?;

    let kernel = load(&settings)?;
    let (to_owner, owner_inbox) = mpsc::sync_channel(OWNER_QUEUE);
    let (to_planner, planner_inbox) = mpsc::sync_channel(PLANNER_QUEUE);
    let (to_kernel, kernel_inbox) = mpsc::sync_channel(KERNEL_QUEUE);
    let (mut servers, to_servers) = servers::start(to_owner.clone(), &vitals)?;
    let (snapshots, new_snapshot) = watch::channel(Arc::new(publish::empty(&settings)));
    let outlets = Outlets {
        snapshots,
        edges,
        resolutions,
        spans: exporters.spans.clone(),
        events: exporters.events.clone(),
        planner: to_planner,
        kernel: to_kernel.clone(),
        servers: to_servers,
    };
    let owner = Owner::new(Arc::clone(&settings), Arc::clone(&vitals), outlets)?;

    let mut planner = planner::start(planner_inbox, to_kernel, to_owner.clone(), &vitals, stopped.clone())?;
    let stop_kernel = Arc::new(AtomicBool::new(false));
    let inputs = kernel_thread::Inputs { inbox: kernel_inbox, stop: Arc::clone(&stop_kernel) };
    let mut kernel = KernelThread::start(kernel, inputs, to_owner.clone(), &settings, &vitals)?;
    let mut owner = owner.start(owner_inbox)?;
    let query = tokio::spawn(serve(server, new_snapshot, Arc::clone(&vitals), stopped));
    let signals = up(&settings)?;

    let died = tokio::select! {
        () = signals.wait() => None,
        thread = first_to_end([&mut kernel, &mut owner, &mut planner, &mut servers]) => Some(thread),
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("Draining.");
    // In the order of the flow: what is under way reaches the next stage before that one stops.
    stop_kernel.store(true, Ordering::Relaxed);
    drain(kernel, to_owner, owner).await;
    // The planner is not waited for: nobody needs the binary that it may be reading.
    stop.send_replace(true);
    exporters.finish().await;
    if let Ok(Err(error)) = query.await {
        tracing::warn!(error = %error::chain(&error), "The query API ended badly.");
    }
    died.map_or(Ok(()), |thread| Err(RunError::Died { thread }))
}

fn load(settings: &Settings) -> Result<Kernel, RunError> {
    let (kernel, refused) =
        Kernel::load(Options { log: settings.kernel_log, tc: settings.tc, ..Options::default() })?;
    for refused in &refused {
        tracing::warn!(feature = refused.feature, error = %error::chain(&refused.error), "A feature does not work here.");
    }
    Ok(kernel)
}

fn up(settings: &Settings) -> Result<Signals, RunError> {
    // Before anybody is told that we are up: until then a signal would end us at once.
    let signals = Signals::listen()?;
    tracing::info!(socket = %settings.socket.display(), "The agent is up.");
    notify(&[sd_notify::NotifyState::Ready]);
    Ok(signals)
}

/// Waits until both stages have handed on what they had, but not for ever.
async fn drain(kernel: Thread, to_owner: mpsc::SyncSender<ToOwner>, owner: Thread) {
    let stages = async {
        kernel.join().await;
        // It waits for room, and fails when the owner is gone.
        let told = tokio::task::spawn_blocking(move || to_owner.send(ToOwner::Stop)).await;
        if matches!(told, Ok(Ok(()))) {
            owner.join().await;
        }
    };
    if tokio::time::timeout(STAGES_DRAIN, stages).await.is_err() {
        tracing::error!("A part of the agent hangs; what it had is lost.");
    }
}

async fn serve(
    server: Server,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    vitals: Arc<Vitals>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), crate::query::server::ServeError> {
    let stop = async move {
        // A sender that is gone means the end, too.
        let _gone = stopped.wait_for(|stop| *stop).await;
    };
    // Who asks earlier waits for the first one: an empty answer would be a wrong one.
    let _first = snapshots.changed().await;
    server.run(snapshots, vitals, stop).await
}

/// What metrics are made of, the newest only.
struct StateOutlets {
    edges: watch::Receiver<Edges>,
    resolutions: watch::Receiver<ResolutionSeries>,
}

/// The tasks that send to the collector, if there is one.
struct Exporters {
    spans: Option<async_mpsc::Sender<Batch>>,
    events: Option<async_mpsc::Sender<Vec<NetworkEvent>>>,
    tasks: Vec<JoinHandle<()>>,
    own: Option<Own>,
}

impl Exporters {
    fn start(
        settings: &Settings,
        node: &Arc<Node>,
        vitals: &Arc<Vitals>,
        StateOutlets { edges, resolutions }: StateOutlets,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Self, export::ExportError> {
        let mut it = Self { spans: None, events: None, tasks: Vec::new(), own: None };
        let Exports { traces, metrics, logs } = &settings.otlp;
        let durations = if traces.is_some() || metrics.is_some() {
            Some(it.take_spans(settings, node, vitals, stopped)?)
        } else {
            None
        };
        if let (Some(metrics), Some(durations)) = (metrics, durations) {
            it.own = Some(Own::start(metrics, node, vitals, settings.metrics_interval)?);
            it.tasks.push(tokio::spawn(export::run_metrics(MetricExport {
                sender: Sender::new(metrics)?,
                node: Arc::clone(node),
                interval: settings.metrics_interval,
                edges,
                resolutions,
                durations,
                spans_are_sent: traces.is_some(),
                vitals: Arc::clone(vitals),
                shutdown: stopped.clone(),
                pace: Pace::default(),
            })));
        }
        if let Some(logs) = logs {
            let (events, new_events) = async_mpsc::channel(EVENT_QUEUE);
            it.events = Some(events);
            it.tasks.push(tokio::spawn(export::run_logs(LogExport {
                sender: Sender::new(logs)?,
                node: Arc::clone(node),
                capacity: LOG_QUEUE,
                events: new_events,
                vitals: Arc::clone(vitals),
                shutdown: stopped.clone(),
                pace: Pace::default(),
            })));
        }
        Ok(it)
    }

    /// Spans go to the collector, or at least their durations to the metrics.
    fn take_spans(
        &mut self,
        settings: &Settings,
        node: &Arc<Node>,
        vitals: &Arc<Vitals>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<watch::Receiver<Arc<HttpDurations>>, export::ExportError> {
        let (to_us, spans) = async_mpsc::channel(SPAN_QUEUE);
        let (durations, new_durations) = watch::channel(Arc::new(HttpDurations::default()));
        let (vitals, shutdown) = (Arc::clone(vitals), stopped.clone());
        self.spans = Some(to_us);
        self.tasks.push(match &settings.otlp.traces {
            Some(traces) => tokio::spawn(export::run_spans(SpanExport {
                sender: Sender::new(traces)?,
                node: Arc::clone(node),
                capacity: settings.export_queue,
                spans,
                durations,
                vitals,
                shutdown,
                pace: Pace::default(),
            })),
            None => {
                tokio::spawn(export::run_durations(DurationExport { spans, durations, vitals, shutdown }))
            }
        });
        Ok(new_durations)
    }

    async fn finish(self) {
        drop((self.spans, self.events));
        let begun = clock::now();
        let tasks = async {
            for task in self.tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "An exporter died.");
                }
            }
        };
        if tokio::time::timeout(EXPORT_DRAIN, tasks).await.is_err() {
            tracing::warn!("The collector did not take everything in time.");
        }
        // After the others: what these could not send is in its last numbers.
        let left = EXPORT_DRAIN.saturating_sub(clock::now().since(begun));
        if let Some(own) = self.own
            && let Err(error) = own.shutdown(left).await
        {
            tracing::warn!(error = %error::chain(&error), "The agent's own last numbers were not sent.");
        }
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, RunError> {
        let listen = |kind| unix::signal(kind).map_err(|source| RunError::Signals { source });
        Ok(Self {
            terminate: listen(unix::SignalKind::terminate())?,
            interrupt: listen(unix::SignalKind::interrupt())?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The kernel half names processes by their ids there. Where it cannot be told, we go on.
fn in_first_pid_namespace() -> bool {
    // PROC_PID_INIT_INO, include/linux/proc_ns.h.
    const FIRST: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").map_or(true, |own| own.as_os_str() == FIRST)
}

/// A link for each point, some eleven for each Go program: 1,024 open files are soon too few.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, open_files = limit.current, "The limit of open files cannot be raised.");
    }
}

/// systemd, if it started us, wants to know.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told.");
    }
}
