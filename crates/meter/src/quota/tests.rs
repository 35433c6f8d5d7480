mod promises;

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;
use crate::ledger::{MemoryLedger, Mood};

const DAY: i64 = 86_400;
const NOON: UnixSeconds = UnixSeconds(1_795_176_000); // 2026-11-20T12:00:00Z
const TOMORROW: UnixSeconds = UnixSeconds(NOON.0 + DAY);

fn law(limit: u64, period: Period, unit: Unit) -> QuotaLaw {
    QuotaLaw { limit: NonZeroU64::new(limit).unwrap(), period, unit }
}

fn requests(limit: u64) -> QuotaLaw {
    law(limit, Period::Day, Unit::Requests)
}

fn quota(law: QuotaLaw, ledger: &Arc<MemoryLedger>) -> Arc<Quota> {
    Quota::new("caller/acme/requests".into(), law, Arc::clone(ledger) as Arc<dyn Ledger>)
}

/// Takes one by one until refused; how many that were, and why no more.
fn drain(quota: &Arc<Quota>, now: UnixSeconds) -> (u64, Lacking) {
    let mut taken = 0;
    loop {
        match quota.take(1, now) {
            Ok(_) => taken += 1,
            Err(lacking) => return (taken, lacking),
        }
    }
}

fn spent(law: QuotaLaw, now: UnixSeconds) -> Lacking {
    Lacking::Spent { window: law.period.at(now), limit: law.limit.get() }
}

/// What the ledger granted on the day of a moment.
fn granted(ledger: &MemoryLedger, now: UnixSeconds) -> u64 {
    ledger.granted("caller/acme/requests", Period::Day.at(now))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls once, with a waker that counts.
fn poll(quota: &Arc<Quota>, woken: &Arc<Woken>) -> Poll<Result<(), Unavailable>> {
    quota.poll_ready(1, NOON, &mut Context::from_waker(&Waker::from(Arc::clone(woken))))
}

#[test]
fn so_many_requests_of_so_many_succeed_and_the_next_one_is_told_that_they_are_spent() {
    for limit in [1, 2, 3, 199, 200, 1_000, 5_000_000] {
        let law = requests(limit);
        let quota = quota(law, &MemoryLedger::new());
        for taken in 1..=limit.min(10_000) {
            let level = quota.take(1, NOON).expect("units");
            assert_eq!(level, Level { left: limit - taken, limit, window: Period::Day.at(NOON) });
        }
        assert_eq!(drain(&quota, NOON), (limit - limit.min(10_000), spent(law, NOON)));
        assert_eq!((quota.take(1, NOON), quota.peek(1, NOON)), (Err(spent(law, NOON)), Err(spent(law, NOON))));
    }
}

#[test]
fn a_new_window_has_the_whole_limit_and_an_old_one_is_not_refilled_by_a_clock_that_is_set_back() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(100), &ledger);
    for _ in 0..60 {
        quota.take(1, NOON).expect("units");
    }
    assert_eq!(drain(&quota, TOMORROW), (100, spent(requests(100), TOMORROW)));
    assert_eq!(drain(&quota, NOON), (40, spent(requests(100), NOON)));
    assert_eq!(drain(&quota, TOMORROW), (0, spent(requests(100), TOMORROW)));
}

#[test]
fn the_rest_of_an_old_window_is_given_back_to_it() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(100_000), &ledger);
    for _ in 0..1_000 {
        quota.take(1, NOON).expect("units");
    }
    assert!(granted(&ledger, NOON) > 1_000);
    quota.take(1, TOMORROW).expect("units");
    assert_eq!(granted(&ledger, NOON), 1_000);
}

#[test]
fn a_thread_whose_clock_lags_a_second_takes_from_the_new_window() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(10), &ledger);
    let window = Period::Day.at(NOON);
    let level = quota.take(1, window.starts()).expect("units");
    let lagging = quota.take(1, UnixSeconds(window.starts().0 - 1)).expect("units");
    assert_eq!((level.window, lagging.window, lagging.left), (window, window, 8));
    let back = quota.take(1, UnixSeconds(window.starts().0 - 2)).expect("units");
    assert_eq!((back.window.ends(), back.left), (window.starts(), 9));
}

