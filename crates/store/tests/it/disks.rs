//! Disks that fill up or turn read-only, in mount namespaces of their own.

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use gatepost_meter::{Granted, Ledger, Period, Unavailable};
use gatepost_store::{Store, StoreError, UsageDelta, UsageFilter};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::client::{NOON, account, ask, grant, until};

/// Set in the namespace.
const INSIDE: &str = "GATEPOST_TEST_INSIDE";

/// Runs `body` on a file system of 512 KiB, where nobody else sees it.
fn on_a_small_disk(test: &str, body: impl FnOnce(&Path)) {
    if env::var_os(INSIDE).is_none() {
        let status = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", &format!("disks::{test}"), "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("unshare, of util-linux");
        assert!(status.success(), "{test}, in a namespace: {status}");
        return;
    }
    let directory = TempDir::new().expect("a directory");
    mount(&["-t", "tmpfs", "-o", "size=512k", "gatepost-test"], directory.path());
    body(directory.path());
    // The namespace takes the mount with it.
    assert!(Command::new("umount").arg("--lazy").arg(directory.path()).status().expect("umount").success());
}

fn mount(arguments: &[&str], place: &Path) {
    assert!(Command::new("mount").args(arguments).arg(place).status().expect("mount").success(), "{arguments:?}");
}

/// Writes a file until no space is left.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    while file.write_all(&[0; 4_096]).is_ok() {}
}

fn delta(route: usize) -> UsageDelta {
    UsageDelta {
        caller: "acme".into(),
        api: "shop".into(),
        route: format!("GET /{route}/{}", "long".repeat(50)).into(),
        day: "2026-11-20".parse().expect("a day"),
        admitted: 1,
        refused: 0,
        bytes_out: 0,
    }
}

#[test]
#[ignore = "needs root: mounts a small tmpfs"]
fn a_full_disk_grants_nothing_and_loses_nothing() {
    on_a_small_disk("a_full_disk_grants_nothing_and_loses_nothing", |directory| {
        let store = Store::open(directory).unwrap();
        assert_eq!(grant(&store, 10, 1_000), Ok(Granted { units: 10, total: 10 }));
        let filler = directory.join("filler");
        fill(&filler);
        // The files may have some room left in them.
        let mut recorded = 0;
        let mut granted = 10;
        until("the disk is full", || {
            store.trouble().is_some() || {
                store.record(vec![delta(0)]).unwrap();
                ask(&store, "caller/filler/requests", 1, u64::MAX).recv().unwrap().is_err()
            }
        });
        for route in 1..200 {
            store.record(vec![delta(route)]).unwrap();
            recorded += 1;
        }
        store.give_back(&account(), Period::Day.at(NOON), 4);
        granted -= 4;
        assert_eq!(grant(&store, 10, 1_000), Err(Unavailable));
        assert!(store.flush().is_err());
        assert!(matches!(store.trouble().as_deref(), Some(StoreError::Full { .. })), "{:?}", store.trouble());
        // What is there can be read.
        assert_eq!(store.granted(&account()).unwrap()[0].granted, 10);
        fs::remove_file(&filler).unwrap();
        until("there is room", || store.flush().is_ok());
        assert_eq!(grant(&store, 10, 1_000), Ok(Granted { units: 10, total: granted + 10 }));
        let usage = store.usage(&UsageFilter::default()).unwrap();
        assert_eq!(usage.iter().filter(|row| !row.route.starts_with("GET /0/")).count(), recorded);
        assert!(usage.iter().all(|row| row.admitted == 1 || row.route.starts_with("GET /0/")));
    });
}

#[test]
#[ignore = "needs root: mounts a small tmpfs"]
fn a_disk_that_turns_read_only_grants_nothing_until_it_can_be_written_again() {
    on_a_small_disk("a_disk_that_turns_read_only_grants_nothing_until_it_can_be_written_again", |directory| {
        let store = Store::open(directory).unwrap();
        assert!(grant(&store, 10, 1_000).is_ok());
        // A disk cannot be made read-only while files are open on it: so first a failure that makes the store close its.
        let other = Connection::open(directory.join("gatepost.db")).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert_eq!(grant(&store, 10, 1_000), Err(Unavailable));
        drop(other);
        mount(&["-o", "remount,ro"], directory);
        until("it is seen", || {
            assert_eq!(grant(&store, 10, 1_000), Err(Unavailable));
            matches!(store.trouble().as_deref(), Some(StoreError::ReadOnly { .. }))
        });
        let error = Store::open(directory).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
        mount(&["-o", "remount,rw"], directory);
        until("it grants again", || grant(&store, 10, 1_000) == Ok(Granted { units: 10, total: 20 }));
        assert!(store.trouble().is_none());
    });
}
