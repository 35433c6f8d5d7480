//! What the store promises to those who use it and to those who look into its file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;

use gatepost_meter::{Granted, Ledger, Period, Quota, Unavailable, UnixSeconds};
use gatepost_store::{Day, GrantRow, KeyUse, Store, StoreError, UsageDelta, UsageFilter, UsagePlace, UsageRow};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::client::{NOON, account, ask, grant, requests, take_all, until};

fn delta(caller: &str, route: &str, day: &str, admitted: u64, bytes_out: u64) -> UsageDelta {
    UsageDelta {
        caller: caller.into(),
        api: "shop".into(),
        route: route.into(),
        day: day.parse().expect("a day"),
        admitted,
        refused: 1,
        bytes_out,
    }
}

fn row(caller: &str, route: &str, day: &str, admitted: u64, refused: u64, bytes_out: u64) -> UsageRow {
    let (caller, api, route, day) = (caller.to_owned(), "shop".to_owned(), route.to_owned(), day.to_owned());
    UsageRow { day, caller, api, route, admitted, refused, bytes_out }
}

/// A second connection, as of somebody with `sqlite3`.
fn by_hand(directory: &TempDir) -> Connection {
    Connection::open(directory.path().join("gatepost.db")).expect("a database")
}

#[test]
fn a_grant_is_never_more_than_the_limit_and_outlives_the_store() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(grant(&store, 60, 100), Ok(Granted { units: 60, total: 60 }));
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(grant(&store, 60, 100), Ok(Granted { units: 40, total: 100 }));
    assert_eq!(grant(&store, 60, 100), Ok(Granted { units: 0, total: 100 }));
    assert_eq!(store.granted(&account()).unwrap(), [GrantRow { label: "2026-11-20".to_owned(), granted: 100 }]);
    assert_eq!(store.granted("caller/other/requests").unwrap(), []);
}

#[test]
fn what_is_given_back_is_there_for_the_next_ask() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(grant(&store, 100, 100).is_ok());
    store.give_back(&account(), Period::Day.at(NOON), 30);
    assert_eq!(grant(&store, 100, 100), Ok(Granted { units: 30, total: 100 }));
    // More than was granted, or in a window without grants: then nothing was.
    store.give_back(&account(), Period::Day.at(NOON), 1_000);
    store.give_back(&account(), Period::Month.at(NOON), 1_000);
    assert_eq!(grant(&store, 100, 100), Ok(Granted { units: 100, total: 100 }));
}

#[test]
fn a_grant_does_not_wait_until_much_usage_is_written() {
    const ROWS: usize = 50_000;
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let rows = (0..ROWS).map(|number| delta("acme", &format!("GET /{number}"), "2026-11-20", 1, 0));
    store.record(rows.collect()).unwrap();
    assert!(grant(&store, 1, 100).is_ok());
    let written = store.usage(&UsageFilter::default()).unwrap().len();
    assert!(written < ROWS, "all was written before");
    store.flush().unwrap();
    assert_eq!(store.usage(&UsageFilter::default()).unwrap().len(), ROWS);
}

#[test]
fn what_is_given_back_is_there_for_the_next_ask_also_while_much_is_written() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let names: Vec<Arc<str>> = (0..5_000).map(|number| format!("caller/{number}/requests").into()).collect();
    let granted = |units| Ok(Granted { units, total: 5 });
    let answers: Vec<_> = names.iter().map(|name| ask(&store, name, 5, 5)).collect();
    assert!(answers.into_iter().all(|answer| answer.recv().unwrap() == granted(5)));
    names.iter().for_each(|name| store.give_back(name, Period::Day.at(NOON), 3));
    let answers: Vec<_> = names.iter().rev().map(|name| ask(&store, name, 5, 5)).collect();
    assert!(answers.into_iter().all(|answer| answer.recv().unwrap() == granted(3)));
}

#[test]
fn a_quota_counts_on_after_a_restart_and_a_clean_stop_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let mut taken = 0;
    for _ in 0..3 {
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let quota = Quota::new(account(), requests(1_000), Arc::clone(&store) as Arc<dyn Ledger>);
        taken += take_all(&quota, 200);
        quota.close();
        store.close();
        assert_eq!(store.granted(&account()).unwrap()[0].granted, taken);
    }
    let store: Arc<dyn Ledger> = Arc::new(Store::open(directory.path()).unwrap());
    let quota = Quota::new(account(), requests(1_000), store);
    assert_eq!(taken + take_all(&quota, u64::MAX), 1_000);
}

