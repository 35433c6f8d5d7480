//! What a kill at any moment leaves behind.

use std::env;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
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

/// What the child process does: for each byte that it is sent it takes a unit, and says so, until they are spent.
#[test]
fn child_that_takes_units() {
    let Ok(directory) = env::var(DIRECTORY) else { return };
    let store = Arc::new(Store::open(Path::new(&directory)).unwrap());
    let quota = Quota::new(account(), requests(LIMIT), store as Arc<dyn Ledger>);
    for _ in stdin().lock().bytes() {
        if take_all(&quota, 1) == 0 {
            return;
        }
        stdout().write_all(b"taken\n").unwrap();
    }
}

fn start(directory: &TempDir) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "crashes::child_that_takes_units", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

#[test]
fn killed_at_any_moment_and_started_again_nobody_gets_more_than_the_limit() {
    let directory = TempDir::new().unwrap();
    let mut taken = 0;
    for kill in 0..=KILLS {
        let mut child = start(&directory);
        // The last one may take all that is left.
        let (enough, sent) = if kill == KILLS { (u64::MAX, LIMIT + 1) } else { (1 + kill * 37 % 301, 500) };
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&vec![b'.'; usize::try_from(sent).unwrap()]).unwrap();
        let mut said = 0;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in lines.map_while(Result::ok).filter(|line| line.ends_with("taken")) {
            said += 1;
            if said == enough {
                // It is somewhere between two units, or in the middle of a grant.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        taken += said;
        assert!(taken <= LIMIT, "{taken} after {kill} kills");
    }
    // A kill loses a grant at most, and the unit that was taken and not told of any more.
    let lost = KILLS * (requests(LIMIT).largest_grant() + 1);
    assert!(taken + lost >= LIMIT, "{taken}");
}
