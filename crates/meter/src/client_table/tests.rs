use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::Bucket;

const SECOND: u64 = 1_000_000_000;

fn law(count: u64, per_seconds: u64, burst: u32) -> Law {
    Law::new(NonZeroU64::new(count).unwrap(), Duration::from_secs(per_seconds), NonZeroU32::new(burst).unwrap())
}

/// A table in which nobody's token is back before the test is over.
fn slow_table(burst: u32, slots: usize) -> ClientTable {
    ClientTable::new(law(1, 86_400, burst), slots, RandomState::new())
}

/// A table of one set, so that all clients meet.
fn one_set(law: Law) -> ClientTable {
    ClientTable::new(law, 1, RandomState::new())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The client with that number: every other one is IPv6.
fn client(number: u32) -> IpAddr {
    if number.is_multiple_of(2) {
        IpAddr::from(number.to_be_bytes())
    } else {
        IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(number) << 64).to_be_bytes())
    }
}

/// Takes until refused; how many that were.
fn drain(table: &ClientTable, client: IpAddr, now: Nanos) -> u32 {
    let mut taken = 0;
    while table.take(client, now).is_ok() {
        taken += 1;
    }
    taken
}

#[test]
fn each_client_has_a_burst_of_its_own() {
    let table = slow_table(3, 1000);
    for number in 0..100 {
        assert_eq!(drain(&table, client(number), Nanos(0)), 3);
    }
    assert_eq!(table.in_debt(Nanos(0)), 100);
    assert_eq!(table.shared_takes(), 0);
}

#[test]
fn a_token_is_back_after_one_interval_and_the_refusal_says_when() {
    let table = one_set(law(1, 1, 2));
    let client = address("192.0.2.1");
    assert_eq!(drain(&table, client, Nanos(0)), 2);
    let exceeded = table.take(client, Nanos(SECOND / 4)).unwrap_err();
    assert_eq!(exceeded, Exceeded { retry_after: Duration::from_millis(750), law: law(1, 1, 2) });
    assert!(table.take(client, Nanos(SECOND)).is_ok());
    assert!(table.take(client, Nanos(SECOND)).is_err());
}

#[test]
fn a_64_is_one_client_and_an_ipv4_address_is_one_in_every_form() {
    let table = slow_table(1, 1000);
    for (text, is_new) in [
        ("2001:db8:0:1::1", true),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", false),
        ("2001:db8:0:2::1", true),
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", false),
        ("192.0.2.2", true),
        ("::ffff:192.0.2.3", true),
        ("192.0.2.3", false),
        // The /64 of all mapped addresses, and others whose upper half looks like an IPv4 address.
        ("::192.0.2.1", true),
        ("0:0:c000:201::", true),
        ("0.0.0.0", true),
        ("::1", false),
    ] {
        assert_eq!(table.take(address(text), Nanos(0)).is_ok(), is_new, "{text}");
    }
}

#[test]
fn peeking_tells_what_is_left_and_leaves_it() {
    let table = one_set(law(1, 1, 3));
    let client = address("192.0.2.1");
    let level = |tokens, millis| ClientLevel {
        tokens,
        retry_after: Duration::from_millis(millis),
        is_shared: false,
        law: table.law(),
    };
    assert_eq!(table.peek(client, Nanos(0)), level(3, 0));
    assert_eq!(table.peek(client, Nanos(0)), level(3, 0));
    assert!(table.take(client, Nanos(0)).is_ok());
    assert_eq!(table.peek(client, Nanos(0)), level(2, 0));
    assert_eq!(drain(&table, client, Nanos(0)), 2);
    assert_eq!(table.peek(client, Nanos(SECOND / 4)), level(0, 750));
    assert_eq!(table.peek(client, Nanos(SECOND)), level(1, 0));
    assert_eq!(table.peek(client, Nanos(9 * SECOND)), level(3, 0));
    assert_eq!(table.peek(address("192.0.2.2"), Nanos(0)), level(3, 0));
}

#[test]
fn a_slot_is_free_again_when_its_client_owes_nothing() {
    let table = one_set(law(1, 1, 2));
    for round in 0..100 {
        let now = Nanos(u64::from(round) * SECOND);
        for number in 0..16 {
            assert!(table.take(client(round * 16 + number), now).is_ok());
        }
        assert_eq!(table.in_debt(now), 16);
    }
    assert_eq!(table.shared_takes(), 0);
    assert!(!table.is_full(Nanos(99 * SECOND)));
    assert!(table.is_full(Nanos(100 * SECOND)));
}

