//! Who a span or a metric is about.

use opentelemetry_proto::tonic::{common::v1::KeyValue, resource::v1::Resource};

use super::attribute::{int, text};
use crate::{
    export::{node::Node, semconv},
    targets::process::{Process, Runtime},
};

/// A watched process. What its owner wrote into `OTEL_RESOURCE_ATTRIBUTES` beats what we found out.
pub(in crate::export) fn process(process: &Process, node: &Node) -> Resource {
    let mut ours = vec![
        text(semconv::SERVICE_NAME, &process.service.name),
        text(semconv::SERVICE_INSTANCE_ID, instance_id(process, node)),
        int(semconv::PROCESS_PID, process.tgid.0),
        text(semconv::PROCESS_EXECUTABLE_NAME, process.exe_name()),
        text(semconv::HOST_NAME, &node.name),
        text(semconv::TELEMETRY_DISTRO_NAME, semconv::SCOPE),
        text(semconv::TELEMETRY_DISTRO_VERSION, node.version),
    ];
    if let Runtime::Go(version) = &process.runtime {
        ours.push(text(semconv::TELEMETRY_SDK_LANGUAGE, "go"));
        ours.push(text(semconv::PROCESS_RUNTIME_NAME, "go"));
        ours.push(text(semconv::PROCESS_RUNTIME_VERSION, version));
    }
    if let Some(container_id) = &process.container_id {
        ours.push(text(semconv::CONTAINER_ID, container_id));
    }
    if let Some(pod_uid) = &process.pod_uid {
        ours.push(text(semconv::K8S_POD_UID, pod_uid));
        ours.push(text(semconv::K8S_NODE_NAME, &node.name));
    }
    merge(ours, &process.attributes)
}

/// The agent.
pub(in crate::export) fn agent(node: &Node) -> Resource {
    let ours = agent_texts(node)
        .into_iter()
        .map(|(key, value)| text(key, value))
        .chain([int(semconv::PROCESS_PID, node.pid)])
        .collect();
    merge(ours, &node.attributes)
}

/// What the agent says about itself, whichever way it is sent.
pub(in crate::export) fn agent_texts(node: &Node) -> [(&'static str, String); 4] {
    [
        (semconv::SERVICE_NAME, semconv::SCOPE.to_owned()),
        (semconv::SERVICE_VERSION, node.version.to_owned()),
        (semconv::SERVICE_INSTANCE_ID, format!("{}:{}", node.name, node.pid)),
        (semconv::HOST_NAME, node.name.clone()),
    ]
}

/// The same after a restart of the agent or a step of the clock, another one after a restart of the process.
fn instance_id(process: &Process, node: &Node) -> String {
    let Node { name, boot_id, .. } = node;
    match process.identity() {
        (tgid, Some(ticks)) => format!("{name}:{}:{boot_id}-{ticks}", tgid.0),
        // It was gone before it could be read: no agent sees it again.
        (tgid, None) => format!("{name}:{}:{}", tgid.0, process.started.0 / 1_000_000),
    }
}

fn merge(mut ours: Vec<KeyValue>, theirs: &[(String, String)]) -> Resource {
    ours.retain(|it| theirs.iter().all(|(key, _)| *key != it.key));
    ours.extend(theirs.iter().map(|(key, value)| text(key, value)));
    Resource { attributes: ours, ..Resource::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing;

    #[test]
    fn a_go_process_in_a_pod() {
        let mut it = testing::process("cart", 42);
        it.container_id = Some("c0ffee".to_owned());
        it.pod_uid = Some("p-1".to_owned());
        it.runtime = Runtime::Go("go1.26.8".to_owned());
        let want = "service.name=cart service.instance.id=node-1:42:b0071d-4711 process.pid=42 \
                    process.executable.name=cart host.name=node-1 telemetry.distro.name=taskscope \
                    telemetry.distro.version=1.2.3 telemetry.sdk.language=go process.runtime.name=go \
                    process.runtime.version=go1.26.8 container.id=c0ffee k8s.pod.uid=p-1 k8s.node.name=node-1";
        assert_eq!(testing::attributes(&process(&it, &testing::node()).attributes), want);
    }

    #[test]
    fn what_the_owner_wrote_wins() {
        let mut it = testing::process("cart", 42);
        it.attributes = vec![
            ("service.instance.id".to_owned(), "mine".to_owned()),
            ("team".to_owned(), "shop".to_owned()),
        ];
        let got = testing::attributes(&process(&it, &testing::node()).attributes);
        assert_eq!(got.matches("service.instance.id=").count(), 1, "{got}");
        assert!(got.ends_with("service.instance.id=mine team=shop"), "{got}");
    }

    #[test]
    fn the_agent_itself() {
        let want = "service.name=taskscope service.version=1.2.3 service.instance.id=node-1:7 \
                    host.name=node-1 process.pid=7";
        assert_eq!(testing::attributes(&agent(&testing::node()).attributes), want);
    }
}
