//! HTTP/2, with prior knowledge in the clear, agreed upon over TLS.

use std::net::Ipv4Addr;
use std::rc::Rc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{LIMIT, LONGEST_BODY, Reply, authority, runtime, tls};
use crate::Outcome;
use crate::front::{Front, Http};

/// A connection that carries one request after another, and does nothing in between.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    driver: h2::client::Connection<Box<dyn Stream>, Bytes>,
    url: String,
    runtime: Rc<Runtime>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl Connection {
    pub(super) fn open(port: u16, front: &Front) -> Outcome<Self> {
        let runtime = runtime()?;
        let opened = runtime.block_on(async {
            timeout(LIMIT, async {
                let stream = open(port, front).await?;
                Ok::<_, Box<dyn std::error::Error>>(h2::client::handshake(stream).await?)
            })
            .await?
        });
        let (requests, driver) = opened?;
        Ok(Self { requests, driver, url: format!("{}://{}", front.scheme(), authority(port, front)), runtime })
    }

    pub(super) fn get(&mut self, path: &str) -> Outcome<Reply> {
        let Self { requests, driver, url, runtime } = self;
        let request = Request::get(format!("{url}{path}")).version(Version::HTTP_2).body(())?;
        runtime.block_on(async {
            tokio::select! {
                reply = timeout(LIMIT, answer(requests, request)) => reply?,
                ended = driver => {
                    ended?;
                    Err("the connection ended before the answer".into())
                }
            }
        })
    }
}

async fn open(port: u16, front: &Front) -> Outcome<Box<dyn Stream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    if front.tls.is_none() {
        return Ok(Box::new(stream));
    }
    let config = tls::Offer::of(Http::Two).config()?;
    let stream = TlsConnector::from(config).connect(tls::host()?, stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Ok(Box::new(stream)),
        other => Err(format!("HTTP/2 was not agreed upon, but {other:?}").into()),
    }
}

async fn answer(requests: &mut SendRequest<Bytes>, request: Request<()>) -> Outcome<Reply> {
    let mut requests = requests.clone().ready().await?;
    let (response, _) = requests.send_request(request, true)?;
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
        if body.len() > LONGEST_BODY {
            return Err(format!("an answer of more than {LONGEST_BODY} bytes").into());
        }
    }
    Ok(Reply { status: head.status.as_u16(), body: String::from_utf8(body)? })
}
