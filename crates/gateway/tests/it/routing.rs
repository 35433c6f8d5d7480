use gatepost_testkit::{Origin, Raw, Script, TestGateway};

use crate::setup::client;

async fn answer(client: &mut Raw, host: &str, target: &str) -> (u16, String) {
    let response = client.ask(&format!("GET {target} HTTP/1.1\nhost: {host}\n\n")).await;
    (response.status, response.text())
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

fn not_found() -> (u16, String) {
    (404, r#"{"message":"Not Found"}"#.to_owned())
}

#[tokio::test]
async fn an_exact_host_beats_a_wildcard_and_a_wildcard_beats_any() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [api.exact]
        hosts = ["a.example.com"]
        [api.exact.route."GET /"]
        open = true
        respond = { body = "exact" }
        [api.below]
        hosts = ["*.example.com"]
        [api.below.route."GET /"]
        open = true
        respond = { body = "below" }
        [api.deeper]
        hosts = ["*.deep.example.com"]
        [api.deeper.route."GET /"]
        open = true
        respond = { body = "deeper" }
        [api.rest.route."GET /"]
        open = true
        respond = { body = "any" }
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    for (host, body) in [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("a.example.com:8080", "exact"),
        ("b.example.com", "below"),
        ("x.a.example.com", "below"),
        ("x.deep.example.com", "deeper"),
        ("deep.example.com", "below"),
        ("example.com", "any"),
        ("notexample.com", "any"),
        ("other.test", "any"),
        ("192.0.2.1", "any"),
        ("[2001:db8::1]:80", "any"),
    ] {
        assert_eq!(answer(&mut client, host, "/").await, ok(body), "{host}");
    }
}

#[tokio::test]
async fn the_longest_base_wins_by_whole_segments_and_no_other_api_is_tried() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [api.root.route."GET /{rest+}"]
        open = true
        respond = { body = "root" }
        [api.one]
        base = "/v1"
        [api.one.route."GET /pets"]
        open = true
        respond = { body = "one" }
        [api.admin]
        base = "/v1/admin"
        [api.admin.route."GET /"]
        open = true
        respond = { body = "admin" }
        [api.host]
        hosts = ["narrow.test"]
        base = "/only"
        [api.host.route."GET /"]
        open = true
        respond = { body = "narrow" }
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    assert_eq!(answer(&mut client, "any.test", "/v1/pets").await, ok("one"));
    assert_eq!(answer(&mut client, "any.test", "/v1/admin").await, ok("admin"));
    assert_eq!(answer(&mut client, "any.test", "/v1/admin/").await, ok("admin"));
    assert_eq!(answer(&mut client, "any.test", "/v1x").await, ok("root"), "a base ends where a segment does");
    assert_eq!(answer(&mut client, "any.test", "/v1/adminx").await, not_found(), "it belongs to /v1, which lacks it");
    assert_eq!(answer(&mut client, "any.test", "/v1/other").await, not_found(), "no fallback to the API without base");
    assert_eq!(answer(&mut client, "any.test", "/v1/admin/x").await, not_found(), "no fallback to /v1");
    assert_eq!(answer(&mut client, "narrow.test", "/only").await, ok("narrow"));
    assert_eq!(answer(&mut client, "narrow.test", "/v1/pets").await, not_found(), "the host has APIs of its own");
}

#[tokio::test]
async fn the_base_is_cut_off_what_the_backend_sees() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [api.one]
        base = "/v1"
        [api.one.route."$default"]
        open = true
        forward = {{ to = "{}" }}
        "#,
        origin.url()
    ))
    .await;
    let mut client = client(&gateway).await;
    for (target, seen) in [
        ("/v1/pets/7", "/pets/7"),
        ("/v1/pets/?a=b&c", "/pets/?a=b&c"),
        ("/v1", "/"),
        ("/v1?x=/v1", "/?x=/v1"),
        ("/v1/v1/v1", "/v1/v1"),
        ("/v1//pets", "//pets"),
        ("/%76%31/pets", "/pets"),
    ] {
        assert_eq!(client.get(target).await.status, 200, "{target}");
        assert_eq!(origin.last().target(), seen, "{target}");
    }
}

