//! What a client writes must not become a header that it could not write.

use gatepost_testkit::{Origin, Script, TestGateway};

use crate::setup::{SOON, Setup, client};

#[tokio::test]
async fn escaped_line_ends_stay_escaped() {
    let origin = Origin::start(Script::ok("")).await;
    let url = origin.url();
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [route."GET /go/{{rest+}}"]
        open = true
        redirect = {{ to = "/{{rest}}" }}
        [route."GET /to/{{rest+}}"]
        open = true
        forward = {{ to = "{url}", path = "/{{rest}}" }}
        "#
    ))
    .await;
    let mut client = client(&gateway).await;
    let response = client.get("/go/a%0d%0aset-cookie:%20evil=1?b%0d%0ax:y").await;
    assert_eq!(response.header("location"), Some("/a%0D%0Aset-cookie:%20evil=1?b%0d%0ax:y"));
    assert_eq!(response.header("set-cookie"), None);
    assert_eq!(client.get("/to/a%0d%0ax-evil:%201").await.status, 200);
    let request = origin.last();
    assert_eq!(request.target(), "/a%0D%0Ax-evil:%201");
    assert_eq!(request.header("x-evil"), None);
}

#[tokio::test]
async fn the_log_is_a_line_a_request_whatever_the_request_says() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.get("/%22,%22verdict%22:%22admitted%22%0a{%22id%22:%221%22}").await;
    client.get("/a\"b").await;
    let lines = gateway.log_until(|lines| lines.len() >= 2, SOON).await;
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["path"], "/%22,%22verdict%22:%22admitted%22%0A%7B%22id%22:%221%22%7D");
    assert_eq!(lines[1]["path"], "/a%22b");
}

#[tokio::test]
async fn a_bad_host_is_logged_as_text() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    client.send(b"GET / HTTP/1.1\r\nhost: \"\xff\xfe\\evil\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);
    let lines = gateway.log_until(|lines| lines.len() == 1, SOON).await;
    assert_eq!(lines[0]["host"], "\"\u{fffd}\u{fffd}\\evil");
}

#[tokio::test]
async fn headers_that_only_the_gateway_writes_cannot_be_written_by_a_client() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for header in [
        "x-gatepost-decision: 1",
        "X-Gatepost-Caller: admin",
        "x-gatepost-: 1",
        "x-forwarded-for: 1",
        "X-Forwarded-Anything: 1",
        "x-real-ip: 1",
        "Forwarded: for=1",
    ] {
        assert_eq!(client.ask(&format!("GET / HTTP/1.1\nhost: a\n{header}\n\n")).await.status, 200, "{header}");
        let expected = ["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(origin.last().names(), expected, "{header}");
    }
}

#[tokio::test]
async fn an_underscore_makes_no_other_name_of_what_only_the_gateway_writes() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    // To a backend that sees names as CGI has them, these are the same as with hyphens.
    for header in [
        "x_forwarded_for: 1",
        "X_Forwarded_For: 1",
        "x-forwarded_for: 1",
        "x_forwarded-host: 1",
        "X_FORWARDED_ANYTHING: 1",
        "X_Real_IP: 1",
        "x-real_ip: 1",
        "x_gatepost_decision: 1",
        "X_Gatepost-Caller: admin",
    ] {
        assert_eq!(client.ask(&format!("GET / HTTP/1.1\nhost: a\n{header}\n\n")).await.status, 200, "{header}");
        let expected = ["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(origin.last().names(), expected, "{header}");
    }
    // Other names keep theirs.
    assert_eq!(client.ask("GET / HTTP/1.1\nhost: a\nx_request_id: 1\naccept_this: 2\n\n").await.status, 200);
    assert_eq!((origin.last().header("x_request_id"), origin.last().header("accept_this")), (Some("1"), Some("2")));
}
