//! Asking for a list: one request on a connection of its own, bounded in time and size, redirects not followed.

use std::time::Duration;

use bytes::Bytes;
use gatepost_config::model::{FeedUrl, Target, TargetHost};
use gatepost_net::tls::{ClientTls, ConnectError};
use gatepost_net::{Destination, DialError, Fence, Host, Resolver};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::copy::Validators;
use crate::read::MOST_BYTES;

/// How long a fetch may take, from the look-up of the name to the last byte.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// The head of an answer, at most, in bytes.
const HEAD: usize = 64 * 1024;

const AGENT: &str = concat!("gatepost/", env!("CARGO_PKG_VERSION"));

/// How lists are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    pub(crate) resolver: Resolver,
    pub(crate) tls: ClientTls,
}

/// What a publisher answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The version that was asked about is still the one.
    NotModified,
    /// A list.
    List {
        bytes: Bytes,
        /// Whether its end was told.
        is_whole: bool,
        validators: Validators,
    },
}

/// Why no list came.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum FetchError {
    #[error(
        "{host} is at {address}, {class}: a name is asked at public addresses only; write the address itself if it is meant"
    )]
    NotPublic { host: Host, address: std::net::IpAddr, class: gatepost_net::AddressClass },
    #[error(transparent)]
    Dial(DialError),
    #[error(transparent)]
    Tls(#[from] ConnectError),
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the list broke off: {0}")]
    Body(hyper::Error),
    #[error("the list is longer than {} MiB", MOST_BYTES / 1024 / 1024)]
    TooLong,
    #[error("no list within {FETCH_TIMEOUT:?}")]
    Timeout,
    #[error("the list has moved to {0}: redirects are not followed, correct the `url`")]
    Moved(String),
    #[error("the answer was {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the list is encoded as {0}, which was not asked for")]
    Encoded(String),
    #[error("the list comes in the transfer coding `{0}`, which was not asked for: `chunked` alone is read")]
    Transferred(String),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

/// Where a list is, ready to be asked for.
#[derive(Debug)]
pub(crate) struct Source {
    url: FeedUrl,
    destination: Destination,
}

impl Source {
    pub(crate) fn new(url: &FeedUrl) -> Self {
        let host = match &url.target.host {
            TargetHost::Address(address) => Host::Address(*address),
            TargetHost::Name(name) => Host::Name(name.clone()),
        };
        Self { destination: Destination::new(host, url.target.port, Fence::Unstated), url: url.clone() }
    }
}

impl Fetcher {
    /// Asks for the list; for no other version than `known`, if there is one.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub(crate) async fn fetch(&self, source: &Source, known: Option<&Validators>) -> Result<Answer, FetchError> {
        let fetching = async {
            let stream = source.destination.connect(&self.resolver).await.map_err(refused)?.stream;
            if source.url.target.tls {
                let (stream, _) = self.tls.connect(source.destination.host(), stream).await?;
                ask(stream, &source.url, known).await
            } else {
                ask(stream, &source.url, known).await
            }
        };
        timeout(FETCH_TIMEOUT, fetching).await.unwrap_or(Err(FetchError::Timeout))
    }
}

fn refused(error: DialError) -> FetchError {
    match error {
        DialError::Fenced { host, address, class } => FetchError::NotPublic { host, address, class },
        error @ (DialError::Resolve { .. } | DialError::Connect { .. } | _) => FetchError::Dial(error),
    }
}

async fn ask<S>(stream: S, url: &FeedUrl, known: Option<&Validators>) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new().max_header_size(HEAD).handshake(TokioIo::new(stream)).await?;
    // Ends with this function, however that ends.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let (head, body) = sender.send_request(request(url, known)?).await?.into_parts();
    match head.status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Answer::NotModified),
        status => {
            let location = text_of(&head.headers, &LOCATION).filter(|_| status.is_redirection());
            return Err(
                location.map_or(FetchError::Status(status), |to| FetchError::Moved(to.escape_debug().to_string()))
            );
        }
    }
    if let Some(coding) = text_of(&head.headers, &CONTENT_ENCODING).filter(|coding| coding != "identity") {
        return Err(FetchError::Encoded(coding.escape_debug().to_string()));
    }
    let is_whole = is_end_told(&head.headers, body.size_hint().exact())?;
    let bytes = read(body).await?;
    let validators =
        Validators { etag: text_of(&head.headers, &ETAG), last_modified: text_of(&head.headers, &LAST_MODIFIED) };
    Ok(Answer::List { bytes, is_whole, validators })
}

/// All of the body, held once.
async fn read(mut body: Incoming) -> Result<Bytes, FetchError> {
    let told = body.size_hint().lower();
    if told > MOST_BYTES as u64 {
        return Err(FetchError::TooLong);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(told).unwrap_or(MOST_BYTES));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(FetchError::Body)?.into_data() else { continue };
        if data.len() > MOST_BYTES - bytes.len() {
            return Err(FetchError::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Whether the end of a body was told, so that none of it can be missing: by its exact length, or by chunks.
fn is_end_told(headers: &HeaderMap, length: Option<u64>) -> Result<bool, FetchError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(length.is_some()) };
    if codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    // Of any other the end is where the connection ends, whatever length is told besides (RFC 9112, 6.3).
    let all = headers.get_all(TRANSFER_ENCODING).iter().map(|coding| coding.as_bytes().escape_ascii().to_string());
    Err(FetchError::Transferred(all.collect::<Vec<_>>().join(", ")))
}

fn request(url: &FeedUrl, known: Option<&Validators>) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::get(&*url.path)
        .header(HOST, host_of(&url.target))
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close");
    if let Some(Validators { etag, last_modified }) = known {
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        } else if let Some(last_modified) = last_modified {
            request = request.header(IF_MODIFIED_SINCE, last_modified);
        }
    }
    request.body(Empty::new())
}

/// With its port, unless it is the scheme's.
fn host_of(target: &Target) -> String {
    let host = match &target.host {
        TargetHost::Address(address) => Host::Address(*address).to_string(),
        TargetHost::Name(name) => name.to_string(),
    };
    if target.port == if target.tls { 443 } else { 80 } { host } else { format!("{host}:{}", target.port) }
}

/// A header's text, if it is plain and of a length that a header of ours may have.
fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    const LONGEST: usize = 1024;
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= LONGEST).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(codings: &[&'static str], length: Option<u64>) -> Result<bool, String> {
        let codings = codings.iter().map(|coding| (TRANSFER_ENCODING, http::HeaderValue::from_static(coding)));
        is_end_told(&codings.collect(), length).map_err(|error| error.to_string())
    }

    #[test]
    fn the_end_of_a_list_is_told_by_its_length_or_by_chunks_and_by_nothing_else() {
        assert_eq!(told(&[], Some(7)), Ok(true));
        assert_eq!(told(&["chunked"], None), Ok(true));
        assert_eq!(told(&["Chunked"], None), Ok(true));
        assert_eq!(told(&[], None), Ok(false));
        for codings in [
            &["identity"][..],
            &["gzip, chunked"],
            &["chunked, identity"],
            &["identity", "chunked"],
            &["chunked"; 2],
            &[""],
        ] {
            for length in [None, Some(7)] {
                assert!(told(codings, length).unwrap_err().contains("transfer coding"), "{codings:?}");
            }
        }
    }
}