#[tokio::test]
async fn static_beats_parameter_beats_greedy_and_a_method_that_does_not_fit_tries_the_next() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [route."GET /pets/list"]
        open = true
        respond = { body = "static" }
        [route."GET,PUT /pets/{id}"]
        open = true
        respond = { body = "parameter" }
        [route."ANY /pets/{rest+}"]
        open = true
        respond = { body = "greedy" }
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    for (method, target, body) in [
        ("GET", "/pets/list", "static"),
        ("GET", "/pets/7", "parameter"),
        ("PUT", "/pets/list", "parameter"),
        ("DELETE", "/pets/list", "greedy"),
        ("GET", "/pets/7/toys", "greedy"),
        ("GET", "/pets/7/", "greedy"),
        ("GET", "/pets//", "greedy"),
    ] {
        let response = client.ask(&format!("{method} {target} HTTP/1.1\nhost: a\n\n")).await;
        assert_eq!((response.status, &*response.text()), (200, body), "{method} {target}");
    }
    assert_eq!(answer(&mut client, "a", "/pets/").await, not_found(), "an empty segment is no parameter");
    assert_eq!(answer(&mut client, "a", "/pets").await, not_found());
}

#[tokio::test]
async fn a_known_path_with_another_method_is_405_and_tells_the_methods() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [route."GET,POST /pets"]
        open = true
        respond = { body = "pets" }
        [route."PATCH /{name}"]
        open = true
        respond = { body = "any name" }
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    let response = client.ask("DELETE /pets HTTP/1.1\nhost: a\n\n").await;
    assert_eq!(response.status, 405);
    assert_eq!(response.text(), r#"{"message":"Method Not Allowed"}"#);
    assert_eq!(response.header("allow"), Some("GET, HEAD, PATCH, POST"));
    assert!(response.header("x-gatepost-decision").is_some());
    assert!(!response.closes());
    assert_eq!(client.ask("DELETE /other/pets HTTP/1.1\nhost: a\n\n").await.status, 404);
    assert_eq!(client.ask("get /pets HTTP/1.1\nhost: a\n\n").await.status, 405, "methods are case-sensitive");
}

#[tokio::test]
async fn get_serves_head_without_a_body() {
    let origin = Origin::start(Script::send("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n")).await;
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [route."GET /here"]
        open = true
        respond = {{ body = "seven.." }}
        [route."GET /there"]
        open = true
        forward = {{ to = "{}" }}
        "#,
        origin.url()
    ))
    .await;
    let mut client = client(&gateway).await;
    let response = client.ask("HEAD /there HTTP/1.1\nhost: a\n\n").await;
    assert_eq!((response.status, response.header("content-length")), (200, Some("1234")));
    assert_eq!(origin.last().method(), "HEAD");

    let response = client.ask("HEAD /here HTTP/1.1\nhost: a\n\n").await;
    assert_eq!((response.status, response.header("content-length")), (200, Some("7")));
    // What comes next on the connection is the next answer, not a body.
    assert_eq!(answer(&mut client, "a", "/here").await, ok("seven.."));
}

#[tokio::test]
async fn the_default_route_takes_what_nothing_else_does() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [route."GET /known"]
        open = true
        respond = { body = "known" }
        [route."$default"]
        open = true
        respond = { status = 418, body = "default" }
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    assert_eq!(answer(&mut client, "a", "/known").await, ok("known"));
    for target in ["/", "/known/", "/unknown", "/known/more", "//known"] {
        assert_eq!(answer(&mut client, "a", target).await, (418, "default".to_owned()), "{target}");
    }
    assert_eq!(client.ask("POST /known HTTP/1.1\nhost: a\ncontent-length: 0\n\n").await.status, 418);
}

