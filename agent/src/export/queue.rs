//! Spans that wait for export: bounded, the oldest go first when there is no room.

use std::{collections::VecDeque, sync::Arc};

use crate::assemble::span::Span;

#[derive(Debug)]
pub(super) struct Queue {
    spans: VecDeque<Arc<Span>>,
    capacity: usize,
}

impl Queue {
    /// Room for at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { spans: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// How many had to go.
    #[must_use]
    pub(super) fn push(&mut self, spans: impl IntoIterator<Item = Arc<Span>>) -> u64 {
        let mut gone = 0;
        for span in spans {
            if self.capacity <= self.spans.len() {
                self.spans.pop_front();
                gone += 1;
            }
            self.spans.push_back(span);
        }
        gone
    }

    /// The oldest, at most `n`.
    pub(super) fn take(&mut self, n: usize) -> Vec<Arc<Span>> {
        let n = n.min(self.spans.len());
        self.spans.drain(..n).collect()
    }

    /// Puts back what [`Queue::take`] gave and did not fit into one request. Nothing may be pushed in
    /// between.
    pub(super) fn untake(&mut self, spans: Vec<Arc<Span>>) {
        for span in spans.into_iter().rev() {
            self.spans.push_front(span);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing;

    #[test]
    fn first_in_first_out() {
        check("push 1; push 2; push 3; take 2; take 2", "gone 0, took 1 2, took 3, left");
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        check("push 1; push 2; push 3; push 4; push 5; take 9", "gone 2, took 3 4 5, left");
    }

    #[test]
    fn what_did_not_fit_comes_first_again() {
        check("push 1; push 2; push 3; take 2; untake; take 1", "gone 0, took 1 2, took 1, left 2 3");
    }

    #[test]
    fn nothing_is_taken_of_nothing() {
        check("take 5", "gone 0, took, left");
    }

    #[test]
    fn no_room_is_room_for_one() {
        let mut queue = Queue::new(0);
        assert_eq!(queue.push([testing::span(1), testing::span(2)]), 1);
        assert_eq!(queue.len(), 1);
    }

    #[track_caller]
    fn check(script: &str, want: &str) {
        let mut queue = Queue::new(3);
        let (mut gone, mut took, mut text) = (0, Vec::new(), String::new());
        for step in script.split("; ") {
            match step.split_once(' ').unwrap_or((step, "")) {
                ("push", n) => gone += queue.push([testing::span(n.parse().unwrap())]),
                ("take", n) => {
                    took = queue.take(n.parse().unwrap());
                    text += &format!(", took{}", names(&took));
                }
                ("untake", _) => queue.untake(std::mem::take(&mut took)),
                step => panic!("{step:?} is not a step"),
            }
        }
        let left = queue.take(9);
        assert_eq!(format!("gone {gone}{text}, left{}", names(&left)), want);
    }

    fn names(spans: &[Arc<Span>]) -> String {
        spans.iter().map(|it| format!(" {}", it.goid)).collect()
    }
}
