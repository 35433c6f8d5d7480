//! Paths that a filter and a backend read differently.

use gatepost_testkit::{Origin, Script, TestGateway};

use crate::setup::client;

#[tokio::test]
async fn no_spelling_of_a_path_leads_around_a_closed_route() {
    let origin = Origin::start(Script::ok("")).await;
    let url = origin.url();
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [api.app]
        base = "/app"
        [api.app.route."ANY /public/{{rest+}}"]
        open = true
        forward = {{ to = "{url}" }}
        [api.app.route."ANY /mapped/{{name}}"]
        open = true
        forward = {{ to = "{url}", path = "/files/{{name}}" }}
        [api.app.route."$default"]
        from = ["192.0.2.1"]
        forward = {{ to = "{url}" }}
        "#
    ))
    .await;
    for target in [
        "/app/admin",
        "/app/public/../admin",
        "/app/public/%2e%2e/admin",
        "/app/public/..%2fadmin",
        "/app/public/%2e%2e%2fadmin",
        "/app/public/..%5cadmin",
        "/app/public/..\\admin",
        "/app/public/..;/admin",
        "/app/public/..;a=b/admin",
        "/app/public/.%00./admin",
        "/app/public/x/%2E%2E/%2e%2E/admin",
        "/app/public/..",
        "/app/public/%2e",
        "/app/mapped/..",
        "/app/mapped/%2e%2e",
        "/app/mapped/..%2fadmin",
        "/app/mapped/..%2F..%2Fadmin",
        "/app/../admin",
        "/app%2f..%2fadmin",
        "/%61pp/admin",
        "http://gateway.test/app/admin",
        "http://gateway.test/app/public/../admin",
    ] {
        let mut client = client(&gateway).await;
        let status = client.get(target).await.status;
        assert!([400, 403, 404].contains(&status), "{target}: {status}");
    }
    assert_eq!(origin.bytes_read(), 0);

    let mut client = client(&gateway).await;
    for (target, seen) in [
        ("/app/public/a%2f%2e%2e%2e", "/public/a%2F..."),
        ("/app/public//admin", "/public//admin"),
        ("/app/mapped/a%2fb", "/files/a%2Fb"),
        // Decoded once, not twice: what is left is for the backend as it is for us.
        ("/app/mapped/%252e%252e", "/files/%252e%252e"),
    ] {
        assert_eq!(client.get(target).await.status, 200, "{target}");
        assert_eq!(origin.last().target(), seen);
    }
}

#[tokio::test]
async fn a_fragment_never_reaches_the_backend() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = crate::setup::Setup::to(&origin).start().await;
    for target in ["/a#b", "/a?b#c", "/#/../x"] {
        let mut client = client(&gateway).await;
        let response = client.get(target).await;
        if response.status == 200 {
            let seen = origin.last();
            assert!(!seen.target().contains('#') && target.starts_with(seen.target()), "{target}: {}", seen.target());
        } else {
            assert_eq!(response.status, 400, "{target}");
        }
    }
}

#[tokio::test]
async fn a_query_passes_as_it_came_and_is_no_part_of_the_route() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [route."GET /open"]
        open = true
        forward = {{ to = "{}" }}
        [route."$default"]
        from = ["192.0.2.1"]
        respond = {{}}
        "#,
        origin.url()
    ))
    .await;
    let mut client = client(&gateway).await;
    for query in ["/admin", "../../admin", "a=%2e%2e%2f", "%00", "a&&b=c=d;e", "?", "%zz", "[x]={y}|z"] {
        let target = format!("/open?{query}");
        let response = client.get(&target).await;
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(origin.last().target(), target);
    }
    assert_eq!(client.get("/%6fpen%3fx").await.status, 403, "an escaped question mark begins no query");
}