#[tokio::test]
async fn parameters_go_into_the_path_that_the_backend_sees_as_they_came() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [api.shop]
        base = "/shop"
        [api.shop.route."GET /{{user}}/orders/{{id}}"]
        open = true
        forward = {{ to = "{url}", path = "/orders/{{id}}/of/{{user}}" }}
        [api.shop.route."GET /files/{{rest+}}"]
        open = true
        forward = {{ to = "{url}", path = "/{{rest}}" }}
        [api.shop.route."GET /fixed"]
        open = true
        forward = {{ to = "{url}", path = "/elsewhere" }}
        "#,
        url = origin.url()
    ))
    .await;
    let mut client = client(&gateway).await;
    for (target, seen) in [
        ("/shop/ann/orders/7", "/orders/7/of/ann"),
        ("/shop/a%2fb/orders/%41%20c?q=1&q=2", "/orders/A%20c/of/a%2Fb?q=1&q=2"),
        ("/shop/files/a/b//c/?x", "/a/b//c/?x"),
        ("/shop/files//a", "//a"),
        ("/shop/fixed?k=v", "/elsewhere?k=v"),
    ] {
        assert_eq!(client.get(target).await.status, 200, "{target}");
        assert_eq!(origin.last().target(), seen, "{target}");
    }
}

#[tokio::test]
async fn a_redirect_takes_parameters_and_the_query_along_and_never_names_another_host() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [route."GET /old/{rest+}"]
        open = true
        redirect = { to = "/{rest}", status = 307 }
        [route."GET /away/{id}"]
        open = true
        redirect = { to = "https://example.com/x/{id}?from=here" }
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    for (target, status, location) in [
        ("/old/a/b?q=%41", 307, "/a/b?q=%41"),
        ("/old/a", 307, "/a"),
        ("/old//evil.example", 307, "/%2Fevil.example"),
        ("/old///evil.example", 307, "/%2F/evil.example"),
        ("/away/7?q=1", 308, "https://example.com/x/7?from=here"),
    ] {
        let response = client.get(target).await;
        assert_eq!((response.status, response.header("location")), (status, Some(location)), "{target}");
        assert_eq!(response.header("content-length"), Some("0"), "{target}");
    }
}

#[tokio::test]
async fn an_api_answers_on_its_listeners_only() {
    let gateway = TestGateway::start(
        r#"
        [listen.public]
        addresses = ["127.0.0.1:0"]
        [listen.private]
        addresses = ["127.0.0.1:0", "127.0.0.1:0"]
        [api.everywhere.route."GET /"]
        open = true
        respond = { body = "everywhere" }
        [api.inside]
        listen = ["private"]
        hosts = ["inside.test"]
        [api.inside.route."GET /"]
        open = true
        respond = { body = "inside" }
        "#,
    )
    .await;
    let mut public = Raw::connect(gateway.addresses_of("public")[0]).await;
    assert_eq!(answer(&mut public, "inside.test", "/").await, ok("everywhere"));
    let private = gateway.addresses_of("private");
    assert!(!private.is_empty());
    for address in private {
        let mut client = Raw::connect(address).await;
        assert_eq!(answer(&mut client, "inside.test", "/").await, ok("inside"));
        assert_eq!(answer(&mut client, "other.test", "/").await, ok("everywhere"));
    }
}

#[tokio::test]
async fn a_redirect_puts_the_query_before_the_fragment() {
    let gateway = TestGateway::start(
        r#"
        listen = "127.0.0.1:0"
        [route."GET /old/{id}"]
        open = true
        redirect = { to = "/new/{id}#part" }
        [route."GET /own/{id}"]
        open = true
        redirect = { to = "https://example.com/{id}?a=b#part" }
        [route."GET /asked/{id}"]
        open = true
        redirect = { to = "/new/{id}#what?" }
        "#,
    )
    .await;
    let mut client = client(&gateway).await;
    for (target, location) in [
        ("/old/7", "/new/7#part"),
        ("/old/7?x=1&y", "/new/7?x=1&y#part"),
        ("/own/7?x=1", "https://example.com/7?a=b#part"),
        ("/asked/7?x=1", "/new/7?x=1#what?"),
    ] {
        let response = client.get(target).await;
        assert_eq!((response.status, response.header("location")), (308, Some(location)), "{target}");
    }
}
