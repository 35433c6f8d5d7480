//! Listeners that only send clients to https.

use gatepost_testkit::{Origin, Raw, Script, TestGateway};
use hyper::http::Request;
use tokio::net::TcpStream;

use crate::setup::{SOON, refusal};
use crate::tls::{Certificates, HOST, Http2};

/// A listener `default` that only redirects, with these properties, beside one that speaks TLS.
fn text(certificates: &Certificates, origin: &Origin, properties: &str) -> String {
    format!(
        r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        {properties}

        [listen.secure]
        addresses = ["127.0.0.1:0"]
        tls = true

        {}

        [route."ANY /{{rest+}}"]
        open = true
        forward = {{ to = "{}" }}

        [route."$default"]
        from = ["192.0.2.1"]
        forward = {{ to = "{}" }}
        "#,
        certificates.domain(HOST),
        origin.url(),
        origin.url()
    )
}

async fn start(properties: &str) -> (TestGateway, Origin) {
    let origin = Origin::start(Script::ok("served")).await;
    (TestGateway::start(&text(&Certificates::new(), &origin, properties)).await, origin)
}

#[tokio::test]
async fn a_redirect_keeps_the_method_unless_it_is_configured_otherwise() {
    for (properties, status) in [
        (r#"redirect = "https""#, 308),
        (r#"redirect = { to = "https" }"#, 308),
        (r#"redirect = { to = "https", status = 301 }"#, 301),
        (r#"redirect = { to = "https", status = 302 }"#, 302),
        (r#"redirect = { to = "https", status = 307 }"#, 307),
    ] {
        let (gateway, origin) = start(properties).await;
        let mut client = Raw::connect(gateway.address()).await;
        for _ in 0..2 {
            let response = client.get("/a?b").await;
            assert_eq!(response.status, status, "{properties}");
            assert_eq!(response.header("location"), Some("https://gateway.test/a?b"));
            assert_eq!((&*response.text(), response.closes()), ("", false));
            assert_eq!(response.header("x-gatepost-decision"), None, "nothing was refused");
        }
        assert_eq!(origin.accepted(), 0);
        let lines = gateway.log_until(|lines| lines.len() == 2, SOON).await;
        let line = &lines[0];
        assert_eq!((&line["verdict"], &line["status"]), (&"admitted".into(), &status.into()), "{line}");
        assert!(line.get("route").is_none() && line.get("reason").is_none(), "{line}");
    }
}

#[tokio::test]
async fn the_location_is_the_host_without_its_port_and_the_one_form_of_the_path() {
    let (gateway, _origin) = start(r#"redirect = "https""#).await;
    let mut client = Raw::connect(gateway.address()).await;
    for (host, target, location) in [
        ("a.test", "/", "https://a.test/"),
        ("a.test:80", "/", "https://a.test/"),
        ("A.Test:8080", "/A", "https://a.test/A"),
        ("a.test.", "/", "https://a.test/"),
        ("192.0.2.1:80", "/", "https://192.0.2.1/"),
        ("[2001:db8::1]:80", "/", "https://[2001:db8::1]/"),
        ("a.test", "/%7Ea/%2f/b%3fc/", "https://a.test/~a/%2F/b%3Fc/"),
        ("a.test", "//other.test/x", "https://a.test//other.test/x"),
        ("a.test", "/a?b=%2f&c=/../d?e", "https://a.test/a?b=%2f&c=/../d?e"),
        ("a.test", "/a?", "https://a.test/a?"),
        ("a.test", "http://a.test/b?c", "https://a.test/b?c"),
    ] {
        let response = client.ask(&format!("GET {target} HTTP/1.1\nhost: {host}\n\n")).await;
        assert_eq!(response.status, 308, "{host} {target}");
        assert_eq!(response.header("location"), Some(location), "{host} {target}");
    }
}

#[tokio::test]
async fn every_method_is_redirected_and_bodies_are_read_over() {
    let (gateway, origin) = start(r#"redirect = "https""#).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.send("HEAD /a HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    let response = client.response_without_body().await;
    assert_eq!((response.status, response.header("location")), (308, Some("https://a.test/a")));
    for request in [
        "POST /a HTTP/1.1\nhost: a.test\ncontent-length: 5\n\nwhole",
        "PUT /a HTTP/1.1\nhost: a.test\ntransfer-encoding: chunked\n\n3\nabc\n0\n\n",
        "OPTIONS /a HTTP/1.1\nhost: a.test\n\n",
        "BREW /a HTTP/1.1\nhost: a.test\n\n",
    ] {
        let response = client.ask(request).await;
        assert_eq!((response.status, response.header("location")), (308, Some("https://a.test/a")), "{request}");
    }
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn who_expects_to_be_asked_for_a_body_is_redirected_without() {
    let (gateway, _origin) = start(r#"redirect = "https""#).await;
    let mut client = Raw::connect(gateway.address()).await;
    let request = "POST /a HTTP/1.1\nhost: a.test\nexpect: 100-continue\ncontent-length: 5\n\n";
    assert_eq!(client.ask(request).await.status, 308, "and not 100 before");
}

#[tokio::test]
async fn a_request_that_is_not_understood_is_400_and_goes_nowhere() {
    let (gateway, _origin) = start(r#"redirect = "https""#).await;
    for head in [
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\nhost:\n\n",
        "GET / HTTP/1.1\nhost: a\nhost: b\n\n",
        "GET / HTTP/1.1\nhost: a/b\n\n",
        "GET / HTTP/1.1\nhost: user@a\n\n",
        "GET http://b.test/ HTTP/1.1\nhost: a.test\n\n",
        "GET /../a HTTP/1.1\nhost: a\n\n",
        "GET /%2e%2e/a HTTP/1.1\nhost: a\n\n",
        "GET /a\\b HTTP/1.1\nhost: a\n\n",
        "OPTIONS * HTTP/1.1\nhost: a\n\n",
        "CONNECT a:443 HTTP/1.1\nhost: a:443\n\n",
        "POST / HTTP/1.1\nhost: a\ntransfer-encoding: gzip, chunked\n\n0\n\n",
    ] {
        let response = Raw::connect(gateway.address()).await.ask(head).await;
        assert_eq!((response.status, response.header("location")), (400, None), "{head:?}");
    }
    refusal(&gateway, "malformed").await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_redirected_too() {
    let (gateway, origin) = start(r#"redirect = "https""#).await;
    let mut client = Http2::over(TcpStream::connect(gateway.address()).await.unwrap()).await;
    for request in [Request::get("http://a.test:81/b?c"), Request::post("http://a.test:81/b?c")] {
        let response = client.ask(request.body(http_body_util::Full::from("body")).unwrap()).await;
        assert_eq!(response.status(), 308);
        assert_eq!(response.headers()["location"], "https://a.test/b?c");
    }
    assert_eq!(origin.accepted(), 0);
    let lines = gateway.log_until(|lines| lines.len() == 2, SOON).await;
    assert_eq!((&lines[0]["http"], &lines[0]["status"]), (&"2".into(), &308.into()));
}

#[tokio::test]
async fn no_route_is_ever_reached_where_clients_are_only_redirected() {
    let certificates = Certificates::new();
    let origin = Origin::start(Script::ok("served")).await;
    let mut gateway = TestGateway::start(&text(&certificates, &origin, r#"redirect = "https""#)).await;
    let mut plain = Raw::connect(gateway.address()).await;
    let secure_address = gateway.addresses_of("secure")[0];
    let mut secure = certificates.client().connect(secure_address, HOST).await.raw();
    // Neither who may not enter nor what has no route is told here.
    for target in ["/a", "/"] {
        assert_eq!(plain.get(target).await.header("location"), Some(&*format!("https://{HOST}{target}")));
    }
    assert_eq!((secure.get("/a").await.status, secure.get("/").await.status), (200, 403));
    assert_eq!(origin.count(), 1);

    gateway.apply(&text(&certificates, &origin, "")).await.expect("it can be served");
    assert_eq!(plain.get("/a").await.text(), "served", "the next request is served by the new configuration");
    gateway.apply(&text(&certificates, &origin, r#"redirect = "https""#)).await.expect("it can be served");
    assert_eq!(plain.get("/a").await.status, 308);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_redirect_behind_a_proxy_is_logged_with_the_client() {
    let properties = "redirect = \"https\"\nbehind = [\"127.0.0.1\"]\nproxy_protocol = \"required\"\n";
    let (gateway, _origin) = start(properties).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.send("PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n").await;
    assert_eq!(client.get("/").await.status, 308);
    let lines = gateway.log_until(|lines| !lines.is_empty(), SOON).await;
    assert_eq!((&lines[0]["client"], &lines[0]["client_from"]), (&"192.0.2.7".into(), &"proxy".into()));
}
