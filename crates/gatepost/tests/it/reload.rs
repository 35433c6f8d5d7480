//! Reloading: a change counts from the next request on, open connections included, and a bad one changes nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use gatepost_testkit::{Origin, PATIENCE, Raw, Script};

use crate::home::{Home, answering, forwarding, free_address, get, get_body, get_until, refused_at_last};

#[tokio::test]
async fn a_changed_file_counts_from_the_next_request_of_an_open_connection_on() {
    let home = Home::new(&answering("v1"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/a").await.text(), "v1");

    home.write("gatepost.toml", &answering("v2 in place"));
    running.wait_for_lines("INFO reloaded: a file changed", 1, PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "v2 in place");

    home.replace("gatepost.toml", &answering("v3 replaced"));
    running.wait_for_lines("INFO reloaded: a file changed", 2, PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "v3 replaced");
}

#[tokio::test]
async fn a_hangup_reloads() {
    let home = Home::new(&answering("v1"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/a").await.text(), "v1");
    // Nothing has changed; it is done all the same, and told.
    running.signal("HUP");
    running.wait_for_line("INFO reloaded: SIGHUP", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "v1");
    home.write("gatepost.toml", &answering("v2"));
    running.signal("HUP");
    get_body(&mut client, "v2").await;
}

#[tokio::test]
async fn an_address_file_counts_from_the_next_request_on() {
    let text = answering("a").replace("open    = true", "from = [\"us\"]") + "[addresses.us]\nfile = \"us.txt\"\n";
    let home = Home::new(&text);
    home.write("us.txt", "192.0.2.1\n");
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/a").await.status, 403);

    home.write("us.txt", "192.0.2.1\n127.0.0.1 # us\n");
    running.wait_for_lines("INFO reloaded", 1, PATIENCE).await;
    assert_eq!(client.get("/a").await.status, 200);

    home.replace("us.txt", "192.0.2.1\n");
    running.wait_for_lines("INFO reloaded", 2, PATIENCE).await;
    assert_eq!(client.get("/a").await.status, 403);

    // An empty list lets nobody in, which nobody means.
    home.write("us.txt", "# nobody\n");
    running.wait_for_line("us.txt` holds no address", PATIENCE).await;
    home.write("us.txt", "127.0.0.1\nexample.com\n");
    running.wait_for_line("us.txt:2:1", PATIENCE).await;
    assert_eq!(client.get("/a").await.status, 403);
    home.write("us.txt", "127.0.0.0/8\n");
    running.wait_for_lines("INFO reloaded", 3, PATIENCE).await;
    assert_eq!(client.get("/a").await.status, 200);
}

#[tokio::test]
async fn included_files_count_as_they_change_come_and_go() {
    let route =
        |path: &str, body: &str| format!("[route.\"GET {path}\"]\nopen = true\nrespond = {{ body = \"{body}\" }}\n");
    let home = Home::new("listen = \"127.0.0.1:0\"\ninclude = [\"routes/*.toml\"]\n[server]\nadmin = \"off\"\n");
    home.write("routes/one.toml", &route("/one", "v1"));
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/one").await.text(), "v1");
    assert_eq!(client.get("/two").await.status, 404);

    home.write("routes/one.toml", &route("/one", "v2"));
    get_until(&mut client, "/one", |response| response.text() == "v2").await;
    home.write("routes/two.toml", &route("/two", "v1"));
    get_until(&mut client, "/two", |response| response.text() == "v1").await;
    home.replace("routes/two.toml", &route("/two", "v2"));
    get_until(&mut client, "/two", |response| response.text() == "v2").await;
    fs::remove_file(home.path("routes/one.toml")).unwrap();
    get_until(&mut client, "/one", |response| response.status == 404).await;
    assert_eq!(client.get("/two").await.text(), "v2");
}

#[tokio::test]
async fn a_swapped_link_counts_as_kubernetes_does_it() {
    let home = Home::empty();
    home.write("..2026_1/gatepost.toml", &answering("v1"));
    home.link("..data", "..2026_1");
    home.link("gatepost.toml", "..data/gatepost.toml");
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/a").await.text(), "v1");
    for version in 2..5 {
        let body = format!("v{version}");
        home.write(&format!("..2026_{version}/gatepost.toml"), &answering(&body));
        home.link("..data", &format!("..2026_{version}"));
        fs::remove_dir_all(home.path(&format!("..2026_{}", version - 1))).unwrap();
        get_body(&mut client, &body).await;
    }
}

#[tokio::test]
async fn a_link_to_a_mounted_configuration_follows_its_swap() {
    let home = Home::empty();
    home.write("mount/..2026_1/gatepost.toml", &answering("v1"));
    home.link("mount/..data", "..2026_1");
    home.link("mount/gatepost.toml", "..data/gatepost.toml");
    home.write("etc/README", "");
    home.link("etc/gatepost.toml", "../mount/gatepost.toml");
    let mut running = home.gatepost(&["run", "etc/gatepost.toml"]);
    let mut client = Raw::connect(running.address().await).await;
    assert_eq!(client.get("/a").await.text(), "v1");
    for version in 2..4 {
        let body = format!("v{version}");
        home.write(&format!("mount/..2026_{version}/gatepost.toml"), &answering(&body));
        home.link("mount/..data", &format!("..2026_{version}"));
        get_body(&mut client, &body).await;
    }
}

#[tokio::test]
async fn a_broken_file_changes_nothing_is_explained_and_its_repair_is_noticed() {
    let home = Home::new(&answering("old"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    home.write("gatepost.toml", &(answering("new") + "\n[route.\"GET /x\"]\nopen = true\nrespond = { status = 99 }\n"));
    running.wait_for_line("not reloaded, nothing has changed", PATIENCE).await;
    running.wait_for_line("gatepost.toml:13:22", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "old");
    assert_eq!(get(address, "/x").await.text(), "old");

    // Broken in another way: told again.
    home.write("gatepost.toml", "listen = \"127.0.0.1:0");
    running.wait_for_line("gatepost.toml:1:", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "old");

    home.write("gatepost.toml", &answering("new"));
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "new");
}

#[tokio::test]
async fn a_file_that_goes_away_changes_nothing_and_its_return_is_noticed() {
    let home = Home::new(&answering("old"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    fs::remove_file(home.path("gatepost.toml")).unwrap();
    running.wait_for_line("cannot read gatepost.toml", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "old");
    home.write("gatepost.toml", &answering("new"));
    get_body(&mut client, "new").await;
}

#[tokio::test]
async fn a_new_file_that_is_named_before_it_is_there_is_waited_for() {
    let home = Home::new(&answering("old"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let text = answering("new").replace("open    = true", "from = [\"us\"]") + "[addresses.us]\nfile = \"us.txt\"\n";
    home.write("gatepost.toml", &text);
    running.wait_for_line("cannot read `us.txt`", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "old");
    home.write("us.txt", "127.0.0.1\n");
    get_body(&mut client, "new").await;
}

#[tokio::test]
async fn an_example_that_fails_rejects_the_reload() {
    let with = |from: &str| {
        let example = "example = [{ from = \"127.0.0.1\", method = \"GET\", path = \"/a\", expect = \"admitted\" }]";
        answering(from).replace("open    = true", &format!("from = [\"{from}\"]\n{example}"))
    };
    let home = Home::new(&with("127.0.0.1"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    home.write("gatepost.toml", &with("192.0.2.1"));
    running.wait_for_line("this example of `ANY /{rest+}` should be admitted", PATIENCE).await;
    running.wait_for_line("gatepost.toml:9:12", PATIENCE).await;
    assert_eq!(client.get("/a").await.text(), "127.0.0.1");
    home.write("gatepost.toml", &with("127.0.0.0/8"));
    get_body(&mut client, "127.0.0.0/8").await;
}

#[tokio::test]
async fn listeners_come_and_go() {
    let (second, third) = (free_address(), free_address());
    let home = Home::new(&listening("v1", &[second]));
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let mut leaving = Raw::connect(second).await;
    assert_eq!(leaving.get("/a").await.text(), "v1");

    home.replace("gatepost.toml", &listening("v2", &[third]));
    get_body(&mut client, "v2").await;
    refused_at_last(second).await;
    leaving.expect_close(PATIENCE).await;
    assert_eq!(get(third, "/a").await.text(), "v2");

    // The same address again, under another name too.
    home.replace("gatepost.toml", &listening("v3", &[third, second]));
    get_body(&mut client, "v3").await;
    assert_eq!(get(second, "/a").await.text(), "v3");
    assert_eq!(get(third, "/a").await.text(), "v3");
}

#[tokio::test]
async fn what_is_under_way_on_a_listener_that_goes_is_finished() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    let origin =
        Origin::start(Script::send(answer).then_drip("0123456789", std::time::Duration::from_millis(60))).await;
    let gone = free_address();
    let with = |addresses: &[SocketAddr]| {
        forwarding(&origin.url(), "admin = \"off\"").replace("listen = \"127.0.0.1:0\"", &listeners(addresses))
    };
    let home = Home::new(&with(&[gone]));
    let (mut running, _) = home.run().await;
    let mut client = Raw::connect(gone).await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.response_head().await;
    home.replace("gatepost.toml", &with(&[]));
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    refused_at_last(gone).await;
    assert_eq!(client.read_to_end().await, b"0123456789");
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_rejects_the_reload_as_a_whole() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap();
    let (free, gone) = (free_address(), free_address());
    let home = Home::new(&listening("old", &[gone]));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;

    home.write("gatepost.toml", &listening("new", &[free, taken_address]));
    let line = running.wait_for_line("not reloaded, nothing has changed", PATIENCE).await;
    assert!(line.contains(&taken_address.to_string()), "{line}");
    assert_eq!(client.get("/a").await.text(), "old");
    // Nothing of it is in force: neither the listener that could be bound, nor the one that would have gone.
    assert!(std::net::TcpStream::connect(free).is_err());
    assert_eq!(get(gone, "/a").await.text(), "old");

    drop(taken);
    running.signal("HUP");
    get_body(&mut client, "new").await;
    assert_eq!(get(taken_address, "/a").await.text(), "new");
    assert_eq!(get(free, "/a").await.text(), "new");
    refused_at_last(gone).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_the_rest_counts() {
    let home = Home::new(&answering("v1"));
    let (mut running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    let server = "state = \"elsewhere\"\nworkers = 1\nadmin = \"unix:admin.sock\"";
    home.write("gatepost.toml", &answering("v2").replace("admin = \"off\"", server));
    get_body(&mut client, "v2").await;
    for key in ["state", "workers", "admin"] {
        let line = running.wait_for_line(&format!("`{key}`"), PATIENCE).await;
        assert!(line.contains("needs a restart"), "{line}");
    }
    assert!(!home.path("elsewhere").exists());
    assert!(!home.path("admin.sock").exists());

    // Said of each reload until it is restarted or taken back.
    home.write("gatepost.toml", &answering("v3"));
    get_body(&mut client, "v3").await;
    running.wait_for_lines("INFO reloaded", 2, PATIENCE).await;
    assert_eq!(running.stderr().iter().filter(|line| line.contains("needs a restart")).count(), 3);
}

#[tokio::test]
async fn the_debt_of_a_throttle_outlives_reloads() {
    let with =
        |body: &str, throttle: &str| answering(body).replace("open    = true", &format!("open = true\n{throttle}"));
    let two = "throttle = { rate = \"1/h\", burst = 2 }";
    let home = Home::new(&with("v1", two));
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    assert_eq!(client.get("/a").await.status, 200);
    assert_eq!(client.get("/a").await.status, 200);
    assert_eq!(client.get("/a").await.status, 429);

    let probed = |body: &str, throttle: &str| {
        with(body, throttle) + &format!("[route.\"GET /probe\"]\nopen = true\nrespond = {{ body = \"{body}\" }}\n")
    };
    home.replace("gatepost.toml", &probed("v2", two));
    get_until(&mut client, "/probe", |response| response.text() == "v2").await;
    assert_eq!(client.get("/a").await.status, 429);

    // A larger burst grants the difference, and no more.
    home.replace("gatepost.toml", &probed("v3", "throttle = { rate = \"1/h\", burst = 3 }"));
    get_until(&mut client, "/probe", |response| response.text() == "v3").await;
    assert_eq!(client.get("/a").await.text(), "v3");
    assert_eq!(client.get("/a").await.status, 429);
}

#[tokio::test]
async fn every_change_of_many_in_a_row_ends_with_the_last_one() {
    let home = Home::new(&answering("v0"));
    let (_running, address) = home.run().await;
    let mut client = Raw::connect(address).await;
    for round in 0..5 {
        for number in 0..20 {
            home.write("gatepost.toml", &answering(&format!("round {round}, number {number}")));
        }
        get_body(&mut client, &format!("round {round}, number 19")).await;
    }
}

/// A configuration that answers with `body` on port 0 and on these addresses.
fn listening(body: &str, more: &[SocketAddr]) -> String {
    answering(body).replace("listen = \"127.0.0.1:0\"", &listeners(more))
}

fn listeners(more: &[SocketAddr]) -> String {
    let mut text = "[listen.a]\naddresses = [\"127.0.0.1:0\"]\n".to_owned();
    for (number, address) in more.iter().enumerate() {
        text += &format!("[listen.b{number}]\naddresses = [\"{address}\"]\n");
    }
    text
}
