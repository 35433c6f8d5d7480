use gatepost_testkit::{Origin, Script, TestGateway};

use crate::setup::{SOON, Setup, client, refusal};

#[tokio::test]
async fn what_the_backend_receives_is_the_one_form() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    let mut client = client(&gateway).await;
    for (sent, seen) in [
        ("/", "/"),
        ("/%61bc", "/abc"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/%7Euser%2D%5F%2e5", "/~user-_.5"),
        ("//a///b//", "//a///b//"),
        ("/a/", "/a/"),
        ("/...", "/..."),
        ("/%2e%2e%2e", "/..."),
        ("/.hidden/a..b", "/.hidden/a..b"),
        ("/%20%25%3f%23", "/%20%25%3F%23"),
        ("/%252e%252e", "/%252e%252e"),
        ("/a;b=c/d,e:f@g!$&'()*+=", "/a;b=c/d,e:f@g!$&'()*+="),
        ("/a?x=%2e%2e&y=//..%2f%5c%00", "/a?x=%2e%2e&y=//..%2f%5c%00"),
        ("/a?", "/a?"),
        ("/a%3fb?c", "/a%3Fb?c"),
        ("http://gateway.test/a%2fb?c", "/a%2Fb?c"),
    ] {
        assert_eq!(client.get(sent).await.status, 200, "{sent}");
        assert_eq!(origin.last().target(), seen, "{sent}");
    }
}

#[tokio::test]
async fn a_path_that_two_readers_could_read_differently_is_refused_and_the_connection_closed() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = Setup::to(&origin).start().await;
    for sent in [
        "/..",
        "/.",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/%2e%2e/b",
        "/%2E./b",
        "/.%2e",
        "/a/%2e/b",
        "/..%2fetc",
        "/..%2Fetc",
        "/a%2f..%2fb",
        "/a/..;x=1/b",
        "/a/.;/b",
        "/%2e%2e;/b",
        "/a%5cb",
        "/a%5Cb",
        "/a\\b",
        "/..%5c",
        "/%00",
        "/a%00.png",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a%%32",
    ] {
        let mut client = client(&gateway).await;
        let response = client.get(sent).await;
        assert_eq!(response.status, 400, "{sent}");
        assert!(response.closes(), "{sent}");
        client.expect_close(SOON).await;
    }
    assert_eq!(origin.bytes_read(), 0);
    let line = refusal(&gateway, "malformed").await;
    assert_eq!(line["verdict"], "refused");
}

#[tokio::test]
async fn another_spelling_does_not_lead_around_a_route() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = TestGateway::start(&format!(
        r#"
        listen = "127.0.0.1:0"
        [route."ANY /admin"]
        from = ["192.0.2.1"]
        respond = {{ body = "admin" }}
        [route."ANY /admin/{{rest+}}"]
        from = ["192.0.2.1"]
        respond = {{ body = "admin" }}
        [route."$default"]
        open = true
        forward = {{ to = "{}" }}
        "#,
        origin.url()
    ))
    .await;
    for (sent, status) in [
        ("/admin", 403),
        ("/%61dmin", 403),
        ("/adm%69n/x", 403),
        ("/admin/%2F", 403),
        ("http://gateway.test/%61dmin", 403),
        ("/x/../admin", 400),
        ("/x/%2e%2e/admin", 400),
        ("/x%2f..%2fadmin", 400),
        ("/.;/admin", 400),
        ("/x\\..\\admin", 400),
        // Those are other paths, for us and for the backend.
        ("//admin", 200),
        ("/admin%2Fx", 200),
        ("/ADMIN", 200),
    ] {
        let mut client = client(&gateway).await;
        assert_eq!(client.get(sent).await.status, status, "{sent}");
    }
    let seen: Vec<String> = origin.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(seen, ["//admin", "/admin%2Fx", "/ADMIN"]);
}