#[test]
fn clients_without_a_slot_share_one_bucket_and_the_others_notice_nothing() {
    let table = one_set(law(1, 100, 5));
    let (settled, strangers) = (0..16, 16..40);
    for number in settled.clone() {
        assert!(table.take(client(number), Nanos(0)).is_ok());
    }
    let admitted: u32 = strangers.clone().map(|number| u32::from(table.take(client(number), Nanos(0)).is_ok())).sum();
    assert_eq!(admitted, 5);
    assert_eq!(table.shared_takes(), 5);
    assert!(strangers.clone().all(|number| table.peek(client(number), Nanos(0)).is_shared));
    for number in settled {
        assert_eq!(table.peek(client(number), Nanos(0)).tokens, 4);
        assert_eq!(drain(&table, client(number), Nanos(0)), 4);
    }
}

#[test]
fn who_took_from_the_shared_bucket_gets_a_slot_with_that_debt() {
    let table = one_set(law(1, 1, 5));
    for number in 0..16 {
        assert!(table.take(client(number), Nanos(0)).is_ok());
    }
    let stranger = client(16);
    assert_eq!(drain(&table, stranger, Nanos(0)), 5);
    // The slots are free now, and the shared bucket has got one token back.
    let now = Nanos(SECOND);
    let level = table.peek(stranger, now);
    assert_eq!((level.tokens, level.is_shared), (1, false));
    assert_eq!(drain(&table, stranger, now), 1);
    assert_eq!(drain(&table, stranger, Nanos(2 * SECOND)), 1);
    assert_eq!(table.shared_takes(), 5);
    // Who has a slot keeps it, and all of its tokens.
    assert_eq!(table.peek(client(15), Nanos(2 * SECOND)).tokens, 5);
}

#[test]
fn a_table_of_the_default_size_takes_less_than_two_megabytes() {
    let table = slow_table(1, ClientTable::DEFAULT_SLOTS);
    assert_eq!(table.slots(), 65_536);
    assert!(size_of_val(&*table.sets) < 2_000_000);
}

#[test]
fn ten_million_clients_change_neither_the_memory_nor_the_law() {
    let table = slow_table(2, 4096);
    let (sets, slots) = (table.sets.len(), table.slots());
    let in_debt = address("203.0.113.1");
    assert_eq!(drain(&table, in_debt, Nanos(0)), 2);
    let half_in_debt = address("203.0.113.2");
    assert!(table.take(half_in_debt, Nanos(0)).is_ok());
    let admitted: usize = thread::scope(|scope| {
        let flood = |numbers: std::ops::Range<u32>| {
            numbers.filter(|number| table.take(client(*number), Nanos(SECOND)).is_ok()).count()
        };
        let halves = [0..5_000_000, 5_000_000..10_000_000].map(|numbers| scope.spawn(move || flood(numbers)));
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    // One of each client that found a slot, and what the shared buckets had.
    assert_eq!(admitted, slots - 2 + 2 * sets);
    assert_eq!((table.sets.len(), table.slots()), (sets, slots));
    assert_eq!(table.in_debt(Nanos(SECOND)), slots);
    assert!(table.take(in_debt, Nanos(SECOND)).is_err());
    assert_eq!(drain(&table, half_in_debt, Nanos(SECOND)), 1);
}

#[test]
fn a_changed_law_carries_every_debt_on_in_tokens() {
    let table = one_set(law(10, 1, 10));
    let now = Nanos(SECOND);
    for number in 0..16 {
        for _ in 0..4 {
            assert!(table.take(client(number), now).is_ok());
        }
    }
    for _ in 0..7 {
        assert!(table.take(client(99), now).is_ok());
    }
    let wide = law(100, 1, 20);
    table.change_law(wide, now);
    assert_eq!(table.law(), wide);
    assert_eq!(table.peek(client(0), now).tokens, 16);
    assert_eq!(table.peek(client(99), now).tokens, 13);
    assert_eq!(drain(&table, client(1), now), 16);
    table.change_law(law(1, 1, 3), now);
    assert_eq!(drain(&table, client(0), now), 0, "a debt larger than the burst is an empty bucket");
    assert_eq!(drain(&table, client(0), Nanos(2 * SECOND)), 1);
}

#[test]
fn a_table_keeps_the_law_that_it_has() {
    let table = one_set(law(1, 1, 5));
    assert_eq!(drain(&table, client(0), Nanos(7)), 5);
    table.change_law(law(1, 1, 5), Nanos(8));
    assert_eq!(table.take(client(0), Nanos(8)).unwrap_err().retry_after, Duration::from_nanos(SECOND - 1));
}

#[test]
fn a_thread_that_comes_late_with_its_time_admits_nobody_twice() {
    let table = one_set(law(1, 1, 1));
    assert!(table.take(client(0), Nanos(0)).is_ok());
    for number in 1..=16 {
        assert!(table.take(client(number), Nanos(SECOND)).is_ok());
    }
    // The first client's slot went to another when it owed nothing. A request that comes late counts from then on.
    assert!(table.take(client(0), Nanos(SECOND - 1)).is_ok());
    assert!(table.take(client(0), Nanos(2 * SECOND - 1)).is_err());
    assert!(table.take(client(0), Nanos(2 * SECOND)).is_ok());
}

#[test]
fn threads_together_take_exactly_the_burst_of_each_client_even_while_the_law_changes() {
    const CLIENTS: u32 = 8;
    for round in 0..20 {
        let table = slow_table(500, 64);
        let taken: Vec<u32> = thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..CLIENTS).map(|number| drain(&table, client(number), Nanos(0))).collect()))
                .collect();
            if round % 2 == 1 {
                table.change_law(law(1, 43_200, 500), Nanos(0));
            }
            let taken: Vec<Vec<u32>> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
            (0..CLIENTS as usize).map(|client| taken.iter().map(|by_client| by_client[client]).sum()).collect()
        });
        assert_eq!(taken, [500; CLIENTS as usize]);
    }
}