#[test]
fn many_accounts_are_granted_at_once() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let answers: Vec<_> = (0..10_000).map(|number| ask(&store, &format!("caller/{number}/requests"), 5, 10)).collect();
    for answer in answers {
        assert_eq!(answer.recv().unwrap(), Ok(Granted { units: 5, total: 5 }));
    }
}

#[test]
fn at_a_stop_every_account_gets_back_what_it_did_not_use() {
    const ACCOUNTS: usize = 100_000;
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let names: Vec<Arc<str>> = (0..ACCOUNTS).map(|number| format!("caller/{number}/requests").into()).collect();
    for some in names.chunks(10_000) {
        let answers: Vec<_> = some.iter().map(|name| ask(&store, name, 5, 10)).collect();
        assert!(answers.into_iter().all(|answer| answer.recv().unwrap().is_ok()));
    }
    // All of them come while nothing can be written.
    let hand = by_hand(&directory);
    hand.execute_batch("BEGIN IMMEDIATE").unwrap();
    for name in &names {
        store.give_back(name, Period::Day.at(NOON), 5);
    }
    hand.execute_batch("COMMIT").unwrap();
    store.flush().unwrap();
    let kept: i64 = hand.query_row("SELECT sum(granted) FROM grants", (), |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
}

#[test]
fn threads_that_share_a_store_are_granted_the_limit_and_no_more() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let granted: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..50).map(|_| grant(&store, 3, 1_000).expect("granted").units).sum::<u64>()))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(granted, 1_000);
}

#[test]
fn usage_adds_up_by_caller_route_and_day() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store
        .record(vec![delta("acme", "GET /a", "2026-11-20", 2, 10), delta("acme", "GET /a", "2026-11-20", 3, 5)])
        .unwrap();
    store.flush().unwrap();
    store
        .record(vec![
            delta("acme", "GET /a", "2026-11-20", 1, u64::MAX),
            delta("acme", "GET /a", "2026-11-21", 1, 0),
            delta("beta", "GET /a", "2026-11-20", 7, 0),
            delta("acme", "GET /b", "2026-11-20", 9, 0),
        ])
        .unwrap();
    store.flush().unwrap();
    let first = row("acme", "GET /a", "2026-11-20", 6, 3, u64::MAX / 2);
    let second = row("acme", "GET /b", "2026-11-20", 9, 1, 0);
    let third = row("beta", "GET /a", "2026-11-20", 7, 1, 0);
    let fourth = row("acme", "GET /a", "2026-11-21", 1, 1, 0);
    let by = |caller: Option<&str>, from: Option<&str>, to: Option<&str>| {
        let day = |text: Option<&str>| text.map(|text| text.parse::<Day>().expect("a day"));
        store
            .usage(&UsageFilter {
                caller: caller.map(str::to_owned),
                from: day(from),
                to: day(to),
                ..UsageFilter::default()
            })
            .unwrap()
    };
    assert_eq!(by(None, None, None), [first.clone(), second.clone(), third.clone(), fourth.clone()]);
    assert_eq!(by(Some("acme"), None, Some("2026-11-20")), [first, second]);
    assert_eq!(by(None, Some("2026-11-21"), None), [fourth]);
    assert_eq!(by(Some("beta"), None, None), [third]);
    assert_eq!(by(Some("nobody"), None, None), []);
}

#[test]
fn of_a_key_the_latest_use_is_remembered() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let used = |key: u8, at: i64| KeyUse { key: [key; 32], at: UnixSeconds(at) };
    store.keys_used(vec![used(2, 100), used(2, 90), used(1, 5)]);
    store.flush().unwrap();
    store.keys_used(vec![used(2, 50), used(1, 6)]);
    store.flush().unwrap();
    assert_eq!(store.last_use().unwrap(), [used(1, 6), used(2, 100)]);
}

