//! A new process is seen soon: its record is there for the next drain, and drains are often.

use std::{process::Command, thread, time::Duration};

use agent::{
    clock::{self, Ktime},
    run::DRAIN_EVERY,
};
use agent_common::event::Event;
use tests::{Observer, eventually, require_bpf};

const PROCESSES: usize = 20;
/// From exec to the state.
const SOON: Duration = Duration::from_millis(100);
/// Between a record's time and its place in the ring, if the probe's CPU is taken away in between.
const SLACK: Duration = Duration::from_millis(20);

#[test]
fn an_exec_waits_for_one_drain_at_most() {
    require_bpf!();
    const { assert!(2 * DRAIN_EVERY.as_millis() <= SOON.as_millis()) };
    let mut observer = Observer::load();
    let mut longest = Duration::ZERO;
    let mut drained_before = clock::now();
    for _ in 0..PROCESSES {
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let is_ours = |event: &Event| match event {
            Event::Exec(it) if it.header.tgid == child.id() => Some(Ktime(it.header.ktime_ns)),
            _ => None,
        };
        let executed = eventually("the record of an exec", || {
            thread::sleep(DRAIN_EVERY);
            let begin = clock::now();
            observer.drain();
            let executed = observer.events.drain(..).find_map(|it| is_ours(&it));
            if let Some(at) = executed {
                // What is older was there for the drain before this one.
                assert!(
                    drained_before.since(at) < SLACK,
                    "missed by a drain {:?} later",
                    drained_before.since(at)
                );
                longest = longest.max(clock::now().since(at));
            }
            drained_before = begin;
            executed
        });
        assert!(executed <= drained_before);
        assert!(child.wait().unwrap().success());
    }
    println!("{PROCESSES} processes, each seen within {longest:?} of its exec");
}
