//! The admin listener: health, readiness, metrics, and who may see them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use gatepost_testkit::{Origin, PATIENCE, Process, Raw, Response, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::home::{Home, answering, forwarding, get, get_until};

/// A configuration with these lines under `[server]`.
fn with(server: &str) -> String {
    answering("a").replace("admin = \"off\"", server)
}

#[tokio::test]
async fn health_and_readiness_are_open_and_everything_else_is_explained() {
    let home = Home::new(&with("admin = \"127.0.0.1:0\""));
    let (_running, admin) = run(&home).await;
    let mut client = Raw::connect(admin).await;
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 200);
    assert_eq!(client.ask("HEAD /readyz HTTP/1.1\nhost: a\n\n").await.status, 200);
    let lost = client.get("/").await;
    assert_eq!(lost.status, 404);
    assert!(lost.text().contains("/metrics"), "{}", lost.text());
    let refused = client.ask("POST /healthz HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn every_line_of_the_metrics_is_in_the_exposition_format() {
    let home = Home::new(&with("admin = \"127.0.0.1:0\""));
    let (mut running, admin) = run(&home).await;
    let address = running.address().await;
    for _ in 0..3 {
        assert_eq!(get(address, "/a").await.status, 200);
    }
    assert_eq!(get(address, "/").await.status, 404);
    assert_eq!(get(address, "/a/../b").await.status, 400);

    let answer = get(admin, "/metrics").await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let samples = exposition::parse(&answer.text());
    let value = |name: &str, labels: &[(&str, &str)]| {
        let matching: Vec<f64> = samples
            .iter()
            .filter(|sample| sample.name == name && labels.iter().all(|label| sample.has(*label)))
            .map(|sample| sample.value)
            .collect();
        assert_eq!(matching.len(), 1, "{name} {labels:?}: {matching:?}");
        matching[0]
    };
    let route = ("route", "ANY /{rest+}");
    assert_eq!(value("gatepost_requests_total", &[("api", "default"), route, ("reason", "")]), 3.0);
    assert_eq!(value("gatepost_requests_total", &[("api", ""), ("reason", "no_route")]), 1.0);
    assert_eq!(value("gatepost_requests_total", &[("api", ""), ("reason", "malformed")]), 1.0);
    assert_eq!(value("gatepost_responses_total", &[route, ("class", "2xx")]), 3.0);
    assert_eq!(value("gatepost_body_bytes_total", &[route, ("direction", "out")]), 3.0);
    assert_eq!(value("gatepost_request_duration_seconds_count", &[("api", "default")]), 3.0);
    assert_eq!(value("gatepost_request_duration_seconds_bucket", &[("le", "+Inf")]), 3.0);
    assert_eq!(value("gatepost_snapshot", &[]), 1.0);
    assert_eq!(value("gatepost_reloads_applied_total", &[]), 0.0);
}

#[tokio::test]
async fn metrics_count_reloads_that_took_effect_and_that_did_not() {
    let home = Home::new(&with("admin = \"127.0.0.1:0\""));
    let (mut running, admin) = run(&home).await;
    home.write("gatepost.toml", "listen = 1");
    running.wait_for_line("not reloaded", PATIENCE).await;
    home.write("gatepost.toml", &(with("admin = \"127.0.0.1:0\"") + "# again\n"));
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    let samples = exposition::parse(&get(admin, "/metrics").await.text());
    let value = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(value("gatepost_reloads_applied_total"), 1.0);
    assert!(value("gatepost_reloads_refused_total") >= 1.0);
    assert_eq!(value("gatepost_snapshot"), 2.0);
}

