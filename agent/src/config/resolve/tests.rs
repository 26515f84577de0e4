use std::path::Path;

use clap::{Args as _, Command, FromArgMatches as _};

use super::*;
use crate::config::table::TABLE;

/// `flags`, `NAME=VALUE` lines, and a file.
fn given(flags: &str, variables: &str, file: &str) -> Result<Settings, String> {
    let command = AgentArgs::augment_args(Command::new("agent"));
    let words = std::iter::once("agent").chain(flags.split_whitespace());
    let matches = command.try_get_matches_from(words).map_err(|it| it.to_string())?;
    let args = AgentArgs::from_arg_matches(&matches).map_err(|it| it.to_string())?;
    let env = |name: &str| {
        let mut pairs = variables.lines().filter_map(|it| it.trim().split_once('='));
        pairs.find(|(it, _)| *it == name).map(|(_, value)| value.to_owned())
    };
    let file = File::parse(Path::new("t.yaml"), file).map_err(|it| it.to_string())?;
    let sources = Sources { args: &args, env: &env, file: Some(&file), hostname: "host", signal: None };
    resolve(&sources).map_err(|it| it.to_string())
}

fn endpoint_of(flags: &str, variables: &str, file: &str) -> String {
    given(flags, variables, file).unwrap().otlp.traces.unwrap().endpoint
}

fn check_error(flags: &str, variables: &str, file: &str, want: &str) {
    assert_eq!(given(flags, variables, file).unwrap_err(), want);
}

#[test]
fn defaults_are_those_of_the_table() {
    let settings = given("", "", "").unwrap();
    let want = Settings {
        socket: "/run/taskscope/agent.sock".into(),
        listen: None,
        otlp: Exports::default(),
        export_queue: 8192,
        metrics_interval: Duration::from_secs(10),
        xdp: XdpMode::Auto,
        tc: TcMode::Auto,
        interfaces: Vec::new(),
        selection: Selection::default(),
        http_spans: true,
        network_events: true,
        node: "host".into(),
        resource_attributes: Vec::new(),
        window: Duration::from_secs(300),
        kernel_log: false,
        log: "info".into(),
    };
    assert_eq!(settings, want);
}

#[test]
fn flag_beats_variable_beats_file_beats_otel() {
    let flag = "--otlp-endpoint http://flag";
    let ours = "TASKSCOPE_OTLP_ENDPOINT=http://variable";
    let file = "otlp_endpoint: http://file";
    let otel = "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel";
    let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://traces/v1/traces";
    let both = format!("{ours}\n{otel}\n{traces}");
    assert_eq!(endpoint_of(flag, &both, file), "http://flag");
    assert_eq!(endpoint_of("", &both, file), "http://variable");
    assert_eq!(endpoint_of("", &format!("{otel}\n{traces}"), file), "http://file");
    assert_eq!(endpoint_of("", &format!("{otel}\n{traces}"), ""), "http://traces/v1/traces");
    assert_eq!(endpoint_of("", otel, ""), "http://otel");
    assert_eq!(endpoint_of("", &format!("TASKSCOPE_OTLP_ENDPOINT=\n{otel}"), ""), "http://otel");
}

