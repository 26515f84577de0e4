//! Answers as text for people, or as JSON for programs. One file for each command.

mod bars;
pub mod doctor;
mod edge;
mod faults;
mod findings;
mod graph;
pub(super) mod live;
#[cfg(test)]
mod samples;
mod status;
mod table;
mod targets;
mod topology;
mod traces;
mod tree;
mod units;

use std::io::{self, Write};

pub(super) use self::table::commands;
use serde::Serialize;

use super::{
    proto::{Head, Target},
    topology::Edge,
};

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Wide,
    Json,
    Dot,
    Mermaid,
    Tree,
}

/// How a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub format: Format,
    pub headers: Headers,
    pub paint: Paint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    Shown,
    Hidden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Colors,
    Plain,
}

/// An answer that can be shown.
pub(crate) trait Show {
    fn n_items(&self) -> usize;

    /// Any format but JSON.
    fn text(&self, style: &Style, out: &mut dyn Write) -> io::Result<()>;

    /// One line.
    fn json(&self) -> serde_json::Result<String>;
}

/// The parts of [`Show`] that are the same for every answer.
macro_rules! show {
    ($answer:ty, $text:path) => {
        impl $crate::query::print::Show for $answer {
            fn n_items(&self) -> usize {
                self.items.len()
            }

            fn text(
                &self,
                style: &$crate::query::print::Style,
                out: &mut dyn std::io::Write,
            ) -> std::io::Result<()> {
                $text(self, style, out)
            }

            fn json(&self) -> serde_json::Result<String> {
                $crate::query::print::json(self)
            }
        }
    };
}
use show;

fn json(answer: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(answer)
}

/// The time at which an answer was true.
fn time(head: Option<&Head>) -> u64 {
    head.map_or(0, |it| it.time)
}

fn server_name(edge: &Edge<'_>) -> String {
    units::socket(edge.server_name, edge.server.port)
}

fn target_name(target: Option<&Target>) -> String {
    target.map_or_else(|| units::UNKNOWN.to_owned(), |it| it.service.clone())
}