#[tokio::test]
async fn metrics_count_answers_that_were_cut_and_by_what() {
    let slow = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc").then_hang();
    let broken = Script::send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc").then_close();
    let origin = Origin::in_turn(vec![slow.clone(), broken, slow]).await;
    let text = forwarding(&origin.url(), "admin = \"127.0.0.1:0\"").replace("\"off\"", "\"500ms\"");
    let home = Home::new(&text);
    let (mut running, admin) = run(&home).await;
    let address = running.address().await;
    let none = exposition::parse(&get(admin, "/metrics").await.text());
    assert!(none.iter().all(|sample| sample.name != "gatepost_answers_cut_total"), "{none:#?}");
    for _ in ["deadline", "upstream"] {
        let mut client = Raw::connect(address).await;
        client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response_head().await.status, 200);
        assert_eq!(client.read_to_end().await, b"abc");
    }
    let mut gone = Raw::connect(address).await;
    gone.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(gone.response_head().await.status, 200);
    drop(gone);
    running.wait_for_lines("\"ended\":", 3, PATIENCE).await;

    let samples = exposition::parse(&get(admin, "/metrics").await.text());
    let cut: Vec<_> = samples.iter().filter(|sample| sample.name == "gatepost_answers_cut_total").collect();
    assert_eq!(cut.len(), 3, "{cut:#?}");
    for by in ["deadline", "upstream", "client"] {
        let labels = [("api", "default"), ("route", "ANY /{rest+}"), ("by", by)];
        let of_it = |sample: &&&exposition::Sample| labels.iter().all(|&label| sample.has(label));
        assert_eq!(cut.iter().find(of_it).map(|sample| sample.value), Some(1.0), "{by}: {cut:#?}");
    }
}

