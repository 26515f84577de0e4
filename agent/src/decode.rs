//! Bytes of the ring become events. Total: what is no record is counted and left out.

use agent_common::event::{self, Event};

use crate::vitals::{Vital, Vitals};

/// The event in `bytes`, if there is one.
#[must_use]
pub fn event(bytes: &[u8], vitals: &Vitals) -> Option<Event> {
    match event::decode(bytes) {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::debug!(?error, "The kernel half sent something unknown.");
            vitals.add(Vital::EventsUndecodable, 1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_counted() {
        let vitals = Vitals::new();
        assert_eq!(event(&[7; 40], &vitals), None);
        assert_eq!(event(&[], &vitals), None);
        assert_eq!(vitals.get(Vital::EventsUndecodable), 2);
    }
}
