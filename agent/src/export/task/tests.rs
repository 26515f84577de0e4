//! The tasks against a collector on loopback. Waits have an end, and none is for a fixed time.

mod logs;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest, metrics::v1::metric::Data,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    Pace,
    durations::{DurationExport, run_durations},
    metrics::{MetricExport, run_metrics},
    spans::{SpanExport, run_spans},
};
use crate::{
    assemble::{
        resolutions::ResolutionSeries,
        span::{Batch, Span},
    },
    clock,
    config::settings::{
        Compression, Otlp,
        OtlpProtocol::{self, Grpc, HttpProtobuf},
        Signal,
    },
    export::{
        HttpDurations, Sender,
        testing::{
            self,
            certificates::Certificates,
            collector::{
                Answer::{self, Invalid, Ok as Accept, Partial, Silent, Throttled, TooLarge, Unavailable},
                Collector, Received, settings, settings_of,
            },
        },
    },
    vitals::{Part, Vital, Vitals},
};

#[tokio::test]
async fn spans_arrive() {
    check(&[], "sent 5").await;
}

#[tokio::test]
async fn a_busy_collector_is_asked_again() {
    check(&[Unavailable, Unavailable, Throttled, Accept], "sent 5, retries 3").await;
}

#[tokio::test]
async fn a_refused_batch_is_counted_and_not_sent_again() {
    check(&[Invalid, Accept], "refused 5").await;
}

#[tokio::test]
async fn too_much_without_a_time_to_come_back_is_refused() {
    check(&[TooLarge, Accept], "refused 5").await;
}

#[tokio::test]
async fn what_a_collector_throws_away_is_refused() {
    check(&[Partial(2)], "sent 3, refused 2").await;
    check(&[Partial(99)], "refused 5").await;
}

#[tokio::test]
async fn a_silent_collector_is_asked_again() {
    for protocol in [Grpc, HttpProtobuf] {
        let mut collector = Collector::start(protocol, &[Silent]).await;
        let mut settings = settings(collector.address, protocol);
        settings.timeout = Duration::from_millis(100);
        let run = Run::start(&settings, 100);
        run.feed(1..=5).await;
        assert_eq!(collector.spans(5).await, [1, 2, 3, 4, 5]);
        assert_eq!(run.finish(5).await, "sent 5, retries 1");
    }
}

#[tokio::test]
async fn while_a_collector_is_down_what_fits_is_kept() {
    for protocol in [Grpc, HttpProtobuf] {
        let address = free_address().await;
        let run = Run::start(&settings(address, protocol), 100);
        run.feed(1..=30).await;
        run.eventually("three tries", |it| 3 <= it.get(Vital::ExportRetries)).await;
        run.feed(31..=100).await;
        let mut collector = Collector::start_at(address, protocol, &[], None).await;
        assert_eq!(collector.spans(100).await, (1..=100).collect::<Vec<_>>());
        run.eventually("the last answer", |it| it.get(Vital::SpansSent) == 100).await;
        assert!(run.finish(100).await.starts_with("sent 100, retries "));
    }
}

#[tokio::test]
async fn while_a_collector_is_down_the_oldest_go_and_are_counted() {
    let address = free_address().await;
    let run = Run::start(&settings(address, Grpc), 10);
    run.feed(1..=8).await;
    run.eventually("a try", |it| 1 <= it.get(Vital::ExportRetries)).await;
    run.feed(9..=58).await;
    run.eventually("a full queue", |it| it.get(Vital::SpansQueueFull) == 40).await;
    let mut collector = Collector::start_at(address, Grpc, &[], None).await;
    // Eight were under way when the others came.
    assert_eq!(collector.spans(18).await, (1..=8).chain(49..=58).collect::<Vec<_>>());
    let got = run.finish(58).await;
    assert!(got.starts_with("sent 18, queue full 40, retries "), "{got}");
}

#[tokio::test]
async fn what_cannot_be_sent_at_shutdown_is_counted() {
    for protocol in [Grpc, HttpProtobuf] {
        let run = Run::start(&settings(free_address().await, protocol), 100);
        run.feed(1..=30).await;
        run.eventually("a try", |it| 1 <= it.get(Vital::ExportRetries)).await;
        let got = run.finish(30).await;
        assert!(got.starts_with("lost at shutdown 30, retries "), "{got}");
    }
}