#[tokio::test]
async fn metrics_ask_for_the_token_if_there_is_one() {
    let home = Home::new(&with("admin = \"127.0.0.1:0\"\nadmin_token = \"file:admin.token\""));
    home.write("admin.token", "correct horse\n");
    let (_running, admin) = run(&home).await;
    assert_eq!(metrics(admin, "").await.status, 401);
    for wrong in [
        "Bearer wrong",
        "correct horse",
        "Bearer correct hors",
        "Bearer correct horsee",
        "Basic Y29ycmVjdCBob3JzZQ==",
        "Bearer",
    ] {
        let refused = metrics(admin, &format!("authorization: {wrong}")).await;
        assert_eq!(refused.status, 401, "{wrong}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert!(!refused.text().contains("gatepost_"), "{}", refused.text());
    }
    assert_eq!(metrics(admin, "authorization: Bearer correct horse").await.status, 200);
    assert_eq!(get(admin, "/readyz").await.status, 200);
    assert_eq!(get(admin, "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_new_token_in_the_file_counts_at_once_and_the_old_one_no_more() {
    let home = Home::new(&with("admin = \"127.0.0.1:0\"\nadmin_token = \"file:admin.token\""));
    home.write("admin.token", "old");
    let (mut running, admin) = run(&home).await;
    assert_eq!(metrics(admin, "authorization: Bearer old").await.status, 200);
    home.replace("admin.token", "new");
    running.wait_for_line("INFO reloaded", PATIENCE).await;
    assert_eq!(metrics(admin, "authorization: Bearer old").await.status, 401);
    assert_eq!(metrics(admin, "authorization: Bearer new").await.status, 200);
    // A file that cannot be read changes nothing.
    fs::remove_file(home.path("admin.token")).unwrap();
    running.wait_for_line("not reloaded", PATIENCE).await;
    assert_eq!(metrics(admin, "authorization: Bearer new").await.status, 200);
    assert_eq!(metrics(admin, "").await.status, 401);
}

#[tokio::test]
async fn the_token_stays_while_a_new_admin_address_waits_for_a_restart() {
    let home = Home::new(&with("admin = \"127.0.0.1:0\"\nadmin_token = \"file:admin.token\""));
    home.write("admin.token", "secret");
    let (mut running, admin) = run(&home).await;
    // What listens was told to ask for a token; the address that needs none is not listened on yet.
    home.write("gatepost.toml", &with("admin = \"unix:admin.sock\""));
    running.wait_for_line("needs a restart", PATIENCE).await;
    assert_eq!(metrics(admin, "").await.status, 401);
}

#[tokio::test]
async fn no_admin_listener_is_opened_that_others_reach_without_a_token() {
    let home = Home::new(&with("admin = \"0.0.0.0:0\""));
    let (code, _, stderr) = home.outcome(&["run"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("gatepost.toml:5:9") && stderr.contains("admin_token"), "{stderr}");
}

#[tokio::test]
async fn a_socket_is_for_its_owner_only_and_replaces_a_stale_one() {
    let home = Home::new(&with("admin = \"unix:admin.sock\""));
    let socket = home.path("admin.sock");
    for _ in 0..2 {
        let (mut running, _) = home.run().await;
        running.wait_for_line("admin on unix:", PATIENCE).await;
        let metadata = fs::metadata(&socket).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(ask_socket(&socket, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
        exposition::parse(ask_socket(&socket, "/metrics").await.split_once("\r\n\r\n").unwrap().1);
        // Killed, it leaves the socket behind.
        running.signal("KILL");
        running.wait_exit(PATIENCE).await;
        assert!(socket.exists());
    }
}

#[tokio::test]
async fn a_socket_that_somebody_answers_on_is_not_taken_over() {
    let home = Home::new(&with("admin = \"unix:admin.sock\""));
    let (mut first, _) = home.run().await;
    first.wait_for_line("admin on unix:", PATIENCE).await;
    home.write("second.toml", &with("admin = \"unix:admin.sock\"\nstate = \"other\""));
    let (code, _, stderr) = home.outcome(&["run", "second.toml"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("admin.sock"), "{stderr}");
    assert!(ask_socket(&home.path("admin.sock"), "/healthz").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_file_where_the_socket_should_be_is_left_alone() {
    let home = Home::new(&with("admin = \"unix:precious.txt\""));
    home.write("precious.txt", "precious");
    let (code, _, stderr) = home.outcome(&["run"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("precious.txt"), "{stderr}");
    assert_eq!(home.read("precious.txt"), "precious");
}

#[tokio::test]
async fn readiness_counts_only_while_requests_are_wanted() {
    let home = Home::new(&with("admin = \"127.0.0.1:0\"\ndrain = \"30s\""));
    let (mut running, admin) = run(&home).await;
    let mut prober = Raw::connect(admin).await;
    assert_eq!(prober.get("/readyz").await.status, 200);
    running.signal("TERM");
    let no = get_until(&mut prober, "/readyz", |answer| answer.status == 503).await;
    assert_eq!(no.text(), "stopping\n");
    assert_eq!(prober.get("/healthz").await.status, 200);
    // The third "no" is what a load balancer acts on; then nobody needs to be waited for.
    prober.get("/readyz").await;
    prober.get("/readyz").await;
    assert_eq!(running.wait_exit(PATIENCE).await, 0);
}

/// Starts the gateway; where its admin listener is.
async fn run(home: &Home) -> (Process, SocketAddr) {
    let mut running = home.gatepost(&["run"]);
    let admin = running.admin_address().await;
    (running, admin)
}

/// Asks for the metrics with a header field, or none.
async fn metrics(admin: SocketAddr, field: &str) -> Response {
    let field = if field.is_empty() { String::new() } else { format!("{field}\n") };
    Raw::connect(admin).await.ask(&format!("GET /metrics HTTP/1.1\nhost: a\n{field}\n")).await
}

async fn ask_socket(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The text format of OpenMetrics, as strictly as a scraper reads it.
mod exposition {
    use std::collections::{BTreeMap, HashSet};

    /// One value.
    #[derive(Debug)]
    pub(super) struct Sample {
        pub(super) name: String,
        labels: BTreeMap<String, String>,
        pub(super) value: f64,
    }

    impl Sample {
        pub(super) fn has(&self, (name, value): (&str, &str)) -> bool {
            self.labels.get(name).is_some_and(|known| known == value)
        }
    }

    /// A metric, by the line that names its type.
    struct Family {
        name: String,
        kind: String,
    }

    /// Reads all lines.
    ///
    /// # Panics
    /// One of them is none that a scraper understands.
    pub(super) fn parse(text: &str) -> Vec<Sample> {
        let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no `# EOF` at the end:\n{text}"));
        let mut samples: Vec<Sample> = Vec::new();
        let mut family: Option<Family> = None;
        let mut seen = HashSet::new();
        let mut series = HashSet::new();
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                family = comment(rest, line, family, &mut seen);
                continue;
            }
            let sample = sample(line);
            let family = family.as_ref().unwrap_or_else(|| panic!("a sample of no metric: {line}"));
            assert!(belongs(&sample, family), "{line} under {} of type {}", family.name, family.kind);
            assert!(series.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            if family.kind != "gauge" {
                assert!(sample.value >= 0.0, "{line}");
            }
            samples.push(sample);
        }
        histograms_add_up(&samples);
        samples
    }

    fn comment(rest: &str, line: &str, family: Option<Family>, seen: &mut HashSet<String>) -> Option<Family> {
        let mut words = rest.splitn(3, ' ');
        let (keyword, name, text) = (words.next().unwrap(), words.next().unwrap_or_default(), words.next());
        assert!(is_name(name), "{line}");
        assert!(name.starts_with("gatepost_"), "{line}");
        let text = text.unwrap_or_default();
        match keyword {
            "TYPE" => {
                assert!(["counter", "gauge", "histogram"].contains(&text), "{line}");
                Some(Family { name: name.to_owned(), kind: text.to_owned() })
            }
            "HELP" => {
                assert!(seen.insert(name.to_owned()), "a metric in two places: {line}");
                assert!(!text.is_empty() && !text.ends_with('.'), "{line}");
                family
            }
            "UNIT" => {
                assert!(["bytes", "seconds"].contains(&text) && name.ends_with(&format!("_{text}")), "{line}");
                family
            }
            _ => panic!("not understood: {line}"),
        }
    }

    fn belongs(sample: &Sample, family: &Family) -> bool {
        let Some(suffix) = sample.name.strip_prefix(&family.name) else { return false };
        match &*family.kind {
            "counter" => suffix == "_total",
            "gauge" => suffix.is_empty(),
            _ => match suffix {
                "_bucket" => sample.labels.contains_key("le"),
                "_sum" | "_count" => !sample.labels.contains_key("le"),
                _ => false,
            },
        }
    }

    fn sample(line: &str) -> Sample {
        let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("not understood: {line}"));
        let (name, mut rest) = line.split_at(name_end);
        assert!(is_name(name), "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = read_labels(inside, line, &mut labels);
        }
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        Sample { name: name.to_owned(), labels, value }
    }

    /// Reads labels up to the closing brace; what follows it.
    fn read_labels<'t>(mut rest: &'t str, line: &str, labels: &mut BTreeMap<String, String>) -> &'t str {
        while !rest.starts_with('}') {
            let (name, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("a label: {line}"));
            assert!(is_name(name), "{line}");
            let mut value = String::new();
            let mut characters = quoted.char_indices();
            let end = loop {
                match characters.next().unwrap_or_else(|| panic!("an open quote: {line}")) {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                        other => panic!("escape {other:?}: {line}"),
                    },
                    (_, plain) => value.push(plain),
                }
            };
            assert!(labels.insert(name.to_owned(), value).is_none(), "a label twice: {line}");
            rest = &quoted[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        &rest[1..]
    }

    /// Buckets are cumulative and the last one counts all.
    fn histograms_add_up(samples: &[Sample]) {
        for count in samples.iter().filter(|sample| sample.name.ends_with("_count")) {
            let name = count.name.replace("_count", "_bucket");
            let buckets: Vec<&Sample> = samples
                .iter()
                .filter(|sample| {
                    sample.name == name && count.labels.iter().all(|(key, value)| sample.has((key, value)))
                })
                .collect();
            assert!(buckets.len() > 1, "{name}");
            assert!(buckets.is_sorted_by(|a, b| a.value <= b.value && bound(a) < bound(b)), "{buckets:#?}");
            let last = buckets.last().unwrap();
            assert_eq!((bound(last), last.value), (f64::INFINITY, count.value), "{buckets:#?}");
        }
    }

    fn bound(sample: &Sample) -> f64 {
        sample.labels["le"].parse().unwrap()
    }

    fn is_name(name: &str) -> bool {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    }
}
