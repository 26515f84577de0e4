//! Log events: each is in exactly one counter, however many failures it stands for.

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::*;
use crate::{
    assemble::{failure::FailureClass, network_event::NetworkEvent},
    export::{LogExport, run_logs, semconv},
};

#[tokio::test]
async fn a_storm_is_its_first_failure_and_one_event_for_the_rest() {
    for protocol in [Grpc, HttpProtobuf] {
        let mut collector = Collector::start(protocol, &[]).await;
        let mut run = Run::start(collector.address, protocol, 100);
        run.feed([80; 100]).await;
        assert_eq!(collector.counts(1).await, [(80, 1)]);
        run.stop();
        assert_eq!(collector.counts(1).await, [(80, 99)]);
        assert_eq!(run.finish().await, "made 2, sent 2");
    }
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    check(&[Invalid, Accept], "made 5, refused 5").await;
    check(&[Partial(2)], "made 5, sent 3, refused 2").await;
    check(&[Unavailable, Throttled, Accept], "made 5, sent 5").await;
}

#[tokio::test]
async fn while_a_collector_is_down_the_oldest_go_and_are_counted() {
    let address = free_address().await;
    let run = Run::start(address, Grpc, 10);
    run.feed(1..=8).await;
    run.eventually("a try", |it| 1 <= it.get(Vital::ExportRetries)).await;
    run.feed(9..=58).await;
    run.eventually("a full queue", |it| it.get(Vital::LogsQueueFull) == 40).await;
    let mut collector = Collector::start_at(address, Grpc, &[], None).await;
    let ports: Vec<_> = collector.counts(18).await.iter().map(|it| it.0).collect();
    assert_eq!(ports, (1..=8).chain(49..=58).collect::<Vec<_>>());
    assert_eq!(run.finish().await, "made 58, sent 18, queue full 40");
}

#[tokio::test]
async fn what_cannot_be_sent_at_shutdown_is_counted() {
    let run = Run::start(free_address().await, HttpProtobuf, 100);
    run.feed(1..=30).await;
    run.eventually("a try", |it| 1 <= it.get(Vital::ExportRetries)).await;
    run.feed([1; 5]).await;
    // The one for the five is made at the end.
    assert_eq!(run.finish().await, "made 31, lost at shutdown 31");
}

#[tokio::test]
async fn too_many_that_differ_are_counted() {
    let run = Run::start(free_address().await, Grpc, 10_000);
    run.feed(1..=5000).await;
    run.eventually("those that find no room", |it| it.get(Vital::LogsTooMany) == 904).await;
    assert!(run.finish().await.starts_with("made 4096"));
}

async fn check(answers: &[Answer], want: &str) {
    for protocol in [Grpc, HttpProtobuf] {
        let collector = Collector::start(protocol, answers).await;
        let run = Run::start(collector.address, protocol, 100);
        run.feed(1..=5).await;
        let is_done = |it: &Vitals| it.get(Vital::LogsSent) + it.get(Vital::LogsRefused) == 5;
        run.eventually("all events to be accounted for", is_done).await;
        assert_eq!(run.finish().await, want, "{protocol:?}");
    }
}

impl Collector {
    /// Server ports and counts of the next `n` events, sorted.
    async fn counts(&mut self, n: usize) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        while found.len() < n {
            let Received::Logs(request, envelope) = self.next().await else { unreachable!() };
            assert_eq!(envelope.encoding.as_deref(), Some("zstd"));
            let scopes = request.resource_logs.into_iter().flat_map(|it| it.scope_logs);
            found.extend(scopes.flat_map(|it| it.log_records).map(|record| {
                let number = |key| {
                    let attribute = record.attributes.iter().find(|it| it.key == key).unwrap();
                    match attribute.value.as_ref().unwrap().value {
                        Some(Value::IntValue(it)) => it,
                        ref other => panic!("{key}: {other:?}"),
                    }
                };
                (number(semconv::SERVER_PORT), number(semconv::EVENT_COUNT))
            }));
        }
        found.sort_unstable();
        found
    }
}

/// `run_logs` under test.
struct Run {
    events: mpsc::Sender<Vec<NetworkEvent>>,
    shutdown: watch::Sender<bool>,
    vitals: Arc<Vitals>,
    task: JoinHandle<()>,
}

impl Run {
    fn start(address: SocketAddr, protocol: OtlpProtocol, capacity: usize) -> Self {
        let (feed, events) = mpsc::channel(1000);
        let (shutdown, stop) = watch::channel(false);
        let vitals = Arc::new(Vitals::new());
        let task = tokio::spawn(run_logs(LogExport {
            sender: Sender::new(&Otlp {
                compression: Compression::Zstd,
                ..settings_of(Signal::Logs, address, protocol)
            })
            .unwrap(),
            node: Arc::new(testing::node()),
            capacity,
            events,
            vitals: Arc::clone(&vitals),
            shutdown: stop,
            pace: quick(),
        }));
        Self { events: feed, shutdown, vitals, task }
    }

    /// Connects to these ports that are refused.
    async fn feed(&self, ports: impl IntoIterator<Item = u16>) {
        let events = ports.into_iter().map(|port| testing::failure(FailureClass::Refused, port)).collect();
        self.events.send(events).await.unwrap();
    }

    fn stop(&mut self) {
        self.shutdown.send_replace(true);
    }

    async fn eventually(&self, what: &str, is_true: impl Fn(&Vitals) -> bool) {
        eventually(what, || is_true(&self.vitals)).await;
    }

    /// Stops, and checks that each event that was made is in exactly one counter.
    async fn finish(self) -> String {
        self.shutdown.send_replace(true);
        timeout(Duration::from_secs(20), self.task).await.expect("the task must end").unwrap();
        let ends = [
            ("sent", Vital::LogsSent),
            ("queue full", Vital::LogsQueueFull),
            ("refused", Vital::LogsRefused),
            ("lost at shutdown", Vital::LogsLostAtShutdown),
        ];
        let of = |vital| self.vitals.get(vital);
        assert_eq!(ends.iter().map(|it| of(it.1)).sum::<u64>(), of(Vital::LogsMade));
        assert_eq!(of(Vital::LogsQueued), 0);
        let all = [("made", Vital::LogsMade)].into_iter().chain(ends);
        let all = all.map(|(name, vital)| (name, of(vital))).filter(|(_, n)| *n != 0);
        all.map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
    }
}