#[test]
fn every_way_says_the_same() {
    let flags = "--watch-exe /a/{b,c} --watch-exe /d --watch-pid 7 --no-http-spans --xdp off --tc clsact --node n
        --otlp-endpoint https://c:4318 --otlp-headers k=v --otlp-timeout 2s --otlp-compression none --window 1m
        --interface e0 --kernel-log --listen 127.0.0.1:1 --log debug --export-queue 5 --exclude-exe /x
        --watch-container ab --metrics-interval 3s --socket /s --otlp-ca /ca --otlp-client-key /k
        --otlp-client-certificate /cc --no-network-events";
    let variables = "TASKSCOPE_WATCH_EXE=/a/{b,c},/d\nTASKSCOPE_WATCH_PID=7\nTASKSCOPE_HTTP_SPANS=false
        TASKSCOPE_XDP=off\nTASKSCOPE_TC=clsact\nTASKSCOPE_NODE=n\nTASKSCOPE_OTLP_ENDPOINT=https://c:4318\nTASKSCOPE_OTLP_HEADERS=k=v
        TASKSCOPE_OTLP_TIMEOUT=2s\nTASKSCOPE_OTLP_COMPRESSION=none\nTASKSCOPE_WINDOW=1m
        TASKSCOPE_INTERFACE=e0\nTASKSCOPE_KERNEL_LOG=true\nTASKSCOPE_LISTEN=127.0.0.1:1\nTASKSCOPE_LOG=debug
        TASKSCOPE_EXPORT_QUEUE=5\nTASKSCOPE_EXCLUDE_EXE=/x\nTASKSCOPE_WATCH_CONTAINER=ab
        TASKSCOPE_METRICS_INTERVAL=3s\nTASKSCOPE_SOCKET=/s\nTASKSCOPE_OTLP_CA=/ca
        TASKSCOPE_OTLP_CLIENT_KEY=/k\nTASKSCOPE_OTLP_CLIENT_CERTIFICATE=/cc\nTASKSCOPE_NETWORK_EVENTS=false";
    let file = "watch_exe: ['/a/{b,c}', /d]\nwatch_pid: 7\nhttp_spans: false\nxdp: off\ntc: clsact\nnode: n
otlp_endpoint: https://c:4318\notlp_headers: {k: v}\notlp_timeout: 2s\notlp_compression: none\nwindow: 1m
interface: e0\nkernel_log: true\nlisten: 127.0.0.1:1\nlog: debug\nexport_queue: 5\nexclude_exe: /x
watch_container: ab\nmetrics_interval: 3s\nsocket: /s\notlp_ca: /ca\notlp_client_key: /k
otlp_client_certificate: /cc\nnetwork_events: false\n";
    for setting in TABLE.iter().filter(|it| it.key != Key::Config && it.key != Key::OtlpProtocol) {
        assert!(variables.contains(&format!("{}=", setting.variable())), "{}", setting.name);
    }
    let by_flags = given(flags, "", "").unwrap();
    assert_eq!(by_flags, given("", variables, "").unwrap());
    assert_eq!(by_flags, given("", "", file).unwrap());
    let otlp = by_flags.otlp.metrics.unwrap();
    assert_eq!(otlp.protocol, OtlpProtocol::HttpProtobuf, "the port says so");
    assert_eq!(by_flags.selection.watch_exe, ["/a/{b,c}", "/d"]);
    assert_eq!((by_flags.xdp, by_flags.tc), (XdpMode::Off, TcMode::Clsact));
    assert!(!by_flags.http_spans && by_flags.kernel_log && !by_flags.network_events);
}

#[test]
fn otel_variables_in_their_own_form() {
    let variables = "OTEL_EXPORTER_OTLP_ENDPOINT=https://c:4317/otlp\nOTEL_EXPORTER_OTLP_TIMEOUT=1500
        OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20x,b=c\nOTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
        OTEL_EXPORTER_OTLP_COMPRESSION=gzip\nOTEL_EXPORTER_OTLP_CERTIFICATE=/ca
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/cc\nOTEL_EXPORTER_OTLP_CLIENT_KEY=/k
        OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test";
    let settings = given("", variables, "").unwrap();
    let want = Otlp {
        endpoint: "https://c:4317/otlp/v1/traces".into(),
        protocol: OtlpProtocol::HttpProtobuf,
        headers: vec![("authorization".into(), "Bearer x".into()), ("b".into(), "c".into())],
        timeout: Duration::from_millis(1500),
        compression: Compression::Gzip,
        tls: Tls {
            ca: Some("/ca".into()),
            client: Some(ClientCertificate { certificate: "/cc".into(), key: "/k".into() }),
        },
    };
    assert_eq!(settings.otlp.traces.as_ref().unwrap(), &want);
    let metrics = Otlp { endpoint: "https://c:4317/otlp/v1/metrics".into(), ..want };
    let logs = Otlp { endpoint: "https://c:4317/otlp/v1/logs".into(), ..metrics.clone() };
    assert_eq!((settings.otlp.metrics.unwrap(), settings.otlp.logs.unwrap()), (metrics, logs));
    assert_eq!(settings.resource_attributes, [("deployment.environment.name".into(), "test".into())]);
}

