use std::sync::mpsc;

use super::*;
use crate::window::{Period, UnixSeconds};

fn window() -> Window {
    Period::Day.at(UnixSeconds(1_795_176_000))
}

fn ask(want: u64, limit: u64) -> (Ask, mpsc::Receiver<Result<Granted, Unavailable>>) {
    let (reply, answer) = mpsc::channel();
    let number = |number| NonZeroU64::new(number).unwrap();
    let ask =
        Ask::new("acme".into(), window(), number(want), number(limit), move |granted| reply.send(granted).unwrap());
    (ask, answer)
}

#[test]
fn an_ask_is_granted_what_the_limit_leaves() {
    assert_eq!(ask(5, 10).0.grant(0), Granted { units: 5, total: 5 });
    assert_eq!(ask(5, 10).0.grant(7), Granted { units: 3, total: 10 });
    assert_eq!(ask(5, 10).0.grant(10), Granted { units: 0, total: 10 });
    assert_eq!(ask(5, 10).0.grant(12), Granted { units: 0, total: 12 });
    assert_eq!(ask(u64::MAX, u64::MAX).0.grant(u64::MAX - 1), Granted { units: 1, total: u64::MAX });
}

#[test]
fn an_ask_that_nobody_answers_is_told_that_the_ledger_is_unavailable() {
    let (ask, answer) = ask(1, 1);
    drop(ask);
    assert_eq!(answer.recv(), Ok(Err(Unavailable)));
    assert!(answer.recv().is_err(), "one answer is enough");
}

#[test]
fn what_is_given_back_can_be_granted_again() {
    let ledger = MemoryLedger::new();
    let take = |want| {
        let (ask, answer) = ask(want, 10);
        ledger.ask(ask);
        answer.recv().unwrap()
    };
    assert_eq!(take(10), Ok(Granted { units: 10, total: 10 }));
    ledger.give_back(&"acme".into(), window(), 4);
    assert_eq!(ledger.granted("acme", window()), 6);
    assert_eq!(take(10), Ok(Granted { units: 4, total: 10 }));
}