#[test]
fn closing_writes_what_waits_and_then_nothing_is_taken_any_more() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.record(vec![delta("acme", "GET /a", "2026-11-20", 2, 10)]).unwrap();
    store.close();
    store.close();
    assert_eq!(store.usage(&UsageFilter::default()).unwrap().len(), 1);
    assert_eq!(grant(&store, 1, 1), Err(Unavailable));
    let refused = store.record(vec![delta("acme", "GET /a", "2026-11-20", 2, 10)]).unwrap_err();
    assert_eq!(refused.0.len(), 1);
    assert!(matches!(*store.flush().unwrap_err(), StoreError::Closed { .. }));
}

#[test]
fn the_last_to_hold_the_store_may_be_a_quota_that_waits_for_it() {
    let directory = TempDir::new().unwrap();
    for _ in 0..50 {
        let store: Arc<dyn Ledger> = Arc::new(Store::open(directory.path()).unwrap());
        let quota = Quota::new(account(), requests(1_000_000), store);
        // An ask is under way when the quota goes, and has the store with it.
        let _ = quota.take(1, NOON);
        drop(quota);
    }
}

#[test]
fn the_file_is_for_its_owner_only() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(grant(&store, 1, 1).is_ok());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["gatepost.db", "gatepost.db-shm", "gatepost.db-wal"]);
}

#[test]
fn it_can_be_read_while_it_is_written_and_afterwards() {
    let directory = TempDir::new().unwrap();
    assert!(matches!(Store::open_read_only(directory.path()), Err(StoreError::Missing { .. })));
    let store = Store::open(directory.path()).unwrap();
    let reader = Store::open_read_only(directory.path()).unwrap();
    assert_eq!(reader.granted(&account()).unwrap(), []);
    for total in 1..=20 {
        assert!(grant(&store, 1, 100).is_ok());
        assert_eq!(reader.granted(&account()).unwrap()[0].granted, total);
    }
    drop((store, reader));
    let reader = Store::open_read_only(directory.path()).unwrap();
    assert_eq!(reader.granted(&account()).unwrap()[0].granted, 20);
}

#[test]
fn a_lock_of_another_program_makes_it_unavailable_until_it_ends() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let other = by_hand(&directory);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    store.record(vec![delta("acme", "GET /a", "2026-11-20", 2, 10)]).unwrap();
    assert_eq!(grant(&store, 1, 100), Err(Unavailable));
    assert!(matches!(store.trouble().as_deref(), Some(StoreError::Busy { .. })));
    assert!(store.flush().is_err());
    other.execute_batch("COMMIT").unwrap();
    until("it grants again", || grant(&store, 1, 100).is_ok());
    assert!(store.trouble().is_none());
    // And the usage was not forgotten, nor counted twice.
    assert_eq!(store.usage(&UsageFilter::default()).unwrap(), [row("acme", "GET /a", "2026-11-20", 2, 1, 10)]);
}

#[test]
fn what_could_not_be_written_is_kept_and_written_once_when_it_can_be() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(grant(&store, 10, 100).is_ok());
    let other = by_hand(&directory);
    other.execute_batch("CREATE TRIGGER no BEFORE UPDATE ON grants BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    store.give_back(&account(), Period::Day.at(NOON), 4);
    assert!(store.flush().is_err());
    for day in 1..=30 {
        store.record(vec![delta("acme", "GET /a", &format!("2026-11-{day:02}"), 1, 0)]).unwrap();
        assert_eq!(ask(&store, "caller/other/requests", 1, 100).recv(), Ok(Err(Unavailable)));
    }
    assert!(store.trouble().is_some());
    other.execute_batch("DROP TRIGGER no").unwrap();
    until("it is written", || store.flush().is_ok());
    assert_eq!(store.usage(&UsageFilter::default()).unwrap().len(), 30);
    assert_eq!(grant(&store, 4, 10), Ok(Granted { units: 4, total: 10 }));
}

#[test]
fn a_file_that_was_taken_away_is_missed_and_not_made_anew() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(grant(&store, 1, 100).is_ok());
    let (file, away) = (directory.path().join("gatepost.db"), directory.path().join("away.db"));
    fs::rename(&file, &away).unwrap();
    for _ in 0..2 {
        assert_eq!(grant(&store, 1, 100), Err(Unavailable));
        assert!(matches!(store.trouble().as_deref(), Some(StoreError::Missing { .. })), "{:?}", store.trouble());
    }
    assert!(!file.exists());
    fs::rename(&away, &file).unwrap();
    until("it is back", || grant(&store, 1, 100) == Ok(Granted { units: 1, total: 2 }));
}