/// `TRACES | METRICS | LOGS` as protocol and endpoint.
fn check_signals(flags: &str, variables: &str, want: &str) {
    let shown = |otlp: Option<Otlp>| match otlp {
        Some(Otlp { protocol: OtlpProtocol::Grpc, endpoint, .. }) => format!("grpc {endpoint}"),
        Some(Otlp { protocol: OtlpProtocol::HttpProtobuf, endpoint, .. }) => format!("http {endpoint}"),
        None => "nowhere".to_owned(),
    };
    let Exports { traces, metrics, logs } = given(flags, variables, "").unwrap().otlp;
    let got = [traces, metrics, logs].map(shown).join(" | ");
    assert_eq!(got, want, "{flags} {variables}");
}

#[test]
fn each_signal_goes_where_it_was_sent() {
    let otel =
        |lines: &[&str]| lines.iter().map(|it| format!("OTEL_EXPORTER_OTLP_{it}\n")).collect::<String>();
    check_signals("", &otel(&["TRACES_ENDPOINT=http://t/own"]), "http http://t/own | nowhere | nowhere");
    check_signals("", &otel(&["METRICS_ENDPOINT=http://m:4317"]), "nowhere | grpc http://m:4317 | nowhere");
    check_signals("", &otel(&["LOGS_ENDPOINT=http://l/own"]), "nowhere | nowhere | http http://l/own");
    check_signals(
        "",
        &otel(&["ENDPOINT=http://a:4317", "METRICS_ENDPOINT=http://m/api/v1/otlp"]),
        "grpc http://a:4317 | http http://m/api/v1/otlp | grpc http://a:4317",
    );
    check_signals(
        "",
        &otel(&["ENDPOINT=http://a", "TRACES_PROTOCOL=http/protobuf"]),
        "http http://a/v1/traces | grpc http://a | grpc http://a",
    );
    // As it is: nothing is added, nothing cut off.
    check_signals(
        "",
        &otel(&["METRICS_ENDPOINT=http://m:4318", "TRACES_ENDPOINT=http://t:4318/"]),
        "http http://t:4318/ | http http://m:4318 | nowhere",
    );
    // Ours is for all, and beats them.
    check_signals(
        "--otlp-endpoint http://f:4318",
        &otel(&["TRACES_ENDPOINT=http://t", "METRICS_ENDPOINT=http://m", "LOGS_ENDPOINT=http://l"]),
        "http http://f:4318/v1/traces | http http://f:4318/v1/metrics | http http://f:4318/v1/logs",
    );
}

#[test]
fn network_events_can_be_left_out() {
    check_signals(
        "--otlp-endpoint http://c --no-network-events",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://l",
        "grpc http://c | grpc http://c | nowhere",
    );
    let wrong = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=l";
    assert!(given("--no-network-events", wrong, "").is_err(), "a mistake is told all the same");
}

#[test]
fn the_endpoint_says_which_protocol_is_meant() {
    for (endpoint, want) in [
        ("http://c", "grpc http://c | grpc http://c | grpc http://c"),
        ("http://c:4317/", "grpc http://c:4317 | grpc http://c:4317 | grpc http://c:4317"),
        (
            "https://c/otlp",
            "http https://c/otlp/v1/traces | http https://c/otlp/v1/metrics | http https://c/otlp/v1/logs",
        ),
        ("http://c/v1/traces", "http http://c/v1/traces | http http://c/v1/metrics | http http://c/v1/logs"),
    ] {
        check_signals(&format!("--otlp-endpoint {endpoint}"), "", want);
    }
    check_error(
        "--otlp-endpoint https://c/otlp --otlp-protocol grpc",
        "",
        "",
        "--otlp-endpoint: `https://c/otlp` will not do: gRPC takes no path: leave it away, or set the \
         protocol http/protobuf",
    );
}

