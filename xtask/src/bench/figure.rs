//! A number that has to be small, or large, enough.

use serde_json::{Value, json};

use super::stats::Summary;

pub(super) struct Figure {
    name: String,
    unit: &'static str,
    /// One of each round.
    values: Vec<f64>,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
    /// Said for the reader, who would like to know it beside the others.
    Nothing,
}

impl Figure {
    pub(super) fn at_most(name: impl Into<String>, unit: &'static str, values: Vec<f64>, limit: f64) -> Self {
        Self { name: name.into(), unit, values, limit: Limit::AtMost(limit) }
    }

    pub(super) fn at_least(
        name: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
        limit: f64,
    ) -> Self {
        Self { name: name.into(), unit, values, limit: Limit::AtLeast(limit) }
    }

    pub(super) fn of_interest(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit, values, limit: Limit::Nothing }
    }

    /// The median decides. What was not measured is not met.
    fn verdict(&self) -> &'static str {
        let Summary { median, .. } = Summary::of(&self.values);
        let is_met = match self.limit {
            Limit::AtMost(limit) => median <= limit,
            Limit::AtLeast(limit) => limit <= median,
            Limit::Nothing => return "",
        };
        if is_met { "met" } else { "**not met**" }
    }

    /// A row for the table of figures.
    pub(super) fn row(&self, scenario: &str) -> String {
        let Self { name, unit, .. } = self;
        let Summary { median, spread } = Summary::of(&self.values);
        let limit = match self.limit {
            Limit::AtMost(limit) => format!("≤ {limit}"),
            Limit::AtLeast(limit) => format!("≥ {limit}"),
            Limit::Nothing => String::new(),
        };
        let n_rounds = self.values.len();
        let verdict = self.verdict();
        format!(
            "| {scenario} | {name}, {unit} | {n_rounds} | {median:.3} ± {spread:.3} | {limit} | {verdict} |\n"
        )
    }

    pub(super) fn json(&self) -> Value {
        let Summary { median, spread } = Summary::of(&self.values);
        let (at_most, at_least) = match self.limit {
            Limit::AtMost(limit) => (Some(limit), None),
            Limit::AtLeast(limit) => (None, Some(limit)),
            Limit::Nothing => (None, None),
        };
        json!({
            "name": self.name, "unit": self.unit, "values": self.values, "median": median,
            "spread": spread, "at_most": at_most, "at_least": at_least,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_meets_the_limit_or_not() {
        check(&Figure::at_most("x", "us", vec![1.0, 3.0, 9.0], 3.0), "met");
        check(&Figure::at_most("x", "us", vec![1.0, 3.1, 9.0], 3.0), "**not met**");
        check(&Figure::at_least("x", "ratio", vec![0.5, 0.9, 0.99], 0.9), "met");
        check(&Figure::at_least("x", "ratio", vec![0.5, 0.89, 0.99], 0.9), "**not met**");
        check(&Figure::at_most("x", "us", Vec::new(), 3.0), "**not met**");
        check(&Figure::of_interest("x", "us", vec![1.0]), "");
    }

    #[test]
    fn a_row_says_what_was_asked_and_seen() {
        let figure = Figure::at_most("added CPU", "us", vec![2.0, 2.5, 2.25], 3.0);
        assert_eq!(figure.row("http"), "| http | added CPU, us | 3 | 2.250 ± 0.250 | ≤ 3 | met |\n");
        assert_eq!(figure.json()["at_most"], 3.0);
        assert_eq!(figure.json()["at_least"], Value::Null);
    }

    #[track_caller]
    fn check(figure: &Figure, want: &str) {
        assert_eq!(figure.verdict(), want);
    }
}
