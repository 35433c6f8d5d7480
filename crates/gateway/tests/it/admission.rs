//! Who may enter.

use std::net::IpAddr;

use gatepost_testkit::{Origin, Raw, Response, Script, TestGateway};

use crate::setup::{SOON, Setup, client, post};

async fn get_from(gateway: &TestGateway, source: &str, more: &str) -> Response {
    let source: IpAddr = source.parse().expect("an address");
    let mut client = Raw::connect_from(source, gateway.address()).await;
    client.ask(&format!("GET / HTTP/1.1\nhost: gateway.test\n{more}\n")).await
}

#[tokio::test]
async fn from_lets_in_and_except_takes_out() {
    let origin = Origin::start(Script::ok("")).await;
    let entry = r#"from = ["127.0.0.0/29", "lan"]
        except = ["127.0.0.2", "banned"]"#;
    let sets = r#"
        [addresses.lan]
        list = ["127.0.1.0/24"]
        [addresses.banned]
        list = ["127.0.1.77", "192.0.2.0/24"]
        "#;
    let gateway = TestGateway::start(&(Setup::to(&origin).entry(entry).text() + sets)).await;
    for (source, status) in [
        ("127.0.0.1", 200),
        ("127.0.0.2", 403),
        ("127.0.0.7", 200),
        ("127.0.0.8", 403),
        ("127.0.1.1", 200),
        ("127.0.1.77", 403),
        ("127.0.2.1", 403),
    ] {
        assert_eq!(get_from(&gateway, source, "").await.status, status, "{source}");
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_mapped_address_in_the_configuration_is_the_ipv4_address() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["::ffff:127.0.0.0/104"]"#).start().await;
    assert_eq!(get_from(&gateway, "127.0.0.1", "").await.status, 200);
    let gateway = Setup::to(&origin).entry("from = [\"0.0.0.0/0\"]\nexcept = [\"::ffff:127.0.0.1\"]").start().await;
    assert_eq!(get_from(&gateway, "127.0.0.1", "").await.status, 403);
    assert_eq!(get_from(&gateway, "127.0.0.2", "").await.status, 200);
}

#[tokio::test]
async fn an_ipv6_client_is_judged_by_its_ipv6_address() {
    let origin = Origin::start(Script::ok("")).await;
    for (entry, status) in [
        ("from = [\"::1\"]", 200),
        ("from = [\"0.0.0.0/0\"]", 403),
        ("from = [\"::/0\"]\nexcept = [\"::1\"]", 403),
        ("open = true", 200),
    ] {
        let text = Setup::to(&origin).entry(entry).text().replace("127.0.0.1:0", "[::1]:0");
        let gateway = TestGateway::start(&text).await;
        let mut client = client(&gateway).await;
        assert_eq!(client.get("/").await.status, status, "{entry}");
    }
    assert_eq!(origin.last().header("x-forwarded-for"), Some("::1"));
    assert_eq!(origin.last().header("forwarded"), Some(r#"for="[::1]";host=gateway.test;proto=http"#));
}

#[tokio::test]
async fn no_header_changes_who_the_client_is() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1", "127.0.0.9"]"#).start().await;
    for header in [
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-for: 192.0.2.1, 127.0.0.9",
        "forwarded: for=192.0.2.1",
        "x-real-ip: 192.0.2.1",
        "true-client-ip: 192.0.2.1",
        "cf-connecting-ip: 192.0.2.1",
        "x-client-ip: 192.0.2.1",
        "x-forwarded-for: 192.0.2.1\nconnection: x-forwarded-for",
    ] {
        assert_eq!(get_from(&gateway, "127.0.0.1", &format!("{header}\n")).await.status, 403, "{header}");
    }
    let spoofed = get_from(&gateway, "127.0.0.9", "x-forwarded-for: 198.51.100.1\n").await;
    assert_eq!(spoofed.status, 200);
    assert_eq!(origin.count(), 1);
    let lines = gateway.log_until(|lines| lines.len() == 9, SOON).await;
    assert!(lines[..8].iter().all(|line| line["client"] == "127.0.0.1" && line["client_from"] == "socket"));
}

#[tokio::test]
async fn a_proxy_protocol_header_is_no_request() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    for header in [
        &b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\0\x01\0\x02",
    ] {
        let mut client = client(&gateway).await;
        client.send([header, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"].concat()).await;
        assert_eq!(client.response().await.status, 400);
        client.expect_close(SOON).await;
    }
    assert_eq!(origin.bytes_read(), 0);
}

#[tokio::test]
async fn a_refusal_says_forbidden_and_no_more_and_its_decision_is_in_the_log() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).entry(r#"from = ["192.0.2.1"]"#).start().await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        client.send(post("/some/path?and=query", b"body")).await;
        let response = client.response().await;
        assert_eq!((response.status, &*response.text()), (403, r#"{"message":"Forbidden"}"#));
        assert_eq!(response.header("content-type"), Some("application/json"));
        let decision = response.header("x-gatepost-decision").expect("a decision").to_owned();
        assert!(!response.closes());
        let mut names: Vec<&str> = response.headers.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.retain(|name| *name != "date");
        assert_eq!(names, ["content-length", "content-type", "x-gatepost-decision"]);

        let lines = gateway.log_until(|lines| lines.iter().any(|line| line["id"] == *decision), SOON).await;
        let line = lines.iter().find(|line| line["id"] == *decision).expect("the line");
        assert_eq!(line["verdict"], "refused");
        assert_eq!(line["reason"], "address_not_listed");
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(
            (&line["method"], &line["host"], &line["path"]),
            (&"POST".into(), &"gateway.test".into(), &"/some/path".into())
        );
        assert_eq!((&line["status"], &line["route"]), (&403.into(), &"$default".into()));
        assert_eq!((&line["api"], &line["listener"]), (&"default".into(), &"default".into()));
    }
    assert_eq!(origin.accepted(), 0);
    let refused = r#"gatepost_requests_total{api="default",route="$default",reason="address_not_listed"}"#;
    assert!((gateway.metric(refused) - 2.0).abs() < f64::EPSILON, "{}", gateway.metrics());
}

#[tokio::test]
async fn an_admitted_request_is_logged_and_counted_when_its_answer_has_ended() {
    let origin = Origin::start(Script::echo()).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send(post("/a%2fb?secret=1", b"12345")).await;
    let response = client.response().await;
    assert_eq!(response.header("x-gatepost-decision"), None);
    let lines = gateway.log_until(|lines| lines.len() == 1, SOON).await;
    let line = &lines[0];
    assert_eq!(line["verdict"], "admitted");
    assert!(line["reason"].is_null() && line["ended"].is_null(), "{line}");
    assert_eq!((&line["path"], &line["status"]), (&"/a%2Fb".into(), &200.into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &5.into()));
    assert_eq!(line["upstream"], origin.address().to_string());
    assert!(!line.to_string().contains("secret"), "queries stay out of the log: {line}");
    let served = r#"gatepost_requests_total{api="default",route="$default",reason=""}"#;
    assert!((gateway.metric(served) - 1.0).abs() < f64::EPSILON, "{}", gateway.metrics());
}

#[tokio::test]
async fn an_answer_to_head_is_logged_and_counted_without_a_body() {
    let text = "listen = \"127.0.0.1:0\"\n[route.\"GET /\"]\nopen = true\nrespond = { body = \"seven..\" }\n";
    let gateway = TestGateway::start(text).await;
    let mut client = client(&gateway).await;
    let response = client.ask("HEAD / HTTP/1.1\nhost: a\n\n").await;
    assert_eq!((response.status, response.header("content-length")), (200, Some("7")));
    assert_eq!(client.get("/").await.text(), "seven..");
    assert_eq!(client.ask("HEAD /nowhere HTTP/1.1\nhost: a\n\n").await.status, 404);
    let lines = gateway.log_until(|lines| lines.len() == 3, SOON).await;
    let told: Vec<_> = lines.iter().map(|line| (&line["method"], &line["bytes_out"], &line["ended"])).collect();
    let nothing = &gatepost_testkit::Json::Null;
    let expected = [
        (&"HEAD".into(), &0.into(), nothing),
        (&"GET".into(), &7.into(), nothing),
        (&"HEAD".into(), &0.into(), nothing),
    ];
    assert_eq!(told, expected, "{lines:#?}");
    let counted = r#"gatepost_body_bytes_total{api="default",route="GET /",direction="out"}"#;
    assert!((gateway.metric(counted) - 7.0).abs() < f64::EPSILON, "{}", gateway.metrics());
}