#[test]
fn certificates_want_tls() {
    check_error(
        "--otlp-endpoint http://c --otlp-ca /ca",
        "",
        "",
        "certificates are set, but http://c is no https://: use https://, or leave them away",
    );
    // Without an endpoint they stand in wait for one.
    assert!(given("--otlp-ca /ca", "", "").is_ok());
}

#[test]
fn a_bad_value_says_where_it_stands_and_what_would_do() {
    check_error(
        "--xdp naitve",
        "",
        "",
        "--xdp: `naitve` will not do: it must be one of auto, native, off; did you mean `native`?",
    );
    check_error(
        "",
        "TASKSCOPE_WINDOW=5",
        "",
        "TASKSCOPE_WINDOW: `5` will not do: a duration is a whole number with ms, s, m or h, such as 250ms or 5s",
    );
    check_error("", "", "\nwindow: 3h", "t.yaml:2: window: `3h` will not do: it must be from 10s to 3600s");
    check_error(
        "",
        "",
        "xdp: [auto, off]",
        "t.yaml:1: xdp: `auto, off` will not do: it takes one value, not 2",
    );
    check_error("--export-queue 0", "", "", "--export-queue: `0` will not do: it must be from 1 to 1000000");
    check_error(
        "",
        "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317",
        "",
        "OTEL_EXPORTER_OTLP_ENDPOINT: `collector:4317` will not do: a URL begins with http:// or https://, such as http://localhost:4317",
    );
}

#[test]
fn a_client_certificate_and_its_key_go_together() {
    let error = given("--otlp-client-certificate /c", "", "").unwrap_err();
    assert_eq!(error, "a client certificate is set, but no key: set --otlp-client-key too");
    let error = given("--otlp-client-key /k", "", "").unwrap_err();
    assert_eq!(error, "a client key is set, but no certificate: set --otlp-client-certificate too");
}

#[test]
fn a_secret_is_not_repeated() {
    let error = given("", "TASKSCOPE_OTLP_HEADERS=s3cret", "").unwrap_err();
    assert_eq!(error, "TASKSCOPE_OTLP_HEADERS: it must be NAME=VALUE");
    let settings = given("--otlp-endpoint http://c --otlp-headers token=s3cret", "", "").unwrap();
    let shown = format!("{settings:?}");
    assert!(shown.contains("token") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn clients_and_agent_find_the_same_socket() {
    for (typed, variable, want) in [
        (None, None, "/run/taskscope/agent.sock"),
        (None, Some(""), "/run/taskscope/agent.sock"),
        (None, Some("/v"), "/v"),
        (Some("/f"), Some("/v"), "/f"),
    ] {
        let env = |name: &str| variable.filter(|_| name == "TASKSCOPE_SOCKET").map(str::to_owned);
        assert_eq!(socket(typed, &env).unwrap(), Path::new(want), "{typed:?} {variable:?}");
        let flags = typed.map(|it| format!("--socket {it}")).unwrap_or_default();
        let variables = variable.map(|it| format!("TASKSCOPE_SOCKET={it}")).unwrap_or_default();
        assert_eq!(given(&flags, &variables, "").unwrap().socket, Path::new(want));
    }
    let error = socket(Some(" "), &|_| None).unwrap_err().to_string();
    assert_eq!(error, "--socket: ` ` will not do: it is empty");
}

#[test]
fn files_that_are_named_must_be_there() {
    let load_with = |name: &'static str, path: &'static str| {
        let env = move |it: &str| match it {
            "TASKSCOPE_OTLP_ENDPOINT" => Some("https://c".to_owned()),
            it if it == name => Some(path.to_owned()),
            _ => None,
        };
        load(&AgentArgs::default(), &env)
    };
    assert!(load_with("", "").is_ok());
    for name in ["TASKSCOPE_CONFIG", "TASKSCOPE_OTLP_CA"] {
        let error = load_with(name, "/nowhere/x").unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nowhere/x: "), "{error}");
    }
    let error = load_with("TASKSCOPE_OTLP_CA", "/dev/null").unwrap_err().to_string();
    assert_eq!(error, "/dev/null holds no certificate in PEM form");
}