#[test]
fn grants_grow_with_what_was_used_and_are_never_more_than_the_largest() {
    let ledger = MemoryLedger::new();
    let law = requests(100_000);
    let quota = quota(law, &ledger);
    for used in 1..=5_000 {
        quota.take(1, NOON).expect("units");
        let outstanding = granted(&ledger, NOON) - used;
        assert!(outstanding <= used.min(law.largest_grant()), "{outstanding} of {used}");
    }
    assert_eq!(law.largest_grant(), 500);
    assert_eq!(requests(1).largest_grant(), 1);
    assert_eq!(requests(u64::MAX).largest_grant(), 10_000);
}

#[test]
fn a_crash_loses_a_grant_and_a_clean_stop_nothing() {
    let ledger = MemoryLedger::new();
    let law = requests(1_000);
    let mut taken = 0;
    for _ in 0..3 {
        let quota = quota(law, &ledger);
        for _ in 0..100 {
            quota.take(1, NOON).expect("units");
            taken += 1;
        }
        let left = quota.peek(0, NOON).expect("known").left;
        assert_eq!(left, 1_000 - taken);
        quota.close();
        assert_eq!(quota.take(1, NOON), Err(Lacking::Unavailable));
        assert_eq!(granted(&ledger, NOON), taken);
    }
    let crashing = quota(law, &ledger);
    crashing.take(1, NOON).expect("units");
    drop(crashing);
    let lost = granted(&ledger, NOON) - taken - 1;
    assert!(lost <= law.largest_grant());
    assert_eq!(drain(&quota(law, &ledger), NOON), (1_000 - taken - 1 - lost, spent(law, NOON)));
}

#[test]
fn requests_do_not_wait_for_a_slow_ledger_while_half_a_grant_is_left() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(100_000), &ledger);
    for _ in 0..2_000 {
        quota.take(1, NOON).expect("units");
    }
    ledger.set_mood(Mood::Slow);
    let (taken, lacking) = drain(&quota, NOON);
    assert!(taken >= 250, "{taken}");
    assert_eq!(lacking, Lacking::Waiting);
    assert_eq!(quota.peek(1, NOON), Err(Lacking::Waiting));
    ledger.set_mood(Mood::Ready);
    assert_eq!(drain(&quota, NOON), (98_000 - taken, spent(requests(100_000), NOON)));
}

#[test]
fn who_waits_is_woken_by_the_grant() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(10), &ledger);
    ledger.set_mood(Mood::Slow);
    assert_eq!(quota.take(1, NOON), Err(Lacking::Waiting));
    let woken = [Arc::<Woken>::default(), Arc::default()];
    assert!(woken.iter().all(|woken| poll(&quota, woken).is_pending()));
    ledger.set_mood(Mood::Ready);
    assert!(woken.iter().all(|woken| woken.0.load(Ordering::Relaxed) == 1));
    assert_eq!(poll(&quota, &woken[0]), Poll::Ready(Ok(())));
    assert!(quota.take(1, NOON).is_ok());
    // The other one is late: it waits for what comes next, or has it.
    assert_eq!(poll(&quota, &woken[1]), Poll::Ready(Ok(())));
}

#[test]
fn who_waits_is_told_that_units_are_spent() {
    let ledger = MemoryLedger::new();
    drain(&quota(requests(3), &ledger), NOON);
    let restarted = quota(requests(3), &ledger);
    assert_eq!(restarted.peek(1, NOON), Err(Lacking::Waiting));
    assert_eq!(poll(&restarted, &Arc::default()), Poll::Ready(Ok(())));
    assert_eq!(restarted.take(1, NOON), Err(spent(requests(3), NOON)));
}

