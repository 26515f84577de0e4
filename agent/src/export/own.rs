//! The agent's own telemetry: every vital, the kernel half's losses, CPU and memory, through the SDK.
//!
//! Apart from the exporter of spans and edges on purpose: when that one is stuck, this one says so.

use std::{sync::Arc, thread, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{Meter, MeterProvider as _},
};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    metrics::{SdkMeterProvider, Temporality, periodic_reader_with_async_runtime::PeriodicReader},
    runtime,
};
use tokio::{sync::oneshot, time::timeout};

use super::{
    ExportError, Node,
    otlp::resource::agent_texts,
    semconv,
    sender::{grpc, http},
};
use crate::{
    clock,
    config::settings::{Compression, Otlp, OtlpProtocol},
    vitals::{Kind, Part, Vital, Vitals},
};

/// Reads and sends in the background until [`Own::shutdown`].
pub struct Own {
    provider: SdkMeterProvider,
}

impl Own {
    /// `settings` are those of metrics. Needs a multi-threaded tokio runtime.
    pub fn start(
        settings: &Otlp,
        node: &Node,
        vitals: &Arc<Vitals>,
        interval: Duration,
    ) -> Result<Self, ExportError> {
        let reader = PeriodicReader::builder(exporter(settings)?, runtime::Tokio)
            .with_interval(interval)
            .with_timeout(settings.timeout)
            .build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource(node)).build();
        let meter = provider.meter(semconv::SCOPE);
        observe_vitals(&meter, vitals);
        observe_losses(&meter, vitals);
        observe_beats(&meter, vitals);
        observe_process(&meter);
        Ok(Self { provider })
    }

    /// Sends the last values, or gives up after `within`.
    pub async fn shutdown(self, within: Duration) -> Result<(), ExportError> {
        let (done, answer) = oneshot::channel();
        // The SDK blocks. A thread of the runtime's pool would hold up the end of the runtime.
        thread::spawn(move || drop(done.send(self.provider.shutdown())));
        let result = match timeout(within, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(OTelSdkError::Timeout(within)),
        };
        result.map_err(|source| ExportError::OwnShutdown { source: Box::new(source) })
    }
}

fn exporter(settings: &Otlp) -> Result<MetricExporter, ExportError> {
    let compression = match settings.compression {
        Compression::Zstd => Some(opentelemetry_otlp::Compression::Zstd),
        Compression::Gzip => Some(opentelemetry_otlp::Compression::Gzip),
        Compression::None => None,
    };
    let builder = MetricExporter::builder().with_temporality(Temporality::Cumulative);
    let built = match settings.protocol {
        OtlpProtocol::Grpc => {
            let mut builder = builder
                .with_tonic()
                .with_endpoint(&settings.endpoint)
                .with_timeout(settings.timeout)
                .with_channel(grpc::channel(settings)?)
                .with_metadata(grpc::metadata(&settings.headers)?);
            if let Some(compression) = compression {
                builder = builder.with_compression(compression);
            }
            builder.build()
        }
        OtlpProtocol::HttpProtobuf => {
            // Headers are the client's.
            let mut builder = builder
                .with_http()
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_endpoint(&settings.endpoint)
                .with_timeout(settings.timeout)
                .with_http_client(http::client(settings)?);
            if let Some(compression) = compression {
                builder = builder.with_compression(compression);
            }
            builder.build()
        }
    };
    built.map_err(|source| ExportError::OwnExporter { source: Box::new(source) })
}

fn resource(node: &Node) -> Resource {
    let ours = agent_texts(node).into_iter().map(|(key, value)| KeyValue::new(key, value));
    let theirs = node.attributes.iter().cloned().map(|(key, value)| KeyValue::new(key, value));
    Resource::builder_empty()
        .with_attributes(ours)
        .with_attribute(KeyValue::new(semconv::PROCESS_PID, i64::from(node.pid)))
        .with_attributes(theirs)
        .build()
}

fn observe_vitals(meter: &Meter, vitals: &Arc<Vitals>) {
    for &vital in Vital::ALL {
        let vitals = Arc::clone(vitals);
        match vital.kind() {
            Kind::Total(name) => {
                let name = format!("{}{name}", semconv::OWN_PREFIX);
                meter
                    .u64_observable_counter(name)
                    .with_description(vital.doc().trim())
                    .with_callback(move |it| it.observe(vitals.get(vital), &[]))
                    .build();
            }
            Kind::Level(name) => {
                let name = format!("{}{name}", semconv::OWN_PREFIX);
                meter
                    .u64_observable_gauge(name)
                    .with_description(vital.doc().trim())
                    .with_callback(move |it| it.observe(vitals.get(vital), &[]))
                    .build();
            }
            // All in one metric, by reason.
            Kind::Lost(_) => {}
        }
    }
}

