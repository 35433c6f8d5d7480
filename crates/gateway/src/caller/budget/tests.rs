use std::sync::mpsc;
use std::task::Waker;
use std::thread;

use gatepost_config::model::{Money, Period};
use gatepost_meter::{MemoryLedger, Mood};

use super::*;
use crate::caller::account::{Books, law_of_budget};

/// Nobody waits longer for what must not block.
const DEADLINE: Duration = Duration::from_secs(20);

/// A billionth a byte.
fn written(limit: u64) -> model::Budget {
    let text = "listen = \"127.0.0.1:0\"\n[route.\"ANY /\"]\nopen = true\nrespond = {}\n";
    let model = gatepost_config::load_text("gatepost.toml", text, std::path::Path::new("")).unwrap().model;
    let (limit, per_gb) = (Money(limit), Money(1_000_000_000));
    let (currency, place) = ("USD".into(), model.apis[0].place.clone());
    model::Budget { limit, per: Period::Day, per_request: Money(0), per_gb, currency, place }
}

/// A payer whose lease has 10,000 units, fewer than are paid ahead, and whose ledger is in this mood since then.
fn payer(ledger: &Arc<MemoryLedger>, mood: Mood) -> Payer {
    let written = written(1_000_000_000);
    let account = Account::open("acme".to_owned(), law_of_budget(&written), &Books::new(Arc::clone(ledger) as _));
    let now = WallClock::System.now();
    // What was used is granted anew, ahead of time.
    account.take(20_000, now).unwrap();
    ledger.set_mood(mood);
    account.take(10_000, now).unwrap();
    assert!(account.peek(10_000, now).is_ok() && account.peek(10_001, now).is_err());
    Payer { budget: Budget::new(account, &written), ahead: 0, paid_in: None }
}

/// Pays on another thread, which must come back.
fn pay(mut payer: Payer, bytes: u64) -> (Payer, Poll<Result<(), Spent>>) {
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        let paid = payer.poll_pay(bytes, &WallClock::System, &mut Context::from_waker(Waker::noop()));
        done.send((payer, paid)).unwrap();
    });
    result.recv_timeout(DEADLINE).expect("it lets others have the thread")
}

#[test]
fn what_the_lease_has_is_paid_with_while_the_ledger_does_not_answer() {
    for (mood, beyond) in [(Mood::Failing, Poll::Ready(Err(Spent))), (Mood::Slow, Poll::Pending)] {
        let ledger = MemoryLedger::new();
        let payer = payer(&ledger, mood);
        let (mut payer, paid) = pay(payer, 1_000);
        assert_eq!((paid, payer.ahead), (Poll::Ready(Ok(())), 1_000), "{mood:?}");
        payer.ahead = 0;
        let (payer, paid) = pay(payer, 9_000);
        assert_eq!(paid, Poll::Ready(Ok(())), "{mood:?}");
        assert_eq!(pay(payer, 9_001).1, beyond, "{mood:?}");
        ledger.set_mood(Mood::Ready);
    }
}

#[test]
fn what_is_left_is_waited_for_if_it_is_less_than_a_piece() {
    let ledger = MemoryLedger::new();
    let written = written(1_000);
    let account = Account::open("acme".to_owned(), law_of_budget(&written), &Books::new(Arc::clone(&ledger) as _));
    let payer = Payer { budget: Budget::new(account, &written), ahead: 0, paid_in: None };
    ledger.set_mood(Mood::Slow);
    let (payer, paid) = pay(payer, 65_536);
    assert_eq!(paid, Poll::Pending);
    ledger.set_mood(Mood::Ready);
    let (mut payer, paid) = pay(payer, 65_536);
    assert_eq!((paid, payer.ahead), (Poll::Ready(Ok(())), 1_000));
    payer.ahead = 0;
    assert_eq!(pay(payer, 1).1, Poll::Ready(Err(Spent)));
}