proptest! {
    /// Each client by itself, over every window of a random history with far more clients than slots.
    #[test]
    fn no_window_admits_a_client_more_than_burst_plus_rate_times_its_length(
        rate in 1_u64..50,
        burst in 1_u32..6,
        steps in prop::collection::vec((0_u32..40, 0_u64..40_000_000, 1_usize..6), 1..400),
    ) {
        let table = one_set(law(rate, 1, burst));
        let mut now = 0;
        let mut admitted = vec![Vec::new(); 40];
        for (number, step, times) in steps {
            now += step;
            for _ in 0..times {
                if table.take(client(number), Nanos(now)).is_ok() {
                    admitted[number as usize].push(now);
                }
            }
        }
        for times in admitted {
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let most = u128::from(burst) + u128::from(end - start) * u128::from(rate) / u128::from(SECOND);
                    prop_assert!((last - first + 1) as u128 <= most);
                }
            }
        }
    }

    /// As long as there are slots enough, a client is treated as if it had a bucket to itself, and laws change alike.
    #[test]
    fn with_slots_enough_a_client_has_a_bucket_to_itself(
        laws in prop::collection::vec((1_u64..1000, 1_u32..10), 1..4),
        steps in prop::collection::vec((0_u32..16, 0_u64..20_000_000), 1..200),
    ) {
        let laws: Vec<Law> = laws.into_iter().map(|(rate, burst)| law(rate, 1, burst)).collect();
        let table = one_set(laws[0]);
        let mut buckets: Vec<Arc<Bucket>> = (0..16).map(|_| Bucket::new(laws[0])).collect();
        let mut now = Nanos(0);
        for steps in steps.chunks(1 + 200 / laws.len()).zip(&laws) {
            let (steps, law) = steps;
            table.change_law(*law, now);
            for bucket in &mut buckets {
                *bucket = bucket.under(*law, now);
            }
            for (number, step) in steps {
                now.0 += step;
                let bucket = &buckets[*number as usize];
                let level = table.peek(client(*number), now);
                let wait = bucket.peek(now).err().map_or(Duration::ZERO, |exceeded| exceeded.retry_after);
                prop_assert_eq!((level.tokens > 0, level.retry_after), (wait.is_zero(), wait));
                prop_assert_eq!(table.take(client(*number), now).map(drop), bucket.take(now));
                prop_assert_eq!(table.peek(client(*number), now).tokens, bucket.left(now));
            }
        }
        prop_assert_eq!(table.shared_takes(), 0);
    }
}
