//! TLS from certificate files, as clients meet it.

mod certificates;
mod connections;
mod handshakes;
mod requests;

use std::fs;

use bytes::Bytes;
use gatepost_testkit::{Authority, Issued, PATIENCE, Raw, TestGateway, TlsClient};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::setup::Setup;

/// The host that requests are for, unless they say otherwise.
pub(crate) const HOST: &str = "gateway.test";

/// An authority, and the files of what it has issued.
pub(crate) struct Certificates {
    pub(crate) authority: Authority,
    directory: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::new(), directory: TempDir::new().expect("a directory") }
    }

    /// The table of a domain that has a certificate of its own.
    pub(crate) fn domain(&self, name: &str) -> String {
        self.domain_with(name, &self.authority.issue(&[name]))
    }

    /// The table of a domain with this certificate; the files of the domain now hold it.
    pub(crate) fn domain_with(&self, name: &str, issued: &Issued) -> String {
        let file = self.directory.path().join(name.replace('*', "any"));
        let (chain, key) = (file.with_extension("pem"), file.with_extension("key"));
        fs::write(&chain, &issued.chain_pem).expect("a file");
        fs::write(&key, &issued.key_pem).expect("a file");
        let (chain, key) = (chain.display(), key.display());
        format!("[domain.\"{name}\"]\ntls = {{ cert = \"file:{chain}\", key = \"file:{key}\" }}\n")
    }

    /// A configuration like `setup` whose listener speaks TLS for [`HOST`].
    pub(crate) fn secure(&self, setup: Setup) -> Setup {
        setup.listener("tls = true").tables(&self.domain(HOST))
    }

    pub(crate) fn client(&self) -> TlsClient {
        TlsClient::new(&self.authority)
    }

    /// A connection to `gateway`, for [`HOST`], that speaks HTTP/1.1.
    pub(crate) async fn connect(&self, gateway: &TestGateway) -> Raw {
        self.client().connect(gateway.address(), HOST).await.raw()
    }

    /// A connection to `gateway` that speaks HTTP/2.
    pub(crate) async fn connect_http2(&self, gateway: &TestGateway, host: &str) -> Http2 {
        let secured = self.client().alpn(&["h2"]).connect(gateway.address(), host).await;
        assert_eq!(secured.alpn().as_deref(), Some("h2"));
        Http2::over(secured.stream()).await
    }
}

/// A client that speaks HTTP/2.
#[derive(Clone)]
pub(crate) struct Http2(SendRequest<Full<Bytes>>);

impl Http2 {
    /// Speaks it on `stream`.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection);
        Self(requests)
    }

    /// Asks, and reads the whole answer.
    #[expect(clippy::disallowed_methods, reason = "the answers of a test are as long as it makes them")]
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let asked = async {
            self.0.ready().await.expect("an open connection");
            let (head, body) = self.0.send_request(request).await.expect("an answer").into_parts();
            Response::from_parts(head, body.collect().await.expect("a whole body").to_bytes())
        };
        timeout(PATIENCE, asked).await.expect("an answer in time")
    }

    /// Asks for `url`.
    pub(crate) async fn get(&mut self, url: &str) -> Response<Bytes> {
        self.ask(Request::get(url).body(Full::default()).expect("a request")).await
    }
}