fn observe_losses(meter: &Meter, vitals: &Arc<Vitals>) {
    let of = Arc::clone(vitals);
    meter
        .u64_observable_counter(semconv::OWN_LOST)
        .with_description("What was made and not delivered, by reason.")
        .with_callback(move |it| {
            for (reason, n) in of.lost() {
                it.observe(n, &[KeyValue::new(semconv::OWN_LOST_REASON, reason)]);
            }
        })
        .build();
    let of = Arc::clone(vitals);
    meter
        .u64_observable_counter(semconv::OWN_KERNEL_EVENTS)
        .with_description("Records that the kernel half put into the ring.")
        .with_callback(move |it| it.observe(of.kernel(agent_common::counter::EVENTS_SUBMITTED), &[]))
        .build();
}

fn observe_beats(meter: &Meter, vitals: &Arc<Vitals>) {
    let of = Arc::clone(vitals);
    meter
        .f64_observable_gauge(semconv::OWN_BEAT_AGE)
        .with_unit("s")
        .with_description("Time since a part of the agent gave a sign of life.")
        .with_callback(move |it| {
            let now = clock::now();
            for part in Part::ALL {
                if let Some(beat) = of.last_beat(*part) {
                    let component = KeyValue::new(semconv::OWN_COMPONENT, part.name());
                    it.observe(now.since(beat).as_secs_f64(), &[component]);
                }
            }
        })
        .build();
    let of = Arc::clone(vitals);
    meter
        .f64_observable_gauge(semconv::OWN_UPTIME)
        .with_unit("s")
        .with_description("Time since the agent started.")
        .with_callback(move |it| it.observe(of.uptime().as_secs_f64(), &[]))
        .build();
}

fn observe_process(meter: &Meter) {
    meter
        .f64_observable_counter(semconv::PROCESS_CPU_TIME)
        .with_unit("s")
        .with_description("CPU time of the agent.")
        .with_callback(|it| it.observe(clock::cpu_time().as_secs_f64(), &[]))
        .build();
    meter
        .i64_observable_up_down_counter(semconv::PROCESS_MEMORY_USAGE)
        .with_unit("By")
        .with_description("Resident memory of the agent.")
        .with_callback(|it| {
            if let Some(bytes) = resident_bytes() {
                it.observe(bytes, &[]);
            }
        })
        .build();
}

fn resident_bytes() -> Option<i64> {
    let pages = procfs::process::Process::myself().ok()?.statm().ok()?.resident;
    i64::try_from(pages.saturating_mul(procfs::page_size())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::settings::Signal,
        export::testing::{
            self,
            collector::{Collector, Received, settings_of},
        },
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_agent_reports_itself() {
        for (protocol, compression, encoding) in [
            (OtlpProtocol::Grpc, Compression::Zstd, Some("zstd")),
            (OtlpProtocol::HttpProtobuf, Compression::Zstd, Some("zstd")),
            (OtlpProtocol::Grpc, Compression::Gzip, Some("gzip")),
            (OtlpProtocol::HttpProtobuf, Compression::Gzip, Some("gzip")),
        ] {
            let mut collector = Collector::start(protocol, &[]).await;
            let mut settings = settings_of(Signal::Metrics, collector.address, protocol);
            settings.compression = compression;
            settings.headers = vec![("x-scope-orgid".to_owned(), "shop".to_owned())];
            let vitals = Arc::new(Vitals::new());
            vitals.add(Vital::SpansQueueFull, 3);
            vitals.beat(Part::SpanExport);
            let hour = Duration::from_secs(3600);
            let own = Own::start(&settings, &testing::node(), &vitals, hour).unwrap();
            own.shutdown(Duration::from_secs(10)).await.unwrap();

            let Received::Metrics(request, envelope) = collector.next().await else { unreachable!() };
            assert_eq!((envelope.encoding.as_deref(), envelope.tenant.as_deref()), (encoding, Some("shop")));
            let resource = &request.resource_metrics[0];
            let attributes = testing::attributes(&resource.resource.as_ref().unwrap().attributes);
            assert!(attributes.contains("service.name=taskscope"), "{attributes}");
            let metrics = &resource.scope_metrics[0].metrics;
            let names: Vec<_> = metrics.iter().map(|it| it.name.as_str()).collect();
            let want = [
                "taskscope.spans_made",
                "taskscope.spans_queued",
                "taskscope.lost",
                "taskscope.kernel.events",
                "taskscope.component.beat_age",
                "taskscope.uptime",
                "process.cpu.time",
                "process.memory.usage",
            ];
            for name in want {
                assert!(names.contains(&name), "{name} is not in {names:?}");
            }
            let lost = format!("{:?}", metrics.iter().find(|it| it.name == semconv::OWN_LOST));
            assert!(lost.contains("export_queue_full") && lost.contains("AsInt(3)"), "{lost}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dead_collector_does_not_hold_up_the_end() {
        let address = "127.0.0.1:1".parse().unwrap();
        let mut settings = settings_of(Signal::Metrics, address, OtlpProtocol::Grpc);
        settings.timeout = Duration::from_secs(3600);
        let vitals = Arc::new(Vitals::new());
        let own = Own::start(&settings, &testing::node(), &vitals, settings.timeout).unwrap();
        let error = own.shutdown(Duration::from_millis(1)).await.map_err(|it| it.to_string());
        assert_eq!(error.unwrap_err(), "cannot flush the agent's own telemetry");
    }
}
