//! The order of programs at a TCX hook: who is asked before ours may keep packets from it.
//!
//! Ours is put first. Whoever comes later may put his own before it, and then ours is taken off and put first
//! again: once for each program that pushes in, and not more often than once a minute. One that comes back
//! insists on its place, and is left there: two that both want to be first must not fight.
//!
//! First ─ somebody pushes in ─▶ moved ─▶ First …  ─ the same again ─▶ Behind ─ it goes ─▶ First

use std::{collections::BTreeSet, io, time::Duration};

use super::{packets::Side, syscall::bpf};
use crate::clock::Ktime;

/// At one hook: while ours is off its packets are not seen.
const MOVE_EVERY: Duration = Duration::from_secs(60);

/// Where ours stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    First,
    /// The ids of those before it.
    Behind(Vec<u32>),
    /// Somebody took it off.
    Gone,
}

/// What there is to do, or to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// To be put before these.
    Move(Vec<u32>),
    /// They stay before ours. Said once.
    Yield(Vec<u32>),
    GiveUp,
}

/// What is remembered of a hook.
#[derive(Debug, Default)]
pub(super) struct Line {
    place: Place,
    /// Those that ours was put before.
    passed: BTreeSet<u32>,
    next_move: Ktime,
}

impl Line {
    /// `programs`: all at the hook, in the order in which they are asked.
    pub(super) fn look(&mut self, now: Ktime, programs: &[u32], ours: u32) -> Step {
        let before = std::mem::replace(&mut self.place, place(programs, ours));
        match &self.place {
            Place::First => Step::Nothing,
            Place::Gone => Step::GiveUp,
            Place::Behind(ahead) => {
                let is_new = ahead.iter().any(|it| !self.passed.contains(it));
                if is_new && self.next_move <= now {
                    let ahead = ahead.clone();
                    self.passed.retain(|it| programs.contains(it));
                    self.passed.extend(&ahead);
                    self.next_move = now.plus(MOVE_EVERY);
                    self.place = Place::First;
                    return Step::Move(ahead);
                }
                if self.place == before { Step::Nothing } else { Step::Yield(ahead.clone()) }
            }
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        matches!(self.place, Place::Behind(_))
    }
}

fn place(programs: &[u32], ours: u32) -> Place {
    match programs.iter().position(|it| *it == ours) {
        None => Place::Gone,
        Some(0) => Place::First,
        Some(n_ahead) => Place::Behind(programs[..n_ahead].to_vec()),
    }
}

/// The most that the kernel takes at a hook (`BPF_MPROG_MAX`).
const MOST_PROGRAMS: usize = 64;

/// The `query` member of `union bpf_attr`.
#[repr(C)]
struct Query {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    reserved: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The ids of the programs at a hook of an interface of this network namespace, in the order in which they are
/// asked. aya opens each, which takes CAP_SYS_ADMIN.
pub(super) fn programs(ifindex: u32, side: Side) -> io::Result<Vec<u32>> {
    // include/uapi/linux/bpf.h
    const BPF_PROG_QUERY: libc::c_long = 16;
    const BPF_TCX_INGRESS: u32 = 46;
    const BPF_TCX_EGRESS: u32 = 47;
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut query = Query {
        target_ifindex: ifindex,
        attach_type: match side {
            Side::Ingress => BPF_TCX_INGRESS,
            Side::Egress => BPF_TCX_EGRESS,
        },
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: MOST_PROGRAMS as u32,
        reserved: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    bpf(BPF_PROG_QUERY, &mut query)?;
    Ok(ids[..MOST_PROGRAMS.min(query.count as usize)].to_vec())
}

/// Whether there are such hooks at all: kernels before Linux 6.6 do not know the question. Who may not ask is told so
/// when something is attached.
pub(super) fn has_tcx() -> bool {
    const LOOPBACK: u32 = 1;
    let answer = programs(LOOPBACK, Side::Ingress);
    !answer.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pushes_in_is_passed_once() {
        check("0: 7 1 -> move 7; 2: 1 7 -> -; 4: 7 1 -> yield 7; 6: 7 1 -> -; 90: 7 1 -> -; 92: 1 -> -");
    }

    #[test]
    fn somebody_else_is_passed_as_well_but_not_at_once() {
        check("0: 7 1 -> move 7; 2: 8 1 7 -> yield 8; 4: 8 1 7 -> -; 60: 8 1 7 -> move 8");
    }

    /// Of a program that is gone its number may be another's.
    #[test]
    fn only_those_that_are_there_are_remembered() {
        check("0: 7 1 -> move 7; 60: 8 1 -> move 8; 120: 7 1 8 -> move 7; 180: 8 7 1 -> yield 8 7");
    }

    #[test]
    fn those_after_ours_are_no_matter() {
        check("0: 1 -> -; 2: 1 7 8 -> -; 4: 1 8 -> -");
    }

    #[test]
    fn one_that_was_taken_off_is_given_up() {
        check("0: 1 7 -> -; 2: 7 -> give up; 4:  -> give up");
    }

    /// Ours is 1. Seconds, the programs at the hook, and what there is to do.
    #[track_caller]
    fn check(script: &str) {
        let mut line = Line::default();
        for step in script.split("; ") {
            let (secs, rest) = step.split_once(": ").unwrap();
            let (programs, want) = rest.split_once(" -> ").unwrap();
            let programs: Vec<u32> = programs.split_whitespace().map(|it| it.parse().unwrap()).collect();
            let now = Ktime(0).plus(Duration::from_secs(secs.parse().unwrap()));
            let ids = |ids: &[u32]| ids.iter().map(|it| format!(" {it}")).collect::<String>();
            let got = match line.look(now, &programs, 1) {
                Step::Nothing => "-".to_owned(),
                Step::Move(ahead) => format!("move{}", ids(&ahead)),
                Step::Yield(ahead) => format!("yield{}", ids(&ahead)),
                Step::GiveUp => "give up".to_owned(),
            };
            assert_eq!(got, want, "{step}");
        }
    }
}
