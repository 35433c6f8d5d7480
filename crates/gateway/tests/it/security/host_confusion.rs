//! A request that names two hosts, or none, must not reach one that its route was not chosen by.

use gatepost_testkit::{Origin, Script, TestGateway};

use crate::setup::{SOON, client, refusal};

async fn gateway(origin: &Origin) -> TestGateway {
    let url = origin.url();
    TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [api.public.route."$default"]
        open = true
        forward = {{ to = "{url}", host = "client" }}
        [api.private]
        hosts = ["private.test"]
        [api.private.route."$default"]
        from = ["192.0.2.1"]
        forward = {{ to = "{url}", host = "client" }}
        "#
    ))
    .await
}

#[tokio::test]
async fn a_request_with_no_host_or_several_or_none_that_is_one_is_refused() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = gateway(&origin).await;
    for head in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.0\n",
        "GET http://public.test/ HTTP/1.1\n",
        "GET / HTTP/1.1\nhost:\n",
        "GET / HTTP/1.1\nhost: \n",
        "GET / HTTP/1.1\nhost: public.test\nhost: private.test\n",
        "GET / HTTP/1.1\nhost: public.test\nhost: public.test\n",
        "GET / HTTP/1.1\nhost: public.test, private.test\n",
        "GET / HTTP/1.1\nhost: public.test private.test\n",
        "GET / HTTP/1.1\nhost: user@private.test\n",
        "GET / HTTP/1.1\nhost: public.test@private.test\n",
        "GET / HTTP/1.1\nhost: public.test:80@private.test\n",
        "GET / HTTP/1.1\nhost: http://public.test\n",
        "GET / HTTP/1.1\nhost: public.test/private\n",
        "GET / HTTP/1.1\nhost: public.test?x\n",
        "GET / HTTP/1.1\nhost: public.test#x\n",
        "GET / HTTP/1.1\nhost: public.test\\x\n",
        "GET / HTTP/1.1\nhost: public.test:\n",
        "GET / HTTP/1.1\nhost: public.test:x\n",
        "GET / HTTP/1.1\nhost: public.test:80:80\n",
        "GET / HTTP/1.1\nhost: public.test:99999\n",
        "GET / HTTP/1.1\nhost: :80\n",
        "GET / HTTP/1.1\nhost: [::1\n",
        "GET / HTTP/1.1\nhost: ::1\n",
        "GET / HTTP/1.1\nhost: pub\u{e9}.test\n",
        "GET / HTTP/1.1\nhost: public%2etest\n",
        "GET / HTTP/1.1\nhost: *.test\n",
        // An absolute target that disagrees.
        "GET http://private.test/ HTTP/1.1\nhost: public.test\n",
        "GET http://public.test/ HTTP/1.1\nhost: private.test\n",
        "GET http://public.test:81/ HTTP/1.1\nhost: public.test:82\n",
        "GET http://user@public.test/ HTTP/1.1\nhost: public.test\n",
        "GET http://user@public.test/ HTTP/1.1\nhost: user@public.test\n",
        "GET http:// HTTP/1.1\nhost: public.test\n",
        "GET http:///x HTTP/1.1\nhost: public.test\n",
        // Targets that are no path.
        "GET public.test HTTP/1.1\nhost: public.test\n",
        "GET public.test:80 HTTP/1.1\nhost: public.test:80\n",
        "GET * HTTP/1.1\nhost: public.test\n",
        "GET x HTTP/1.1\nhost: x\n",
    ] {
        let mut client = client(&gateway).await;
        let response = client.ask(&format!("{head}\n")).await;
        assert_eq!(response.status, 400, "{head:?}");
        let rest = client.read_to_end().await;
        assert!(rest.is_empty(), "{head:?}");
    }
    assert_eq!(origin.bytes_read(), 0);
    refusal(&gateway, "malformed").await;
}

