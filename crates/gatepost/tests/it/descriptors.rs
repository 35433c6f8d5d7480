//! What a process holds: descriptors and threads.

use std::fs;
use std::process::Command;

use gatepost_testkit::{PATIENCE, Process, Raw, eventually};

use crate::home::{GATEPOST, Home, answering, free_address, get_body};

#[tokio::test]
async fn a_shells_low_limit_of_open_files_is_raised() {
    let home = Home::new(&answering("a"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -Sn 64 && exec \"$0\" run", GATEPOST]);
    let mut running = home.start(shell);
    let address = running.address().await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = Raw::connect(address).await;
        assert_eq!(client.get("/a").await.text(), "a");
        clients.push(client);
    }
    assert!(held(&running) > 200, "{}", held(&running));
}

#[tokio::test]
async fn closed_connections_and_reloads_leave_nothing_behind() {
    let with = |number: usize, extra: &str| {
        let listen = format!("[listen.main]\naddresses = [\"127.0.0.1:0\"]\n{extra}");
        answering(&format!("v{number}")).replace("listen = \"127.0.0.1:0\"", &listen)
            + "[log]\naccess = \"file:access.log\"\n"
    };
    let home = Home::new(&with(0, ""));
    let (running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    get_body(&mut client, "v0").await;
    // Once round, so that whatever is made once has been made.
    let mut rounds = async |from: usize| {
        for number in from..from + 6 {
            let other = free_address();
            let extra = if number % 2 == 0 { "" } else { &format!("[listen.extra]\naddresses = [\"{other}\"]\n") };
            home.replace("gatepost.toml", &with(number, extra));
            get_body(&mut client, &format!("v{number}")).await;
            let mut visitor = Raw::connect(address).await;
            assert_eq!(visitor.get("/a").await.text(), format!("v{number}"));
        }
    };
    rounds(1).await;
    let before = settled(&running).await;
    rounds(7).await;
    rounds(13).await;
    // Connections and files end behind the scenes, so this holds soon, not at once.
    eventually(PATIENCE, || held(&running) <= before).await;
    let threads = fs::read_dir(format!("/proc/{}/task", running.id())).unwrap().count();
    assert!(threads <= 16, "{threads} threads");
}

/// How many descriptors it holds once that number has stopped falling.
async fn settled(process: &Process) -> usize {
    let (mut lowest, mut same) = (held(process), 0);
    eventually(PATIENCE, || {
        let now = held(process);
        same = if now < lowest { 0 } else { same + 1 };
        lowest = lowest.min(now);
        same >= 40
    })
    .await;
    lowest
}

/// How many descriptors a process holds.
fn held(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count()
}
