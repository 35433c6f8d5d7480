//! A client of the store.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, SystemTime};

use gatepost_meter::{Ask, Granted, Lacking, Ledger, Period, Quota, QuotaLaw, Unavailable, Unit, UnixSeconds};

pub(crate) const NOON: UnixSeconds = UnixSeconds(1_795_176_000); // 2026-11-20T12:00:00Z

pub(crate) type Answer = Result<Granted, Unavailable>;

pub(crate) fn account() -> Arc<str> {
    "caller/acme/requests".into()
}

pub(crate) fn requests(limit: u64) -> QuotaLaw {
    QuotaLaw { limit: NonZeroU64::new(limit).expect("a limit"), period: Period::Day, unit: Unit::Requests }
}

pub(crate) fn ask(ledger: &dyn Ledger, account: &str, want: u64, limit: u64) -> Receiver<Answer> {
    let (reply, answer) = channel();
    let number = |number| NonZeroU64::new(number).expect("not none");
    let hear = move |granted| {
        let _ = reply.send(granted);
    };
    ledger.ask(Ask::new(account.into(), Period::Day.at(NOON), number(want), number(limit), hear));
    answer
}

/// Asks for units, and waits for the answer.
pub(crate) fn grant(ledger: &dyn Ledger, want: u64, limit: u64) -> Answer {
    ask(ledger, &account(), want, limit).recv().expect("an answer")
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Takes one by one, up to `most` or until they are spent; how many that were.
pub(crate) fn take_all(quota: &Arc<Quota>, most: u64) -> u64 {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut taken = 0;
    while taken < most {
        match quota.take(1, NOON) {
            Ok(_) => taken += 1,
            Err(Lacking::Waiting) => {
                while quota.poll_ready(1, NOON, &mut Context::from_waker(&waker)).is_pending() {
                    thread::park();
                }
            }
            Err(Lacking::Spent { .. }) => break,
            Err(Lacking::Unavailable) => panic!("the disk works"),
        }
    }
    taken
}

/// Waits until something is so.
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let deadline = SystemTime::now() + Duration::from_secs(20);
    while !so() {
        assert!(SystemTime::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