#[tokio::test]
async fn every_spelling_of_a_host_is_that_host() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = gateway(&origin).await;
    for head in [
        "GET / HTTP/1.1\nhost: private.test\n",
        "GET / HTTP/1.1\nhost: PRIVATE.test\n",
        "GET / HTTP/1.1\nhost: private.test:80\n",
        "GET / HTTP/1.1\nhost: private.test:8080\n",
        "GET / HTTP/1.1\nhost:\tprivate.test \n",
        "GET / HTTP/1.1\nHOST:private.test\n",
        "GET / HTTP/1.0\nhost: private.test\n",
        "GET http://private.test/ HTTP/1.1\nhost: private.test\n",
        "GET HTTP://Private.Test/ HTTP/1.1\nhost: private.test\n",
        "GET / HTTP/1.1\nhost: private.test\nx-forwarded-host: public.test\n",
        "GET / HTTP/1.1\nhost: private.test\nforwarded: host=public.test\n",
        "GET / HTTP/1.1\nhost: private.test\nx-original-url: /x\nx-rewrite-url: /y\n",
    ] {
        let mut client = client(&gateway).await;
        assert_eq!(client.ask(&format!("{head}\n")).await.status, 403, "{head:?}");
    }
    assert_eq!(origin.bytes_read(), 0);
}

#[tokio::test]
async fn the_host_with_a_final_dot_is_refused_or_that_host() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = gateway(&origin).await;
    let mut client = client(&gateway).await;
    let response = client.ask("GET / HTTP/1.1\nhost: private.test.\n\n").await;
    assert!(
        [400, 403].contains(&response.status),
        "private.test. is private.test to every resolver: {}",
        response.status
    );
}

#[tokio::test]
async fn an_absolute_target_that_agrees_is_served_as_a_path() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = gateway(&origin).await;
    let mut client = client(&gateway).await;
    for (target, seen) in [
        ("http://public.test/a/b?c", "/a/b?c"),
        ("http://public.test", "/"),
        ("http://public.test?c", "/?c"),
        ("https://public.test/", "/"),
    ] {
        let response = client.ask(&format!("GET {target} HTTP/1.1\nhost: public.test\n\n")).await;
        assert_eq!(response.status, 200, "{target}");
        assert_eq!((origin.last().target(), origin.last().header("host")), (seen, Some("public.test")), "{target}");
    }
    gateway.log_until(|lines| lines.len() == 4, SOON).await;
}

#[tokio::test]
async fn an_absolute_target_agrees_with_or_without_the_port_that_goes_without_saying() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = gateway(&origin).await;
    let mut client = client(&gateway).await;
    for (authority, host) in [
        ("public.test:80", "public.test"),
        ("public.test", "public.test:80"),
        ("public.test:80", "public.test:80"),
        ("Public.test:80", "public.TEST"),
    ] {
        let response = client.ask(&format!("GET http://{authority}/a HTTP/1.1\nhost: {host}\n\n")).await;
        assert_eq!(response.status, 200, "{authority} and {host}");
        assert_eq!((origin.last().target(), origin.last().header("host")), ("/a", Some(host)), "{authority}");
        // By the same rule the private host is the private one.
        let (authority, host) = (authority.replace("ublic", "rivate"), host.replace("ublic", "rivate"));
        let response = client.ask(&format!("GET http://{authority}/a HTTP/1.1\nhost: {host}\n\n")).await;
        assert_eq!(response.status, 403, "{authority} and {host}");
    }
    for (authority, host) in [
        ("public.test:8080", "public.test"),
        ("public.test", "public.test:8080"),
        ("public.test:443", "public.test"),
        ("public.test:080", "public.test"),
        ("private.test:80", "public.test"),
        ("public.test:80", "private.test"),
    ] {
        let mut client = crate::setup::client(&gateway).await;
        let response = client.ask(&format!("GET http://{authority}/ HTTP/1.1\nhost: {host}\n\n")).await;
        assert_eq!(response.status, 400, "{authority} and {host}");
    }
    assert_eq!(origin.count(), 4);
}