#[test]
fn who_waits_is_told_that_the_ledger_failed_and_the_next_one_asks_again() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(10), &ledger);
    ledger.set_mood(Mood::Slow);
    assert_eq!(quota.take(1, NOON), Err(Lacking::Waiting));
    let woken = Arc::<Woken>::default();
    assert!(poll(&quota, &woken).is_pending());
    ledger.set_mood(Mood::Failing);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll(&quota, &woken), Poll::Ready(Err(Unavailable)));
    assert_eq!(quota.take(1, NOON), Err(Lacking::Unavailable));
    ledger.set_mood(Mood::Ready);
    assert_eq!(quota.take(1, NOON).map(|level| level.left), Ok(9));
}

#[test]
fn a_failing_ledger_is_not_noticed_while_units_are_left() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(100_000), &ledger);
    for _ in 0..2_000 {
        quota.take(1, NOON).expect("units");
    }
    ledger.set_mood(Mood::Failing);
    let (taken, lacking) = drain(&quota, NOON);
    assert!(taken >= 250, "{taken}");
    assert_eq!(lacking, Lacking::Unavailable);
}

#[test]
fn only_so_many_wait_for_a_ledger_that_does_not_answer() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(10), &ledger);
    ledger.set_mood(Mood::Slow);
    for _ in 0..MOST_WAITING {
        assert!(poll(&quota, &Arc::default()).is_pending());
    }
    assert_eq!(poll(&quota, &Arc::default()), Poll::Ready(Err(Unavailable)));
    ledger.set_mood(Mood::Ready);
    assert_eq!(poll(&quota, &Arc::default()), Poll::Ready(Ok(())));
}

#[test]
fn units_that_were_not_used_after_all_can_be_taken_again() {
    let ledger = MemoryLedger::new();
    let law = requests(3);
    let quota = quota(law, &ledger);
    let levels: Vec<_> = (0..3).map(|_| quota.take(1, NOON).expect("units")).collect();
    assert_eq!(quota.take(1, NOON), Err(spent(law, NOON)));
    for level in levels {
        quota.give_back(1, level.window);
    }
    assert_eq!(drain(&quota, NOON), (3, spent(law, NOON)));
}

#[test]
fn units_of_an_old_window_go_back_to_it() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(10), &ledger);
    let old = quota.take(4, NOON).expect("units").window;
    quota.take(1, TOMORROW).expect("units");
    let before = granted(&ledger, NOON);
    quota.give_back(4, old);
    assert_eq!(granted(&ledger, NOON), before - 4);
    assert_eq!(drain(&quota, NOON).0, 10);
    assert_eq!(drain(&quota, TOMORROW).0, 9);
}

#[test]
fn a_lowered_limit_counts_what_was_used_and_a_raised_one_adds_only_the_difference() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(1_000), &ledger);
    for _ in 0..500 {
        quota.take(1, NOON).expect("units");
    }
    quota.change_law(requests(400));
    assert_eq!(drain(&quota, NOON), (0, spent(requests(400), NOON)));
    // What comes back now was too much.
    quota.give_back(1, Period::Day.at(NOON));
    assert_eq!(drain(&quota, NOON), (0, spent(requests(400), NOON)));
    quota.change_law(requests(600));
    assert_eq!(drain(&quota, NOON), (101, spent(requests(600), NOON)));
    quota.change_law(requests(601));
    assert_eq!((quota.law(), drain(&quota, NOON)), (requests(601), (1, spent(requests(601), NOON))));
}

#[test]
fn a_changed_period_counts_in_windows_of_its_own_and_the_old_ones_are_kept() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(100), &ledger);
    for _ in 0..70 {
        quota.take(1, NOON).expect("units");
    }
    let month = law(100, Period::Month, Unit::Requests);
    quota.change_law(month);
    assert_eq!(drain(&quota, NOON), (100, spent(month, NOON)));
    quota.change_law(requests(100));
    assert_eq!(drain(&quota, NOON), (30, spent(requests(100), NOON)));
}

