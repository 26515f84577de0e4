//! What the rounds showed, for people and for programs.

use serde_json::json;

use super::{
    Measures,
    stats::{self, Summary},
};

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) off: Vec<Measures>,
    pub(super) on: Vec<Measures>,
}

impl Row {
    fn cpu(&self) -> [Vec<f64>; 2] {
        [&self.off, &self.on].map(|it| it.iter().map(|it| it.target_cpu_us_per_request).collect())
    }

    fn throughput(&self) -> [Vec<f64>; 2] {
        [&self.off, &self.on].map(|it| it.iter().map(|it| it.throughput).collect())
    }

    pub(super) fn to_json(&self) -> String {
        let ([cpu_off, cpu_on], [rate_off, rate_on]) = (self.cpu(), self.throughput());
        let summary = |it: Summary| json!({"median": it.median, "spread": it.spread});
        let value = json!({
            "scenario": self.name,
            "target_cpu_us_per_request": {
                "off": cpu_off,
                "on": cpu_on,
                "ratio": summary(stats::paired_ratio(&cpu_on, &cpu_off)),
                "added": summary(stats::paired_difference(&cpu_on, &cpu_off)),
            },
            "requests_per_second": {
                "off": rate_off,
                "on": rate_on,
                "ratio": summary(stats::paired_ratio(&rate_on, &rate_off)),
            },
        });
        format!("{value:#}\n")
    }
}

/// In the form of docs/performance.md.
pub(super) fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| scenario | rounds | CPU off, us/request | CPU on | added, us | ratio | rate off, /s | rate on | ratio |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let ([cpu_off, cpu_on], [rate_off, rate_on]) = (row.cpu(), row.throughput());
        let cells = [
            row.name.to_owned(),
            row.off.len().to_string(),
            cell(Summary::of(&cpu_off), 1),
            cell(Summary::of(&cpu_on), 1),
            cell(stats::paired_difference(&cpu_on, &cpu_off), 1),
            cell(stats::paired_ratio(&cpu_on, &cpu_off), 3),
            cell(Summary::of(&rate_off), 0),
            cell(Summary::of(&rate_on), 0),
            cell(stats::paired_ratio(&rate_on, &rate_off), 3),
        ];
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

fn cell(Summary { median, spread }: Summary, n_digits: usize) -> String {
    format!("{median:.n_digits$} ± {spread:.n_digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let round = |cpu, rate| Measures { target_cpu_us_per_request: cpu, throughput: rate };
        Row {
            name: "http",
            off: vec![round(20.0, 1000.0), round(22.0, 900.0), round(20.0, 1000.0)],
            on: vec![round(22.0, 950.0), round(24.2, 855.0), round(22.0, 950.0)],
        }
    }

    #[test]
    fn a_row_has_medians_and_ratios() {
        let table = table(&[row()]);
        let last = table.lines().last().unwrap();
        let want = "| http | 3 | 20.0 ± 0.0 | 22.0 ± 0.0 | 2.0 ± 0.0 | 1.100 ± 0.000 | 1000 ± 0 | 950 ± 0 | 0.950 ± 0.000 |";
        assert_eq!(last, want);
        let n_columns: Vec<_> = table.lines().map(|it| it.matches('|').count()).collect();
        assert_eq!(n_columns, [10, 10, 10]);
    }

    #[test]
    fn every_round_is_in_the_file() {
        let value: serde_json::Value = serde_json::from_str(&row().to_json()).unwrap();
        assert_eq!(value["target_cpu_us_per_request"]["on"], json!([22.0, 24.2, 22.0]));
        assert_eq!(value["requests_per_second"]["off"][1], json!(900.0));
        assert_eq!(value["scenario"], "http");
    }
}