/// A shutdown does not wait out a backoff of hours.
#[tokio::test]
async fn a_shutdown_is_one_more_try() {
    let address = free_address().await;
    let mut pace = quick();
    pace.backoff_first = Duration::from_secs(3600);
    pace.backoff_max = Duration::from_secs(3600);
    let mut run = Run::start_with(&settings(address, HttpProtobuf), 100, pace);
    run.feed(1..=3).await;
    run.eventually("a try", |it| it.get(Vital::ExportRetries) == 1).await;
    let mut collector = Collector::start_at(address, HttpProtobuf, &[], None).await;
    run.stop();
    assert_eq!(collector.spans(3).await, [1, 2, 3]);
    assert!(run.finish(3).await.starts_with("sent 3, retries "));
}

#[tokio::test]
async fn spans_still_in_the_channel_are_sent_at_shutdown() {
    let mut collector = Collector::start(Grpc, &[]).await;
    let mut pace = quick();
    pace.ship_every = Duration::from_secs(3600);
    let mut run = Run::start_with(&settings(collector.address, Grpc), 100, pace);
    run.stop();
    run.feed(1..=5).await;
    assert_eq!(collector.spans(5).await, [1, 2, 3, 4, 5]);
    assert_eq!(run.finish(5).await, "sent 5");
}

#[tokio::test]
async fn a_full_batch_does_not_wait() {
    let mut collector = Collector::start(Grpc, &[]).await;
    let mut pace = quick();
    pace.ship_every = Duration::from_secs(3600);
    let run = Run::start_with(&settings(collector.address, Grpc), 100, pace);
    // The first tick comes at once.
    run.feed(1..=1).await;
    assert_eq!(collector.spans(1).await, [1]);
    run.feed(2..=pace.batch as u64 + 1).await;
    assert_eq!(collector.spans(pace.batch).await.len(), pace.batch);
    run.finish(pace.batch as u64 + 1).await;
}

/// gRPC servers refuse more than 4 MiB.
#[tokio::test]
async fn a_batch_that_is_too_long_goes_in_parts() {
    let mut collector = Collector::start(Grpc, &[]).await;
    let run = Run::start(&settings(collector.address, Grpc), 100);
    let mut spans: Vec<_> = (1..=50).map(testing::span).collect();
    for span in &mut spans {
        let tgid = u32::try_from(span.goid).unwrap();
        let mut process = testing::process("cart", tgid);
        process.attributes = vec![("note".to_owned(), "x".repeat(100_000))];
        span.process = Arc::new(process);
    }
    run.spans.send(Arc::new(spans)).await.unwrap();
    assert_eq!(collector.spans(50).await, (1..=50).collect::<Vec<_>>());
    assert_eq!(run.finish(50).await, "sent 50");
}

#[tokio::test]
async fn the_task_ends_when_nobody_makes_spans_any_more() {
    let collector = Collector::start(Grpc, &[]).await;
    let run = Run::start(&settings(collector.address, Grpc), 100);
    run.feed(1..=5).await;
    drop(run.spans);
    timeout(Duration::from_secs(20), run.task).await.expect("the task must end").unwrap();
    assert_eq!(run.vitals.get(Vital::SpansSent), 5);
}

#[tokio::test]
async fn headers_and_compression_are_as_set() {
    for (protocol, compression, encoding) in [
        (Grpc, Compression::Zstd, Some("zstd")),
        (Grpc, Compression::Gzip, Some("gzip")),
        (Grpc, Compression::None, None),
        (HttpProtobuf, Compression::Zstd, Some("zstd")),
        (HttpProtobuf, Compression::Gzip, Some("gzip")),
        (HttpProtobuf, Compression::None, None),
    ] {
        let mut collector = Collector::start(protocol, &[]).await;
        let mut settings = settings(collector.address, protocol);
        settings.compression = compression;
        settings.headers = vec![("X-Scope-OrgID".to_owned(), "shop".to_owned())];
        let run = Run::start(&settings, 100);
        run.feed(1..=5).await;
        let Received::Traces(request, envelope) = collector.next().await else { unreachable!() };
        assert_eq!((envelope.encoding.as_deref(), envelope.tenant.as_deref()), (encoding, Some("shop")));
        assert_eq!(envelope.takes_zstd, protocol == Grpc);
        assert_eq!(request.resource_spans.len(), 1);
        assert_eq!(run.finish(5).await, "sent 5");
    }
}