#[test]
fn a_grant_that_was_asked_for_under_another_law_is_given_back() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(1_000), &ledger);
    for _ in 0..10 {
        quota.take(1, NOON).expect("units");
    }
    ledger.set_mood(Mood::Slow);
    drain(&quota, NOON);
    quota.change_law(requests(5));
    ledger.set_mood(Mood::Ready);
    let used = granted(&ledger, NOON);
    assert_eq!(drain(&quota, NOON), (0, spent(requests(5), NOON)));
    quota.change_law(requests(1_000));
    assert_eq!(drain(&quota, NOON).0, 1_000 - used);
}

#[test]
fn a_grant_that_was_asked_for_before_the_law_changed_and_changed_back_is_given_back() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(10), &ledger);
    ledger.set_mood(Mood::Slow);
    assert_eq!(quota.take(1, NOON), Err(Lacking::Waiting));
    quota.change_law(law(10, Period::Month, Unit::Requests));
    quota.change_law(requests(10));
    ledger.set_mood(Mood::Ready);
    assert_eq!(granted(&ledger, NOON), 0);
    assert_eq!(drain(&quota, NOON), (10, spent(requests(10), NOON)));
}

#[test]
fn what_comes_back_while_more_was_asked_for_goes_on_to_the_ledger() {
    let ledger = MemoryLedger::new();
    let law = requests(100_000);
    let quota = quota(law, &ledger);
    for _ in 0..2_000 {
        quota.take(1, NOON).expect("units");
    }
    ledger.set_mood(Mood::Slow);
    let (taken, _) = drain(&quota, NOON);
    quota.give_back(taken, Period::Day.at(NOON));
    ledger.set_mood(Mood::Ready);
    assert!(granted(&ledger, NOON) - 2_000 <= law.largest_grant());
    assert_eq!(drain(&quota, NOON), (98_000, spent(law, NOON)));
}

#[test]
fn a_grant_that_comes_after_the_end_is_given_back() {
    let ledger = MemoryLedger::new();
    let quota = quota(requests(1_000), &ledger);
    ledger.set_mood(Mood::Slow);
    assert_eq!(quota.take(1, NOON), Err(Lacking::Waiting));
    quota.close();
    ledger.set_mood(Mood::Ready);
    assert_eq!((granted(&ledger, NOON), quota.take(1, NOON)), (0, Err(Lacking::Unavailable)));
    assert_eq!(poll(&quota, &Arc::default()), Poll::Ready(Err(Unavailable)));
}

#[test]
fn money_is_taken_in_pieces_of_any_size_to_the_last_billionth() {
    const CENT: u64 = 10_000_000;
    let ledger = MemoryLedger::new();
    let law = law(100 * CENT, Period::Month, Unit::Billionths);
    let quota = quota(law, &ledger);
    assert_eq!(quota.take(30 * CENT, NOON).map(|level| level.left), Ok(70 * CENT));
    assert_eq!(quota.take(101 * CENT, NOON), Err(spent(law, NOON)));
    assert_eq!(quota.take(69 * CENT + 1, NOON).map(|level| level.left), Ok(CENT - 1));
    assert_eq!(quota.take(CENT, NOON), Err(spent(law, NOON)));
    assert_eq!(quota.peek(CENT - 1, NOON).map(|level| level.left), Ok(CENT - 1));
    assert_eq!(quota.take(CENT - 1, NOON).map(|level| level.left), Ok(0));
    assert_eq!(quota.take(1, NOON), Err(spent(law, NOON)));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let quota = quota(law(u64::MAX, Period::Day, Unit::Billionths), &MemoryLedger::new());
    assert_eq!(quota.take(MOST_UNITS + 1, NOON), Err(Lacking::Unavailable));
    assert_eq!(quota.take(1, UnixSeconds(-1)), Err(Lacking::Unavailable), "before 1970");
    assert_eq!(quota.take(1, UnixSeconds(i64::MAX)), Err(Lacking::Unavailable));
    assert!(quota.take(MOST_UNITS, NOON).is_ok());
    assert!(quota.take(1, NOON).is_ok());
}
