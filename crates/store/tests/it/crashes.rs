//! What a kill at any moment leaves behind.

use std::env;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gatepost_meter::{Ledger, Quota};
use gatepost_store::Store;
use tempfile::TempDir;

use crate::client::{account, requests, take_all};

/// Tells the child process where the store is.
const DIRECTORY: &str = "GATEPOST_TEST_STORE";

const LIMIT: u64 = 20_000;
const KILLS: u64 = 40;

/// What the child process does: it takes units until they are spent, and says so of each.
#[test]
fn child_that_takes_units() {
    let Ok(directory) = env::var(DIRECTORY) else { return };
    let store = Arc::new(Store::open(Path::new(&directory)).unwrap());
    let quota = Quota::new(account(), requests(LIMIT), store as Arc<dyn Ledger>);
    while take_all(&quota, 1) == 1 {
        stdout().write_all(b"taken\n").unwrap();
    }
}

fn start(directory: &TempDir) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crashes::child_that_takes_units", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn killed_at_any_moment_and_started_again_nobody_gets_more_than_the_limit() {
    let directory = TempDir::new().unwrap();
    let mut taken = 0;
    for kill in 0..=KILLS {
        let mut child = start(&directory);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The last one may take all that is left.
        let enough = if kill == KILLS { u64::MAX } else { kill * 37 % 301 };
        let mut said = 0;
        for line in lines.map_while(Result::ok).filter(|line| line.ends_with("taken")) {
            said += 1;
            if said == enough {
                child.kill().unwrap();
            }
        }
        if enough == 0 {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        taken += said;
        assert!(taken <= LIMIT, "{taken} after {kill} kills");
    }
    // A kill loses a grant at most, and the unit that was taken and not told of any more.
    let lost = KILLS * (requests(LIMIT).largest_grant() + 1);
    assert!(taken + lost >= LIMIT, "{taken}");
}
