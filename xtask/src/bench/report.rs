//! What the rounds showed, for people and for programs.

use serde_json::{Value, json};

use super::{
    Outcome,
    figure::Figure,
    pairs::Pairs,
    stats::{self, Summary},
};

pub(super) fn json(scenario: &str, outcome: &Outcome) -> String {
    let figures: Vec<_> = outcome.figures.iter().map(Figure::json).collect();
    let pairs = outcome.pairs.as_ref().map(pairs_json);
    format!("{:#}\n", json!({"scenario": scenario, "pairs": pairs, "figures": figures}))
}

fn pairs_json(pairs: &Pairs) -> Value {
    let ([cpu_off, cpu_on], [rate_off, rate_on]) = (pairs.cpu(), pairs.rate());
    let summary = |it: &[f64]| {
        let Summary { median, spread } = Summary::of(it);
        json!({"median": median, "spread": spread})
    };
    json!({
        "unit": pairs.unit,
        "target_cpu_us_per_unit": {
            "off": cpu_off,
            "on": cpu_on,
            "ratio": summary(&stats::ratios(&cpu_on, &cpu_off)),
            "added": summary(&stats::differences(&cpu_on, &cpu_off)),
        },
        "units_per_second": {
            "off": rate_off,
            "on": rate_on,
            "ratio": summary(&stats::ratios(&rate_on, &rate_off)),
        },
    })
}

/// In the form of docs/performance.md.
pub(super) fn tables(outcomes: &[(&str, Outcome)]) -> String {
    let mut pairs = String::new();
    let mut figures = String::new();
    for (name, outcome) in outcomes {
        pairs.extend(outcome.pairs.iter().map(|it| row(name, it)));
        figures.extend(outcome.figures.iter().map(|it| it.row(name)));
    }
    if !pairs.is_empty() {
        pairs.insert_str(
            0,
            "| scenario | unit | rounds | CPU off, us/unit | CPU on | added, us | ratio | rate off, units/s | rate on | ratio |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        pairs.push('\n');
    }
    let head = "| scenario | figure | rounds | median ± spread | must be | |\n|---|---|---|---|---|---|\n";
    format!("{pairs}{head}{figures}")
}

fn row(name: &str, pairs: &Pairs) -> String {
    let ([cpu_off, cpu_on], [rate_off, rate_on]) = (pairs.cpu(), pairs.rate());
    let cells = [
        name.to_owned(),
        pairs.unit.to_owned(),
        pairs.off.len().to_string(),
        cell(&cpu_off, 1),
        cell(&cpu_on, 1),
        cell(&stats::differences(&cpu_on, &cpu_off), 1),
        cell(&stats::ratios(&cpu_on, &cpu_off), 3),
        cell(&rate_off, 0),
        cell(&rate_on, 0),
        cell(&stats::ratios(&rate_on, &rate_off), 3),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn cell(values: &[f64], n_digits: usize) -> String {
    let Summary { median, spread } = Summary::of(values);
    format!("{median:.n_digits$} ± {spread:.n_digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::pairs::Measures;

    fn outcome() -> Outcome {
        let round = |cpu, rate| Measures { target_cpu_us_per_unit: cpu, units_per_second: rate };
        let pairs = Pairs {
            unit: "request",
            off: vec![round(20.0, 1000.0), round(22.0, 900.0), round(20.0, 1000.0)],
            on: vec![round(22.0, 950.0), round(24.2, 855.0), round(22.0, 950.0)],
        };
        let figures = vec![pairs.added_cpu("CPU", 3.0), pairs.rate_ratio("rate", 0.96)];
        Outcome { pairs: Some(pairs), figures }
    }

    #[test]
    fn a_row_has_medians_and_ratios() {
        let tables = tables(&[("http", outcome())]);
        let lines: Vec<_> = tables.lines().collect();
        let want = "| http | request | 3 | 20.0 ± 0.0 | 22.0 ± 0.0 | 2.0 ± 0.0 | 1.100 ± 0.000 | 1000 ± 0 | 950 ± 0 | 0.950 ± 0.000 |";
        assert_eq!(lines[2], want);
        assert_eq!(lines[6], "| http | CPU, us | 3 | 2.000 ± 0.000 | ≤ 3 | met |");
        assert_eq!(lines[7], "| http | rate, of the rate | 3 | 0.950 ± 0.000 | ≥ 0.96 | **not met** |");
        let n_columns: Vec<_> = tables.lines().map(|it| it.matches('|').count()).collect();
        assert_eq!(n_columns, [11, 11, 11, 0, 7, 7, 7, 7]);
    }

    #[test]
    fn every_round_is_in_the_file() {
        let value: Value = serde_json::from_str(&json("http", &outcome())).unwrap();
        assert_eq!(value["pairs"]["target_cpu_us_per_unit"]["on"], json!([22.0, 24.2, 22.0]));
        assert_eq!(value["pairs"]["units_per_second"]["off"][1], json!(900.0));
        assert_eq!(value["figures"][0]["values"].as_array().map(Vec::len), Some(3));
        assert_eq!(value["scenario"], "http");
    }
}
