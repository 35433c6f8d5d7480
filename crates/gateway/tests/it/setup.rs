//! Configurations and requests that many tests share.

use std::sync::Arc;
use std::time::Duration;

use gatepost_config::model::{Action, Model, Upstream};
use gatepost_testkit::{Json, Origin, Raw, TestGateway};

/// For what happens at once, unless the machine is very busy.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A configuration with one listener and one route, `$default`, that forwards everything.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    to: String,
    entry: String,
    limits: String,
    listener: String,
    tables: String,
    forward: String,
    route: String,
}

impl Setup {
    /// Forwards to this origin.
    pub(crate) fn to(origin: &Origin) -> Self {
        Self::to_upstream(&[origin])
    }

    /// Forwards to these origins in turn.
    pub(crate) fn to_upstream(origins: &[&Origin]) -> Self {
        let urls: Vec<String> = origins.iter().map(|origin| origin.url()).collect();
        Self::to_urls(&urls)
    }

    /// Forwards to these URLs in turn.
    pub(crate) fn to_urls(urls: &[String]) -> Self {
        Self {
            to: format!("{urls:?}"),
            entry: "open = true".to_owned(),
            limits: String::new(),
            listener: String::new(),
            tables: String::new(),
            forward: String::new(),
            route: String::new(),
        }
    }

    /// Who may enter, instead of everyone.
    pub(crate) fn entry(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.entry);
        self
    }

    /// Limits of the listener: `idle_timeout = "1s", …`.
    pub(crate) fn limits(mut self, limits: &str) -> Self {
        limits.clone_into(&mut self.limits);
        self
    }

    /// More lines of the listener.
    pub(crate) fn listener(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.listener);
        self
    }

    /// More tables.
    pub(crate) fn tables(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.tables);
        self
    }

    /// Keys of `forward` besides `to`, each with a comma before it left out: `timeout = "1s", …`.
    pub(crate) fn forward(mut self, keys: &str) -> Self {
        self.forward = format!(", {keys}");
        self
    }

    /// More lines of the route.
    pub(crate) fn route(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.route);
        self
    }

    pub(crate) fn text(&self) -> String {
        let Self { to, entry, limits, listener, tables, forward, route } = self;
        let limits = if limits.is_empty() { String::new() } else { format!("limits = {{ {limits} }}") };
        format!(
            r#"
            [listen.default]
            addresses = ["127.0.0.1:0"]
            {limits}
            {listener}

            {tables}

            [upstream.app]
            targets = {to}

            [route."$default"]
            {entry}
            {route}
            forward = {{ to = "app"{forward} }}
            "#
        )
    }

    pub(crate) async fn start(&self) -> TestGateway {
        TestGateway::start(&self.text()).await
    }

    /// Starts once `change` has been made to the upstream.
    pub(crate) async fn start_with(&self, change: impl Fn(&mut Upstream)) -> TestGateway {
        TestGateway::start_with(&self.text(), |model| change_upstreams(model, change)).await
    }
}

/// Makes a change to every upstream.
pub(crate) fn change_upstreams(model: &mut Model, change: impl Fn(&mut Upstream)) {
    for route in model.apis.iter_mut().flat_map(|api| &mut api.routes) {
        if let Action::Forward(forward) = &mut route.action {
            change(Arc::make_mut(&mut forward.upstream));
        }
    }
}

/// A client of the gateway.
pub(crate) async fn client(gateway: &TestGateway) -> Raw {
    Raw::connect(gateway.address()).await
}

/// A POST request with this body and its length.
pub(crate) fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A POST request with this body in chunks of uneven sizes.
pub(crate) fn post_chunked(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n\r\n");
    [head.as_bytes(), &chunks(body)].concat()
}

/// A body in chunks of uneven sizes, with its end.
pub(crate) fn chunks(body: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(body.len() + body.len() / 100 + 64);
    let mut rest = body;
    for size in [1, 7, 4096, 65_537, 13].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        rest = after;
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

/// Waits for the first line of the access log with this reason.
pub(crate) async fn refusal(gateway: &TestGateway, reason: &str) -> Json {
    let of_it = |line: &Json| line["reason"] == *reason;
    let lines = gateway.log_until(|lines| lines.iter().any(of_it), SOON).await;
    lines.into_iter().find(of_it).expect("it was there")
}

/// Waits for a line of the access log that ends like this.
pub(crate) async fn ending(gateway: &TestGateway, ended: &str) -> Json {
    let of_it = |line: &Json| line["ended"] == *ended;
    let lines = gateway.log_until(|lines| lines.iter().any(of_it), SOON).await;
    lines.into_iter().find(of_it).expect("it was there")
}

/// Whether `took` is a limit of one second: not cut early, and cut before anybody would call it late.
#[track_caller]
pub(crate) fn assert_one_second(took: Duration) {
    assert!(took >= Duration::from_millis(900), "cut early, after {took:?}");
    assert!(took <= Duration::from_secs(4), "cut late, after {took:?}");
}
