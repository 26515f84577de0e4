//! The table of settings in the README.

use super::{
    otel,
    table::{Default, Setting, Shape, TABLE},
};

/// One row for each setting. `xtask tidy` compares it with the README.
#[must_use]
pub fn settings_table() -> String {
    let mut table = String::from(
        "| flag | environment | YAML key | default | what it does | what it costs |\n|---|---|---|---|---|---|\n",
    );
    let rows = TABLE.iter().map(row).chain(foreign());
    for cells in rows {
        let cells = cells.map(|it| it.replace('|', "\\|"));
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

fn row(setting: &Setting) -> [String; 6] {
    let flag = match setting.shape {
        Shape::One | Shape::List => format!("`{} {}`", setting.flag(), setting.value),
        Shape::Switch => format!("`{0}`, `{1}`", setting.flag(), setting.flag().replacen("--", "--no-", 1)),
    };
    let otel = setting.otel.map(|word| format!(", `OTEL_EXPORTER_OTLP_{{,TRACES_,METRICS_,LOGS_}}{word}`"));
    let default = match setting.default {
        Default::Value(text) => format!("`{text}`"),
        Default::Unset(text) => text.to_owned(),
    };
    [
        flag,
        format!("`{}`{}", setting.variable(), otel.unwrap_or_default()),
        if setting.in_file() { format!("`{}`", setting.name) } else { "–".to_owned() },
        default,
        setting.about.to_owned(),
        setting.cost.to_owned(),
    ]
}

/// Variables that no flag stands for.
fn foreign() -> [[String; 6]; 2] {
    let row = |variable: &str, default: &str, about: &str| {
        [
            "–".to_owned(),
            format!("`{variable}`"),
            "–".to_owned(),
            default.to_owned(),
            about.to_owned(),
            "nothing".to_owned(),
        ]
    };
    [
        row(otel::RESOURCE_ATTRIBUTES, "none", "Attributes of the agent's own telemetry"),
        row(otel::SERVICE_NAME, "taskscope", "Service name of the agent's own telemetry"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_a_row_of_six_cells() {
        let table = settings_table();
        assert_eq!(table.lines().count(), 2 + TABLE.len() + 2);
        for line in table.lines() {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 7, "{line}");
        }
        let xdp = table.lines().find(|it| it.contains("`xdp`")).unwrap();
        assert!(
            xdp.starts_with("| `--xdp auto\\|native\\|off` | `TASKSCOPE_XDP` | `xdp` | `auto` |"),
            "{xdp}"
        );
    }
}