#[tokio::test]
async fn both_ends_show_certificates() {
    for protocol in [Grpc, HttpProtobuf] {
        let ours = Certificates::make();
        let mut collector =
            Collector::start_at("127.0.0.1:0".parse().unwrap(), protocol, &[], Some(&ours)).await;
        let mut settings = settings(collector.address, protocol);
        settings.endpoint = settings.endpoint.replace("http://", "https://");
        settings.tls = ours.tls();
        let run = Run::start(&settings, 100);
        run.feed(1..=5).await;
        assert_eq!(collector.spans(5).await, [1, 2, 3, 4, 5]);
        assert_eq!(run.finish(5).await, "sent 5");

        // Another authority; then the right one, but no certificate of ours.
        let mut anonymous = ours.tls();
        anonymous.client = None;
        for tls in [Certificates::make().tls(), anonymous] {
            settings.tls = tls;
            let run = Run::start(&settings, 100);
            run.feed(1..=5).await;
            run.eventually("a try", |it| 1 <= it.get(Vital::ExportRetries)).await;
            let got = run.finish(5).await;
            assert!(got.starts_with("lost at shutdown 5, retries "), "{protocol:?}: {got}");
            assert!(collector.received.is_empty());
        }
    }
}

#[tokio::test]
async fn the_last_metrics_hold_the_last_spans() {
    for protocol in [Grpc, HttpProtobuf] {
        let mut collector = Collector::start(protocol, &[]).await;
        let mut run = Run::start(&settings(collector.address, protocol), 100);
        let settings = settings_of(Signal::Metrics, collector.address, protocol);
        let (_edges, edges) = watch::channel(Arc::default());
        let metrics = tokio::spawn(run_metrics(MetricExport {
            sender: Sender::new(&settings).unwrap(),
            node: Arc::new(testing::node()),
            interval: Duration::from_secs(3600),
            edges,
            resolutions: watch::channel(ResolutionSeries::default()).1,
            durations: run.durations.clone(),
            spans_are_sent: true,
            vitals: Arc::clone(&run.vitals),
            shutdown: run.shutdown.subscribe(),
            pace: quick(),
        }));
        run.stop();
        run.spans.send(spans_of_now(5)).await.unwrap();
        let request = loop {
            if let Received::Metrics(request, _) = collector.next().await {
                break request;
            }
        };
        metrics.await.unwrap();
        let text = format!("{request:?}");
        assert!(text.contains("http.server.request.duration") && text.contains("count: 5"), "{text}");
        assert_eq!(run.vitals.get(Vital::MetricsSent), 1);
        assert_eq!(run.finish(5).await, "sent 5");
    }
}

#[tokio::test]
async fn metrics_that_nobody_takes_are_counted() {
    let address = free_address().await;
    let (stop, vitals, task) = metrics(&settings(address, Grpc), Duration::from_millis(50));
    eventually("two failed requests", || 2 <= vitals.get(Vital::MetricsFailed)).await;
    let mut collector = Collector::start_at(address, Grpc, &[], None).await;
    let Received::Metrics(request, _) = collector.next().await else { unreachable!() };
    assert!(format!("{request:?}").contains("taskscope.edge.bytes"));
    stop.send_replace(true);
    task.await.unwrap();
}

#[tokio::test]
async fn points_that_a_collector_throws_away_are_counted() {
    let collector = Collector::start(Grpc, &[Partial(3), Partial(4)]).await;
    let (stop, vitals, task) = metrics(&settings(collector.address, Grpc), Duration::from_millis(20));
    eventually("both answers", || vitals.get(Vital::MetricPointsRefused) == 7).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(vitals.get(Vital::MetricsFailed), 0);
}

#[tokio::test]
async fn a_request_under_way_at_shutdown_is_counted() {
    let collector = Collector::start(Grpc, &[Silent, Accept]).await;
    let (stop, vitals, task) = metrics(&settings(collector.address, Grpc), Duration::from_secs(3600));
    eventually("a beat", || vitals.last_beat(Part::MetricExport).is_some()).await;
    eventually("the request", || collector.received.is_empty() && collector.n_asked() == 1).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!((vitals.get(Vital::MetricsSent), vitals.get(Vital::MetricsFailed)), (1, 1));
}

