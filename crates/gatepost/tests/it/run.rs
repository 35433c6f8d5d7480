//! `gatepost run`: what keeps it from starting, and what it leaves behind.

use std::fs;
use std::net::TcpListener;

use gatepost_testkit::{PATIENCE, Process};

use crate::home::{Home, answering, free_address, get};

#[tokio::test]
async fn a_port_that_another_program_has_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Home::new(&answering("a").replace("127.0.0.1:0", &address));
    let (code, stdout, stderr) = home.outcome(&["run"]).await;
    assert_eq!((code, &*stdout), (4, ""), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
}

#[tokio::test]
async fn an_admin_port_that_another_program_has_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Home::new(&answering("a").replace("\"off\"", &format!("\"{address}\"")));
    let (code, _, stderr) = home.outcome(&["run"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains(&format!("the admin listener at {address}: ")), "{stderr}");
    assert!(stderr.contains("`admin`"), "{stderr}");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_state_is_refused_and_the_first_serves_on() {
    let home = Home::new(&answering("first"));
    let (_first, address) = home.run().await;
    home.write("second.toml", &answering("second"));
    let (code, _, stderr) = home.outcome(&["run", "second.toml"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("another gatepost runs on the state directory gatepost-state"), "{stderr}");
    assert_eq!(get(address, "/a").await.text(), "first");

    home.write("third.toml", &answering("third").replace("[server]", "[server]\nstate = \"elsewhere\""));
    let mut third = home.gatepost(&["run", "third.toml"]);
    let address = third.address().await;
    assert_eq!(get(address, "/a").await.text(), "third");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_port_is_refused_by_its_state() {
    let port = free_address().to_string();
    let home = Home::new(&answering("first").replace("127.0.0.1:0", &port));
    let (_first, address) = home.run().await;
    let (code, _, stderr) = home.outcome(&["run"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert_eq!(get(address, "/a").await.text(), "first");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_port_is_refused_whatever_its_state_is() {
    let port = free_address().to_string();
    let home = Home::new(&answering("first").replace("127.0.0.1:0", &port));
    let (_first, address) = home.run().await;
    // As a copy of the folder has it: the same listener, and a state directory of its own.
    let copy = Home::new(&answering("second").replace("127.0.0.1:0", &port));
    let (code, stdout, stderr) = copy.outcome(&["run"]).await;
    assert_eq!((code, &*stdout), (4, ""), "{stderr}");
    assert!(stderr.contains(&port), "{stderr}");
    assert!(!stderr.contains("listening on"), "{stderr}");

    // Nor does one that runs already come by it.
    let other = Home::new(&answering("third"));
    let (mut third, elsewhere) = other.run().await;
    other.write("gatepost.toml", &answering("fourth").replace("127.0.0.1:0", &port));
    let line = third.wait_for_line("not reloaded", PATIENCE).await;
    assert!(line.contains(&port), "{line}");
    assert_eq!(get(elsewhere, "/a").await.text(), "third");
    for _ in 0..20 {
        assert_eq!(get(address, "/a").await.text(), "first");
    }
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_made_is_named() {
    let home = Home::new(&answering("a"));
    home.write("gatepost-state", "a file");
    let (code, _, stderr) = home.outcome(&["run"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("gatepost-state"), "{stderr}");
    assert_eq!(home.read("gatepost-state"), "a file");
}

#[tokio::test]
async fn an_access_log_that_cannot_be_opened_is_named() {
    let home = Home::new(&(answering("a") + "[log]\naccess = \"file:no/such/access.log\"\n"));
    let (code, _, stderr) = home.outcome(&["run"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("no/such/access.log"), "{stderr}");
}

#[tokio::test]
async fn nothing_is_left_listening_by_a_start_that_failed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = free_address();
    let both = format!("[\"{free}\", \"{}\"]", taken.local_addr().unwrap());
    let text = answering("a").replace("listen = \"127.0.0.1:0\"", &format!("[listen.both]\naddresses = {both}"));
    let home = Home::new(&text);
    let (code, _, stderr) = home.outcome(&["run"]).await;
    assert_eq!(code, 4, "{stderr}");
    drop(taken);
    let (_running, address) = home.run().await;
    assert_eq!(get(address, "/a").await.text(), "a");
}

#[tokio::test]
async fn killed_without_warning_it_starts_again_on_the_same_state() {
    let port = free_address().to_string();
    let home = Home::new(&answering("a").replace("127.0.0.1:0", &port));
    for _ in 0..3 {
        let (mut running, address) = home.run().await;
        assert_eq!(get(address, "/a").await.text(), "a");
        running.signal("KILL");
        assert_eq!(running.wait_exit(PATIENCE).await, 128 + 9);
    }
}

#[tokio::test]
async fn paths_are_relative_to_the_file_that_names_them() {
    let home = Home::empty();
    let text = answering("a") + "[log]\naccess = \"file:access.log\"\n";
    home.write("below/gatepost.toml", &text);
    let mut running = home.gatepost(&["run", "below/gatepost.toml"]);
    let address = running.address().await;
    get(address, "/a").await;
    stop(&mut running).await;
    assert!(home.path("below/gatepost-state/lock").exists());
    assert_eq!(home.read("below/access.log").lines().count(), 1);
    let mut names: Vec<_> = fs::read_dir(home.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["below"]);
}

#[tokio::test]
async fn what_happens_goes_to_standard_error_only() {
    let home = Home::new(&(answering("a") + "[log]\naccess = \"off\"\n"));
    let (mut running, address) = home.run().await;
    get(address, "/a").await;
    stop(&mut running).await;
    assert_eq!(running.stdout(), [""; 0]);
    let said = running.stderr().join("\n");
    assert!(said.contains("listening on http://127.0.0.1:"), "{said}");
    assert!(said.contains("(default)"), "{said}");
    assert!(said.ends_with("stopped"), "{said}");
}

#[tokio::test]
async fn the_demo_backend_tells_what_it_received() {
    let home = Home::empty();
    let mut backend = home.gatepost(&["demo-backend", "--listen", "127.0.0.1:0"]);
    let address = address_of_backend(&mut backend).await;
    let answer = get(address, "/hello?a=1").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("\"path\": \"/hello?a=1\""), "{}", answer.text());

    let (code, _, stderr) = home.outcome(&["demo-backend", "--listen", &address.to_string()]).await;
    assert_eq!(code, 4);
    assert!(stderr.contains(&address.to_string()), "{stderr}");
}

/// Where the demo's backend is, once it says so.
pub(crate) async fn address_of_backend(backend: &mut Process) -> std::net::SocketAddr {
    let line = backend.wait_for_line("the demo backend listens on http://", PATIENCE).await;
    line.rsplit("http://").next().unwrap().parse().unwrap()
}

async fn stop(running: &mut Process) {
    running.signal("TERM");
    assert_eq!(running.wait_exit(PATIENCE).await, 0, "{}", running.said());
}
