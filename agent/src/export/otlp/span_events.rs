//! What hit a request while it was open, as events of its span. One set of attributes says of each how much of the
//! request it explains, whatever it is.

use std::{borrow::Cow, time::Duration};

use crate::{
    assemble::span::{FailedDial, Side, Span, Stall},
    clock::Ktime,
    export::semconv,
};

/// What can be asked for as `taskscope.cause.kind`.
pub const CAUSES: &[&str] = &[RTO, CONNECT];
/// A retransmission timer fired.
const RTO: &str = "rto";
/// A connect failed.
const CONNECT: &str = "connect";

/// An event of a span, in whatever form it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    pub name: &'static str,
    pub at: Ktime,
    pub attributes: Vec<(&'static str, Figure)>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    Text(Cow<'static, str>),
    Count(u64),
    Number(f64),
}

pub fn span_events(span: &Span) -> impl Iterator<Item = SpanEvent> {
    let of = span.duration();
    span.causes.iter().flat_map(move |causes| {
        let stalls = causes.stalls.iter().map(move |it| rto(it, of));
        stalls.chain(causes.dials.iter().map(move |it| connect(it, of)))
    })
}

/// The kind that explains most of the span. `None`: nothing hit it.
#[must_use]
pub fn main_cause(span: &Span) -> Option<&'static str> {
    let causes = span.causes.as_ref()?;
    let stalls = causes.stalls.iter().map(|it| (it.over.map_or(Duration::ZERO, |over| over.lasted), RTO));
    let dials = causes.dials.iter().map(|it| (it.lasted, CONNECT));
    stalls.chain(dials).max_by_key(|(lasted, _)| *lasted).map(|(_, kind)| kind)
}

fn rto(Stall { fired, sender, over }: &Stall, of: Duration) -> SpanEvent {
    let direction = match sender {
        Side::Client => semconv::TO_SERVER,
        Side::Server => semconv::TO_CLIENT,
    };
    let mut attributes = vec![(semconv::CAUSE_KIND, name(RTO)), (semconv::EDGE_DIRECTION, name(direction))];
    if let Some(over) = over {
        attributes.extend(explains(over.lasted, of));
        attributes.push((semconv::RTO_DURATION, Figure::Number(over.lasted.as_secs_f64())));
        attributes.push((semconv::RTO_TIMEOUTS, Figure::Count(over.expiries.into())));
    }
    SpanEvent { name: semconv::EVENT_RTO_EPISODE, at: *fired, attributes }
}

/// Its attributes are those of the log event, too.
fn connect(FailedDial { at, class, server, lasted, syns }: &FailedDial, of: Duration) -> SpanEvent {
    let mut attributes = vec![(semconv::CAUSE_KIND, name(CONNECT))];
    attributes.extend(explains(*lasted, of));
    attributes.extend([
        (semconv::ERROR_TYPE, name(semconv::failure_class(*class))),
        (semconv::SERVER_ADDRESS, Figure::Text(server.ip().to_canonical().to_string().into())),
        (semconv::SERVER_PORT, Figure::Count(server.port().into())),
        (semconv::CONNECT_SYNS, Figure::Count((*syns).into())),
        (semconv::CONNECT_DURATION, Figure::Number(lasted.as_secs_f64())),
    ]);
    SpanEvent { name: semconv::EVENT_CONNECT_FAILED, at: *at, attributes }
}

fn name(name: &'static str) -> Figure {
    Figure::Text(Cow::Borrowed(name))
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
        assemble::{
            failure::FailureClass,
            span::{Causes, StallOver},
        },
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

    #[test]
    fn what_explains_most_is_the_cause_of_the_span() {
        let mut span = testing::span(1);
        let dial = |millis| FailedDial {
            at: span.ended,
            class: FailureClass::Refused,
            server: ([10, 0, 0, 9], 80).into(),
            lasted: Duration::from_millis(millis),
            syns: 1,
        };
        let over = StallOver { lasted: Duration::from_millis(5), expiries: 1 };
        let stalls = vec![Stall { fired: span.began, sender: Side::Client, over: Some(over) }];
        for (millis, want) in [(4, "rto"), (6, "connect")] {
            let causes = Causes { stalls: stalls.clone(), dials: vec![dial(millis)], left_out: 0 };
            span.causes = Some(Box::new(causes));
            assert_eq!(main_cause(&span), Some(want));
        }
        let told: Vec<_> = span_events(&span).map(|it| it.name).collect();
        assert_eq!(told, [semconv::EVENT_RTO_EPISODE, semconv::EVENT_CONNECT_FAILED]);
    }

    #[track_caller]
    fn check(lasted_ms: u64, want: &str) {
        let over = StallOver { lasted: Duration::from_millis(lasted_ms), expiries: 2 };
        let (event, cause) = told(Some(over));
        let got = |name| match event.attributes.iter().find(|it| it.0 == name) {
            Some((_, Figure::Number(it))) => *it,
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
        let stalls = vec![Stall { fired: span.began, sender: Side::Client, over }];
        span.causes = Some(Box::new(Causes { stalls, ..Causes::default() }));
        (span_events(&span).next().unwrap(), main_cause(&span))
    }
}