#[test]
fn of_a_file_that_was_replaced_nothing_is_granted_before_the_new_one_was_looked_into() {
    let (directory, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let old = Store::open(other.path()).unwrap();
    assert!(grant(&old, 70, 100).is_ok());
    drop(old);
    let store = Store::open(directory.path()).unwrap();
    assert!(grant(&store, 10, 100).is_ok());
    for name in ["gatepost.db", "gatepost.db-wal", "gatepost.db-shm"] {
        fs::rename(directory.path().join(name), directory.path().join(format!("away-{name}"))).unwrap();
    }
    fs::rename(other.path().join("gatepost.db"), directory.path().join("gatepost.db")).unwrap();
    assert_eq!(grant(&store, 10, 100), Err(Unavailable));
    assert!(matches!(store.trouble().as_deref(), Some(StoreError::Replaced { .. })), "{:?}", store.trouble());
    until("it is opened", || grant(&store, 50, 100) == Ok(Granted { units: 30, total: 100 }));
}

#[test]
fn a_pruned_window_starts_anew() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(grant(&store, 100, 100).is_ok());
    by_hand(&directory).execute("DELETE FROM grants WHERE label < '2026-12'", ()).unwrap();
    assert_eq!(grant(&store, 100, 100), Ok(Granted { units: 100, total: 100 }));
}

#[test]
fn a_file_of_somebody_else_is_not_touched() {
    let directory = TempDir::new().unwrap();
    by_hand(&directory).execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").unwrap();
    let before = fs::read(directory.path().join("gatepost.db")).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::Foreign { .. })));
    assert!(matches!(Store::open_read_only(directory.path()), Err(StoreError::Foreign { .. })));
    assert_eq!(fs::read(directory.path().join("gatepost.db")).unwrap(), before);
    fs::write(directory.path().join("gatepost.db"), "something else\n".repeat(1_000)).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::Foreign { .. })));
}

#[test]
fn a_file_of_a_newer_program_is_not_touched() {
    let directory = TempDir::new().unwrap();
    drop(Store::open(directory.path()).unwrap());
    by_hand(&directory).execute_batch("PRAGMA user_version = 99").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_damaged_file_is_told_of_and_nothing_is_granted() {
    let directory = TempDir::new().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let path = directory.path().join("gatepost.db");
    let mut bytes = fs::read(&path).unwrap();
    // All but the first page, in which the schema is.
    bytes[4_096..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    match Store::open(directory.path()) {
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(store) => {
            assert_eq!(grant(&store, 1, 1), Err(Unavailable));
            assert!(matches!(store.trouble().as_deref(), Some(StoreError::Damaged { .. })));
        }
    }
}

#[test]
fn a_directory_that_is_not_there_is_told_of() {
    let directory = TempDir::new().unwrap();
    let error = Store::open(&directory.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, StoreError::Create { .. }), "{error}");
}

#[test]
fn usage_is_read_part_by_part_and_no_row_twice() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let days = ["2026-11-19", "2026-11-20"];
    let rows =
        days.into_iter().flat_map(|day| (0..25).map(move |number| delta("acme", &format!("GET /{number}"), day, 1, 0)));
    store.record(rows.collect()).unwrap();
    store.flush().unwrap();
    let all = store.usage(&UsageFilter::default()).unwrap();
    let (mut parts, mut after) = (Vec::new(), None);
    loop {
        let part = store.usage(&UsageFilter { after, limit: Some(7), ..UsageFilter::default() }).unwrap();
        let Some(last) = part.last().cloned() else { break };
        assert!(part.len() <= 7);
        let UsageRow { day, caller, api, route, .. } = last;
        after = Some(UsagePlace { day, caller, api, route });
        parts.extend(part);
    }
    assert_eq!((parts.len(), parts), (50, all));
}

#[test]
fn the_last_use_of_one_key_is_read_by_itself() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.keys_used(vec![KeyUse { key: [7; 32], at: UnixSeconds(77) }, KeyUse { key: [8; 32], at: UnixSeconds(88) }]);
    store.flush().unwrap();
    let reader = Store::open_read_only(directory.path()).unwrap();
    assert_eq!(reader.last_use_of(&[8; 32]).unwrap(), Some(UnixSeconds(88)));
    assert_eq!(reader.last_use_of(&[9; 32]).unwrap(), None);
}
