//! What the watch over the files must not miss, and must not do.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use gatepost_testkit::{PATIENCE, Process, Raw, eventually};
use tokio::time::{Instant, sleep};

use crate::home::{Home, answering, free_address, get_body};

#[tokio::test]
async fn a_gateway_at_rest_does_not_read_its_files_again_and_again() {
    let home = Home::new(&answering("v1"));
    let (running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    home.write("a-neighbour", "");
    home.write("gatepost.toml", &answering("v2"));
    get_body(&mut client, "v2").await;
    // It comes to rest: for a second, it reads nothing.
    let mut last = (Instant::now(), bytes_read(&running));
    eventually(PATIENCE, || {
        let now = bytes_read(&running);
        if now != last.1 {
            last = (Instant::now(), now);
        }
        last.0.elapsed() >= Duration::from_secs(1)
    })
    .await;
}

#[tokio::test]
async fn what_holds_the_same_as_before_is_no_change() {
    let home = Home::new(&answering("v1"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    home.write("gatepost.toml", &answering("v1"));
    home.replace("gatepost.toml", &answering("v1"));
    home.write("a-neighbour", "1");
    home.write("gatepost.toml", &answering("v2"));
    get_body(&mut client, "v2").await;
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    let reloads = running.stderr().iter().filter(|line| line.contains("INFO reloaded")).count();
    assert_eq!(reloads, 1, "{}", running.said());
}

#[tokio::test]
async fn a_change_is_noticed_while_the_access_log_beside_it_grows() {
    let with = |body: &str| answering(body) + "[log]\naccess = \"file:access.log\"\n";
    let home = Home::new(&with("v1"));
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/a").await.text(), "v1");
    home.write("gatepost.toml", &with("v2"));
    // Each of these requests is a line in the log.
    get_body(&mut client, "v2").await;
}

#[tokio::test]
async fn an_edit_during_a_reload_is_not_lost() {
    // Long enough to load that there is something to hit.
    let addresses: String = (0..60_000).map(|n| format!("10.{}.{}.0/25\n", n / 256 % 256, n % 256)).collect();
    let with = |body: &str| {
        answering(body).replace("open    = true", "from = [\"many\", \"127.0.0.1\"]")
            + "[addresses.many]\nfile = \"many.txt\"\n"
    };
    let home = Home::new(&with("v0"));
    home.write("many.txt", &addresses);
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/a").await.text(), "v0");
    let mut started = Instant::now();
    running.signal("HUP");
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    let whole = started.elapsed();

    for step in 0..8_u32 {
        started = Instant::now();
        running.signal("HUP");
        // Each time at another moment of the reload.
        let moment = whole * step / 8;
        while started.elapsed() < moment {
            sleep(Duration::from_millis(1)).await;
        }
        home.replace("gatepost.toml", &with(&format!("v{}", step + 1)));
        get_body(&mut client, &format!("v{}", step + 1)).await;
    }
}

#[tokio::test]
async fn the_files_of_a_configuration_with_a_failing_example_are_watched() {
    let home = Home::new(&answering("old"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let example = "example = [{ from = \"127.0.0.1\", method = \"GET\", path = \"/a\", expect = \"admitted\" }]";
    let text = answering("new").replace("open    = true", &format!("from = [\"us\"]\n{example}"))
        + "[addresses.us]\nfile = \"us.txt\"\n";
    home.write("us.txt", "192.0.2.1\n");
    home.write("gatepost.toml", &text);
    running.wait_for_line("this example of", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "old");
    home.write("us.txt", "127.0.0.1\n");
    get_body(&mut client, "new").await;
}

#[tokio::test]
async fn the_files_of_a_configuration_that_cannot_be_bound_are_watched() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let with = |body: &str, listeners: &str| {
        answering(body).replace("listen = \"127.0.0.1:0\"", &format!("include = [\"{listeners}\"]"))
    };
    let main = "[listen.main]\naddresses = [\"127.0.0.1:0\"]\n";
    let more = |address: SocketAddr| format!("{main}[listen.more]\naddresses = [\"{address}\"]\n");
    let home = Home::new(&with("old", "main.toml"));
    home.write("main.toml", main);
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let taken_address = taken.local_addr().unwrap();
    home.write("more.toml", &more(taken_address));
    home.write("gatepost.toml", &with("new", "more.toml"));
    let line = running.wait_for_line("not reloaded", PATIENCE).await;
    assert!(line.contains(&taken_address.to_string()), "{line}");
    assert_eq!(client.get("/a").await.text(), "old");
    home.write("more.toml", &more(free_address()));
    get_body(&mut client, "new").await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let home = Home::empty();
    home.write("conf/gatepost.toml", &answering("v1"));
    let mut running = home.gatepost(&["run", "conf/gatepost.toml"]);
    let mut client = Raw::connect(running.address().await).await;
    // What a deployment does that unpacks beside the old one; the reload is asked for.
    home.write("fresh/gatepost.toml", &answering("v2"));
    fs::rename(home.path("conf"), home.path("old")).unwrap();
    fs::rename(home.path("fresh"), home.path("conf")).unwrap();
    running.signal("HUP");
    get_body(&mut client, "v2").await;
    // From now on without.
    home.write("conf/gatepost.toml", &answering("v3"));
    get_body(&mut client, "v3").await;
}

#[tokio::test]
async fn a_directory_in_the_place_of_a_file_is_reported_once_and_changes_nothing() {
    let text = answering("as before")
        .replace("open    = true", "from = [\"us\"]")
        .replace("[server]", "include = [\"more/*.toml\"]\n[server]")
        .replace("admin = \"off\"", "admin = \"127.0.0.1:0\"\nadmin_token = \"file:admin.token\"")
        + "[addresses.us]\nfile = \"us.txt\"\n";
    for name in ["us.txt", "more/one.toml", "admin.token", "gatepost.toml"] {
        let home = Home::new(&text);
        home.write("us.txt", "127.0.0.1\n");
        home.write("more/one.toml", "[route.\"GET /one\"]\nfrom = [\"us\"]\nrespond = {}\n");
        home.write("admin.token", "secret");
        let (mut running, address) = home.run().await;
        let mut client = Raw::connect(address).await;
        assert_eq!(client.get("/a").await.text(), "as before");
        let held = home.read(name);

        // As an orchestrator does that finds nothing to mount there.
        fs::remove_file(home.path(name)).unwrap();
        fs::create_dir(home.path(name)).unwrap();
        let reported = || running.stderr().iter().filter(|line| line.contains("not reloaded")).count();
        eventually(PATIENCE, || running.stderr().iter().any(|line| line.contains("Is a directory"))).await;
        let told = running.said();
        assert!(told.contains(name), "{name}: {told}");
        // It comes to rest, having been reported once, or twice if the moment without a file was seen.
        let mut last = (Instant::now(), reported());
        eventually(PATIENCE, || {
            let now = reported();
            if now != last.1 {
                last = (Instant::now(), now);
            }
            last.0.elapsed() >= Duration::from_millis(500)
        })
        .await;
        assert!(last.1 <= 2, "{name}: reported {} times", last.1);
        assert_eq!(client.get("/a").await.text(), "as before", "{name}");
        assert_eq!(client.get("/one").await.status, 200, "{name}");

        fs::remove_dir(home.path(name)).unwrap();
        home.write(name, &held.replace("as before", "as it was"));
        running.wait_for_line("INFO reloaded", PATIENCE).await;
        let expected = if name == "gatepost.toml" { "as it was" } else { "as before" };
        get_body(&mut client, expected).await;
    }
}

#[tokio::test]
async fn an_empty_directory_in_the_place_of_an_empty_file_is_noticed() {
    let text = answering("a").replace("open    = true", "from = [\"us\"]") + "[addresses.us]\nfile = \"us.txt\"\n";
    let home = Home::new(&text);
    home.write("us.txt", "127.0.0.1\n");
    let (mut running, address) = home.run().await;
    home.write("us.txt", "");
    running.wait_for_line("us.txt` holds no address", PATIENCE).await;
    home.write("other/.keep", "");
    fs::remove_file(home.path("other/.keep")).unwrap();
    fs::remove_file(home.path("us.txt")).unwrap();
    fs::rename(home.path("other"), home.path("us.txt")).unwrap();
    running.wait_for_line("Is a directory", PATIENCE).await;
    assert_eq!(Raw::connect(address).await.get("/a").await.status, 200);
}

#[tokio::test]
async fn on_a_terminal_a_refused_reload_is_as_readable_as_anywhere() {
    let home = Home::new(&answering("as before"));
    let mut command = home.command(&["run"]);
    command.current_dir(home.directory()).env_remove("GATEPOST_LOG").env_remove("NO_COLOR").env("TERM", "xterm");
    let mut running = Process::spawn_on_terminal(command);
    let address = running.address().await;
    home.write("gatepost.toml", &answering("a").replace("respond", "respnd"));
    running.wait_for_line("not reloaded", PATIENCE).await;
    running.wait_for_line("did you mean `respond`", PATIENCE).await;
    let told = running.stderr();
    let at = told.iter().position(|line| line.contains("not reloaded")).unwrap();
    assert!(told[at].contains('\u{1b}'), "this is no terminal: {:?}", told[at]);
    // The level has its colour; of the report, nothing has, neither as colour nor as its code in letters.
    for line in &told[at + 1..] {
        assert!(!line.contains('\u{1b}') && !line.contains("\\x1b") && !line.contains("[1m"), "{line:?}");
    }
    let report = told[at + 1..].join("\n");
    assert!(report.contains("gatepost.toml:9:1") && report.contains("`respnd`"), "{report}");
    assert_eq!(Raw::connect(address).await.get("/a").await.text(), "as before");
}

/// What a process has read so far, from files and sockets.
fn bytes_read(process: &Process) -> u64 {
    let counters = fs::read_to_string(format!("/proc/{}/io", process.id())).unwrap();
    counters.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}
