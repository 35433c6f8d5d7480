use std::thread;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn law(count: u64, per: Duration, burst: u32) -> Law {
    Law::new(NonZeroU64::new(count).unwrap(), per, NonZeroU32::new(burst).unwrap())
}

fn per_second(count: u64, burst: u32) -> Law {
    law(count, Duration::from_secs(1), burst)
}

/// Takes until refused; how many that were.
fn drain(bucket: &Arc<Bucket>, now: Nanos) -> u32 {
    let mut taken = 0;
    while bucket.take(now).is_ok() {
        taken += 1;
    }
    taken
}

#[test]
fn a_full_bucket_admits_its_burst_at_once_and_no_more() {
    let bucket = Bucket::new(per_second(50, 100));
    assert_eq!(drain(&bucket, Nanos(0)), 100);
}

#[test]
fn what_is_left_is_what_can_be_taken() {
    let bucket = Bucket::new(per_second(1, 3));
    assert_eq!(bucket.left(Nanos(0)), 3);
    bucket.take(Nanos(0)).unwrap();
    bucket.take(Nanos(0)).unwrap();
    assert_eq!((bucket.left(Nanos(0)), bucket.left(Nanos(SECOND - 1)), bucket.left(Nanos(SECOND))), (1, 1, 2));
    assert_eq!(drain(&bucket, Nanos(SECOND)), 2);
    assert_eq!(bucket.left(Nanos(SECOND)), 0);
    let wider = bucket.under(per_second(1, 10), Nanos(SECOND));
    assert_eq!((bucket.left(Nanos(SECOND)), wider.left(Nanos(SECOND))), (7, 7));
}

#[test]
fn a_token_is_back_after_one_interval_and_the_refusal_says_when() {
    let bucket = Bucket::new(per_second(1, 1));
    assert_eq!(bucket.take(Nanos(0)), Ok(()));
    let exceeded = bucket.take(Nanos(SECOND / 4)).unwrap_err();
    assert_eq!(exceeded.retry_after, Duration::from_millis(750));
    assert!(bucket.take(Nanos(SECOND - 1)).is_err());
    assert_eq!(bucket.take(Nanos(SECOND)), Ok(()));
}

#[test]
fn a_rate_that_does_not_divide_a_second_is_rounded_towards_fewer() {
    let bucket = Bucket::new(per_second(3, 1));
    assert_eq!(bucket.take(Nanos(0)), Ok(()));
    assert!(bucket.take(Nanos(333_333_333)).is_err());
    assert!(bucket.take(Nanos(333_333_334)).is_ok());
}

#[test]
fn a_bucket_that_fills_for_centuries_does_not_overflow() {
    let bucket = Bucket::new(law(1, Duration::from_secs(86_400), u32::MAX));
    for _ in 0..1000 {
        assert_eq!(bucket.take(Nanos(u64::MAX / 4)), Ok(()));
    }
    assert!(!bucket.is_full(Nanos(u64::MAX / 4)));
}

#[test]
fn of_several_buckets_none_is_taken_from_when_one_is_empty() {
    let (wide, narrow) = (Bucket::new(per_second(10, 10)), Bucket::new(per_second(1, 1)));
    let both = [Arc::clone(&wide), Arc::clone(&narrow)];
    assert_eq!(take_all(both.iter(), Nanos(0)), Ok(()));
    let exceeded = take_all(both.iter(), Nanos(0)).unwrap_err();
    assert_eq!(exceeded.law, narrow.law());
    assert_eq!(drain(&wide, Nanos(0)), 9, "the refused request took nothing from the wide bucket");
}

#[test]
fn a_changed_law_carries_the_debt_on_in_tokens() {
    let now = Nanos(SECOND);
    let old = Bucket::new(per_second(10, 10));
    for _ in 0..4 {
        assert!(old.take(now).is_ok());
    }
    let new = old.under(per_second(100, 20), now);
    assert_eq!(drain(&new, now), 16);
}

#[test]
fn a_debt_larger_than_the_new_burst_is_an_empty_bucket() {
    let now = Nanos(SECOND);
    let old = Bucket::new(per_second(1000, 1000));
    drain(&old, now);
    let new = old.under(per_second(1, 2), now);
    assert!(new.take(now).is_err());
    assert!(new.take(Nanos(2 * SECOND)).is_ok());
    assert!(new.take(Nanos(2 * SECOND)).is_err());
}

#[test]
fn the_same_law_keeps_the_same_bucket() {
    let bucket = Bucket::new(per_second(10, 10));
    assert!(Arc::ptr_eq(&bucket, &bucket.under(per_second(10, 10), Nanos(5))));
}

#[test]
fn who_still_holds_the_old_bucket_takes_from_the_new_one() {
    let now = Nanos(SECOND);
    let old = Bucket::new(per_second(10, 10));
    let new = old.under(per_second(10, 5), now);
    let newest = old.under(per_second(10, 3), now);
    assert_eq!(drain(&old, now) + drain(&new, now) + drain(&newest, now), 3);
}

#[test]
fn threads_together_take_exactly_the_burst_even_while_the_law_changes() {
    for round in 0..50 {
        let bucket = Bucket::new(per_second(1, 1000));
        let taken: u32 = thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(|| drain(&bucket, Nanos(0)))).collect();
            if round % 2 == 1 {
                drop(bucket.under(law(2, Duration::from_secs(1), 1000), Nanos(0)));
            }
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}

proptest! {
    /// The law itself, over every window of a random history.
    #[test]
    fn no_window_admits_more_than_burst_plus_rate_times_its_length(
        count in 1_u64..2000,
        burst in 1_u32..50,
        steps in prop::collection::vec(0_u64..50_000_000, 1..200),
    ) {
        let bucket = Bucket::new(per_second(count, burst));
        let mut now = 0;
        let mut admitted = Vec::new();
        for step in steps {
            now += step;
            if bucket.take(Nanos(now)).is_ok() {
                admitted.push(now);
            }
        }
        for (first, start) in admitted.iter().enumerate() {
            for (last, end) in admitted.iter().enumerate().skip(first) {
                let window = u128::from(end - start);
                let most = u128::from(burst) + window * u128::from(count) / u128::from(SECOND);
                prop_assert!((last - first + 1) as u128 <= most);
            }
        }
    }

    /// As many as the law allows: a bucket is never stingier than a rounded interval makes it.
    #[test]
    fn a_request_that_waits_as_told_is_admitted(count in 1_u64..1_000_000, burst in 1_u32..100) {
        let bucket = Bucket::new(per_second(count, burst));
        let mut now = Nanos(7);
        drain(&bucket, now);
        for _ in 0..20 {
            let wait = bucket.take(now).unwrap_err().retry_after;
            now = Nanos(now.0 + u64::try_from(wait.as_nanos()).unwrap());
            prop_assert!(bucket.take(now).is_ok());
        }
    }
}
