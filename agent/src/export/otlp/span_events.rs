//! What hit a request while it was open, as events of its span. One set of attributes says of each how much of the
//! request it explains, whatever it is.

use std::time::Duration;

use crate::{
    assemble::span::{Side, Span, Stall},
    clock::Ktime,
    export::semconv,
};

/// What can be asked for as `taskscope.cause.kind`.
pub const CAUSES: &[&str] = &[RTO];
/// A retransmission timer fired.
const RTO: &str = "rto";

/// An event of a span, in whatever form it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    pub name: &'static str,
    pub at: Ktime,
    pub attributes: Vec<(&'static str, Figure)>,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    Text(&'static str),
    Count(u64),
    Number(f64),
}

pub fn span_events(span: &Span) -> impl Iterator<Item = SpanEvent> {
    let stalls = span.stalls.iter().flat_map(|it| &it.kept);
    stalls.map(|stall| rto(stall, span.duration()))
}

/// The kind that explains most of the span. `None`: nothing hit it.
#[must_use]
pub fn main_cause(span: &Span) -> Option<&'static str> {
    span.stalls.as_ref().filter(|it| !it.kept.is_empty()).map(|_| RTO)
}

fn rto(Stall { fired, sender, over }: &Stall, of: Duration) -> SpanEvent {
    let direction = match sender {
        Side::Client => semconv::TO_SERVER,
        Side::Server => semconv::TO_CLIENT,
    };
    let mut attributes =
        vec![(semconv::CAUSE_KIND, Figure::Text(RTO)), (semconv::EDGE_DIRECTION, Figure::Text(direction))];
    if let Some(over) = over {
        attributes.extend(explains(over.lasted, of));
        attributes.push((semconv::RTO_DURATION, Figure::Number(over.lasted.as_secs_f64())));
        attributes.push((semconv::RTO_TIMEOUTS, Figure::Count(over.expiries.into())));
    }
    SpanEvent { name: semconv::EVENT_RTO_EPISODE, at: *fired, attributes }
}

/// How long it was the cause, and the share of the span that this is. What went on before the span began or after it
/// ended cannot explain more than all of it.
fn explains(lasted: Duration, of: Duration) -> [(&'static str, Figure); 2] {
    let lasted = lasted.min(of);
    let share = if of.is_zero() { 0.0 } else { lasted.as_secs_f64() / of.as_secs_f64() };
    [
        (semconv::CAUSE_DURATION, Figure::Number(lasted.as_secs_f64())),
        (semconv::CAUSE_SHARE, Figure::Number(share)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assemble::span::{StallOver, Stalls},
        export::testing,
    };

    #[test]
    fn a_cause_explains_no_more_than_the_span() {
        check(400, "duration=0.4 share=0.4");
        check(1000, "duration=1 share=1");
        check(1400, "duration=1 share=1");
    }

    #[test]
    fn what_is_not_over_explains_nothing_yet() {
        let (event, _) = told(None);
        assert_eq!(event.attributes.len(), 2, "{event:?}");
        assert!(event.attributes.iter().all(|(name, _)| *name != semconv::CAUSE_SHARE));
    }

    #[test]
    fn a_span_that_nothing_hit_has_no_cause() {
        let span = testing::span(1);
        assert_eq!((span_events(&span).count(), main_cause(&span)), (0, None));
    }

    #[track_caller]
    fn check(lasted_ms: u64, want: &str) {
        let over = StallOver { lasted: Duration::from_millis(lasted_ms), expiries: 2 };
        let (event, cause) = told(Some(over));
        let got = |name| match event.attributes.iter().find(|it| it.0 == name).unwrap().1 {
            Figure::Number(it) => it,
            other => panic!("{other:?}"),
        };
        let (duration, share) = (got(semconv::CAUSE_DURATION), got(semconv::CAUSE_SHARE));
        assert_eq!(format!("duration={duration} share={share}"), want);
        assert_eq!(cause, Some("rto"));
        assert!(CAUSES.contains(&cause.unwrap()));
    }

    /// Of a request of one second.
    fn told(over: Option<StallOver>) -> (SpanEvent, Option<&'static str>) {
        let mut span = testing::span(1);
        span.ended = Ktime(span.began.0 + 1_000_000_000);
        let kept = vec![Stall { fired: span.began, sender: Side::Client, over }];
        span.stalls = Some(Box::new(Stalls { kept, left_out: 0 }));
        (span_events(&span).next().unwrap(), main_cause(&span))
    }
}