/// An interval that finds a request under way is not lost: the next one goes as soon as it landed.
#[tokio::test(start_paused = true)]
async fn each_interval_has_its_request() {
    let collector = Collector::start(Grpc, &[Silent; 6]).await;
    let mut settings = settings(collector.address, Grpc);
    settings.timeout = Duration::from_secs(3600);
    let (stop, vitals, task) = metrics(&settings, Duration::from_secs(10));
    eventually_within(Duration::from_secs(75), "six tries", || vitals.get(Vital::MetricsFailed) == 6).await;
    stop.send_replace(true);
    task.await.unwrap();
}

/// `run_metrics` with one edge.
fn metrics(settings: &Otlp, interval: Duration) -> (watch::Sender<bool>, Arc<Vitals>, JoinHandle<()>) {
    let (stop, shutdown) = watch::channel(false);
    let (_, edges) = watch::channel(Arc::new(vec![Arc::new(testing::edge())]));
    let (_, durations) = watch::channel(Arc::default());
    let vitals = Arc::new(Vitals::new());
    let task = tokio::spawn(run_metrics(MetricExport {
        sender: Sender::new(settings).unwrap(),
        node: Arc::new(testing::node()),
        interval,
        edges,
        resolutions: watch::channel(ResolutionSeries::default()).1,
        durations,
        spans_are_sent: true,
        vitals: Arc::clone(&vitals),
        shutdown,
        pace: quick(),
    }));
    (stop, vitals, task)
}

/// Who exports metrics only wants those of requests, too.
#[tokio::test]
async fn durations_need_no_collector_of_spans() {
    let (feed, spans) = mpsc::channel(10);
    let (publish, durations) = watch::channel(Arc::default());
    let vitals = Arc::new(Vitals::new());
    let (stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(run_durations(DurationExport {
        spans,
        durations: publish,
        vitals: Arc::clone(&vitals),
        shutdown,
    }));
    feed.send(spans_of_now(3)).await.unwrap();
    eventually("a beat", || vitals.last_beat(Part::SpanExport).is_some()).await;
    feed.send(spans_of_now(2)).await.unwrap();
    stop.send_replace(true);
    task.await.unwrap();
    let rows = durations.borrow().rows().iter().map(|it| it.1.buckets[0]).sum::<u64>();
    assert_eq!(rows, 5);
}

/// Another start would be a reset.
#[tokio::test]
async fn starts_are_the_same_in_every_request() {
    let mut collector = Collector::start(Grpc, &[]).await;
    let (stop, shutdown) = watch::channel(false);
    let (_edges, edges) = watch::channel(Arc::new(vec![Arc::new(testing::edge())]));
    let mut made = HttpDurations::default();
    made.record(&testing::span(1));
    let (_durations, durations) = watch::channel(Arc::new(made));
    let task = tokio::spawn(run_metrics(MetricExport {
        sender: Sender::new(&settings(collector.address, Grpc)).unwrap(),
        node: Arc::new(testing::node()),
        interval: Duration::from_millis(20),
        edges,
        resolutions: watch::channel(ResolutionSeries::default()).1,
        durations,
        spans_are_sent: true,
        vitals: Arc::default(),
        shutdown,
        pace: quick(),
    }));
    let mut starts = BTreeSet::new();
    for _ in 0..10 {
        let Received::Metrics(request, _) = collector.next().await else { unreachable!() };
        starts.extend(starts_of(&request));
    }
    assert_eq!(starts.len(), 2, "one of edges and one of durations");
    stop.send_replace(true);
    task.await.unwrap();
}

fn starts_of(request: &ExportMetricsServiceRequest) -> BTreeSet<u64> {
    let scopes = request.resource_metrics.iter().flat_map(|it| &it.scope_metrics);
    let starts = scopes.flat_map(|it| &it.metrics).flat_map(|it| match it.data.as_ref().unwrap() {
        Data::Sum(it) => it.data_points.iter().map(|it| it.start_time_unix_nano).collect(),
        Data::Histogram(it) => it.data_points.iter().map(|it| it.start_time_unix_nano).collect(),
        _ => Vec::new(),
    });
    starts.collect()
}

/// The clock of tokio stands still until everything waits, then jumps: hours of silence in a moment.
#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_does_not_stop_the_heart() {
    let collector = Collector::start(Grpc, &[Silent]).await;
    let mut settings = settings(collector.address, Grpc);
    settings.timeout = Duration::from_secs(3600);
    let run = Run::start_with(&settings, 100, Pace::default());
    run.feed(1..=5).await;
    run.eventually("the first beat", |it| it.last_beat(Part::SpanExport).is_some()).await;
    run.eventually("spans under way", |it| it.get(Vital::SpansQueued) == 5).await;
    for _ in 0..10 {
        let last = run.vitals.last_beat(Part::SpanExport);
        run.eventually("another beat", |it| it.last_beat(Part::SpanExport) != last).await;
    }
    assert_eq!(run.vitals.get(Vital::SpansSent), 0);
}

