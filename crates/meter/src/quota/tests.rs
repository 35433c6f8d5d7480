use super::*;
use crate::ledger::{MemoryLedger, Mood};

const NOON: UnixSeconds = UnixSeconds(1_795_176_000); // 2026-11-20T12:00:00Z

fn requests(limit: u64) -> QuotaLaw {
    QuotaLaw { limit: NonZeroU64::new(limit).unwrap(), period: Period::Day, unit: Unit::Requests }
}

#[test]
fn so_many_requests_of_so_many_succeed_and_the_next_one_is_told_that_they_are_spent() {
    let quota = Quota::new("caller/acme/requests".into(), requests(1_000), MemoryLedger::new());
    for taken in 1..=1_000 {
        let level = quota.take(1, NOON).expect("units");
        assert_eq!((level.left, level.window.to_string().as_str()), (1_000 - taken, "2026-11-20"));
    }
    let spent = Lacking::Spent { window: Period::Day.at(NOON), limit: 1_000 };
    assert_eq!((quota.take(1, NOON), quota.peek(1, NOON)), (Err(spent), Err(spent)));
}
