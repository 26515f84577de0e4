//! Flags that mean the same in every client command.

use std::{ffi::OsString, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::{
    ScreenKind,
    print::{Format, Headers, Paint, Style},
    proto::{By, Filter},
};
use crate::{
    config::{Default, Key},
    export,
};

const SELECTORS: &str = "Selectors";

/// How to reach the agent, how often, and how to print.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    #[arg(long, value_name = "PATH", help = socket_help())]
    pub(super) socket: Option<String>,

    /// Ask again and again, every two seconds or as often as said
    #[arg(
        short,
        long,
        value_name = "EVERY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = interval
    )]
    pub(super) watch: Option<Duration>,

    #[command(flatten)]
    pub(super) look: Look,
}

fn socket_help() -> String {
    let setting = Key::Socket.setting();
    let default = match setting.default {
        Default::Value(text) | Default::Unset(text) => text,
    };
    format!("The agent's socket [env: {}] [default: {default}]", setting.variable())
}

/// How tables look.
#[derive(Args, Clone, Debug)]
pub(crate) struct Look {
    /// No line with the names of the columns
    #[arg(long)]
    no_headers: bool,

    /// When to use colors; the variable NO_COLOR is obeyed
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    color: Color,

    #[arg(
        long,
        env = "NO_COLOR",
        hide = true,
        hide_env = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1"
    )]
    no_color: Option<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Look {
    pub(super) fn style(&self, format: Format, screen: ScreenKind) -> Style {
        let forbidden = self.no_color.as_ref().is_some_and(|it| !it.is_empty());
        let colors = match self.color {
            Color::Auto => screen == ScreenKind::Terminal && !forbidden,
            Color::Always => true,
            Color::Never => false,
        };
        Style {
            format,
            headers: if self.no_headers { Headers::Hidden } else { Headers::Shown },
            paint: if colors { Paint::Colors } else { Paint::Plain },
        }
    }
}

/// Which items.
#[derive(Args, Clone, Debug)]
pub(crate) struct Select {
    /// Only what was seen within this time, such as `90s` or `5m`; what it counted before is not cut off
    /// [default: all that the agent remembers]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = SELECTORS)]
    since: Option<Duration>,

    /// At most so many items
    #[arg(long, value_name = "N", help_heading = SELECTORS)]
    limit: Option<u64>,

    /// Only this process
    #[arg(long, value_name = "PID", help_heading = SELECTORS)]
    pid: Option<u32>,

    /// Only processes of this service
    #[arg(long, value_name = "NAME", help_heading = SELECTORS)]
    service: Option<String>,

    /// Only processes whose executable matches, such as `/srv/*`
    #[arg(long, value_name = "GLOB", help_heading = SELECTORS)]
    exe: Option<String>,

    /// Only processes in this container; the beginning of its id is enough
    #[arg(long, value_name = "ID", help_heading = SELECTORS)]
    container: Option<String>,

    /// Only processes of this pod, by name or uid
    #[arg(long, value_name = "POD", help_heading = SELECTORS)]
    pod: Option<String>,

    /// Only processes of this Kubernetes namespace
    #[arg(short, long, value_name = "NAME", help_heading = SELECTORS)]
    namespace: Option<String>,
}

impl Select {
    pub(super) fn filter(&self, sort: Option<&String>) -> Filter {
        let Self { since, limit, pid, service, exe, container, pod, namespace } = self.clone();
        Filter {
            pid,
            service,
            exe,
            container,
            pod,
            namespace,
            since_ns: since.map(nanos),
            limit,
            sort: sort.cloned(),
            ..Filter::default()
        }
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `5m`, `1.5s`, `250ms`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    let positive = parsed.and_then(|it| Duration::try_from(it).ok());
    positive.ok_or_else(|| "write it like `250ms`, `2s` or `5m`".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        it if it < Duration::from_millis(100) => Err("at least `100ms`".to_owned()),
        it => Ok(it),
    }
}

/// Takes the names of `columns`.
pub(super) fn names<F>(columns: &[(&'static str, F)]) -> PossibleValuesParser {
    PossibleValuesParser::new(columns.iter().map(|(name, _)| *name))
}

/// Takes kinds of causes.
pub(super) fn causes() -> PossibleValuesParser {
    PossibleValuesParser::new(export::CAUSES.iter().copied())
}

/// Takes what ends of edges may stand for.
pub(super) fn bys() -> impl TypedValueParser<Value = By> {
    PossibleValuesParser::new(["process", "service", "workload"]).map(|name| match name.as_str() {
        "service" => By::Service,
        "workload" => By::Workload,
        _ => By::Process,
    })
}

/// Takes the names of some formats.
pub(super) fn formats(names: &'static [&'static str]) -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(names).map(|name| match name.as_str() {
        "wide" => Format::Wide,
        "json" => Format::Json,
        "dot" => Format::Dot,
        "mermaid" => Format::Mermaid,
        "tree" => Format::Tree,
        _ => Format::Table,
    })
}