/// Feeds five spans; `want` is what the counters say when the answers are used up.
async fn check(answers: &[Answer], want: &str) {
    for protocol in [Grpc, HttpProtobuf] {
        let collector = Collector::start(protocol, answers).await;
        let run = Run::start(&settings(collector.address, protocol), 100);
        run.feed(1..=5).await;
        let is_done = |it: &Vitals| it.get(Vital::SpansSent) + it.get(Vital::SpansRefused) == 5;
        run.eventually("all spans to be accounted for", is_done).await;
        assert_eq!(run.finish(5).await, want, "{protocol:?}");
    }
}

/// `run_spans` under test.
struct Run {
    spans: mpsc::Sender<Batch>,
    durations: watch::Receiver<Arc<HttpDurations>>,
    shutdown: watch::Sender<bool>,
    vitals: Arc<Vitals>,
    task: JoinHandle<()>,
}

impl Run {
    fn start(settings: &Otlp, capacity: usize) -> Self {
        Self::start_with(settings, capacity, quick())
    }

    fn start_with(settings: &Otlp, capacity: usize, pace: Pace) -> Self {
        let (feed, spans) = mpsc::channel(1000);
        let (publish, durations) = watch::channel(Arc::default());
        let (shutdown, stop) = watch::channel(false);
        let vitals = Arc::new(Vitals::new());
        let task = tokio::spawn(run_spans(SpanExport {
            sender: Sender::new(settings).unwrap(),
            node: Arc::new(testing::node()),
            capacity,
            spans,
            durations: publish,
            vitals: Arc::clone(&vitals),
            shutdown: stop,
            pace,
        }));
        Self { spans: feed, durations, shutdown, vitals, task }
    }

    async fn feed(&self, numbers: impl IntoIterator<Item = u64>) {
        self.spans.send(testing::spans(numbers)).await.unwrap();
    }

    fn stop(&mut self) {
        self.shutdown.send_replace(true);
    }

    async fn eventually(&self, what: &str, is_true: impl Fn(&Vitals) -> bool) {
        eventually(what, || is_true(&self.vitals)).await;
    }

    /// Stops, and checks that each of the `fed` spans is in exactly one counter.
    async fn finish(self, fed: u64) -> String {
        self.shutdown.send_replace(true);
        timeout(Duration::from_secs(20), self.task).await.expect("the task must end").unwrap();
        let ends = [
            ("sent", Vital::SpansSent),
            ("queue full", Vital::SpansQueueFull),
            ("refused", Vital::SpansRefused),
            ("lost at shutdown", Vital::SpansLostAtShutdown),
        ];
        assert_eq!(ends.iter().map(|it| self.vitals.get(it.1)).sum::<u64>(), fed);
        assert_eq!(self.vitals.get(Vital::SpansQueued), 0);
        let words: Vec<_> = ends
            .into_iter()
            .chain([("retries", Vital::ExportRetries)])
            .map(|(name, vital)| (name, self.vitals.get(vital)))
            .filter(|(_, n)| *n != 0)
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        words.join(", ")
    }
}

/// Old ones would be forgotten before they are published.
fn spans_of_now(n: u64) -> Batch {
    let now = clock::now();
    Arc::new((1..=n).map(|n| Span { began: now, ended: now, ..testing::span(n) }).collect())
}

async fn eventually(what: &str, is_true: impl Fn() -> bool) {
    eventually_within(Duration::from_secs(20), what, is_true).await;
}

async fn eventually_within(patience: Duration, what: &str, is_true: impl Fn() -> bool) {
    let wait = async {
        while !is_true() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(patience, wait).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

fn quick() -> Pace {
    Pace {
        batch: 50,
        ship_every: Duration::from_millis(5),
        backoff_first: Duration::from_millis(2),
        backoff_max: Duration::from_millis(20),
        drain: Duration::from_secs(1),
    }
}

/// Where nobody listens, and nobody else will: an address of loopback that only this process uses.
async fn free_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let listener = TcpListener::bind((std::net::Ipv4Addr::new(127, 77, high, low), 0)).await.unwrap();
    listener.local_addr().unwrap()
}
