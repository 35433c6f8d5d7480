//! Asking for a document: one request on a connection of its own, bounded in time and size, redirects not followed.

use std::time::Duration;

use bytes::Bytes;
use gatepost_config::model::{FeedUrl, Target, TargetHost};
use gatepost_net::tls::{ClientTls, ConnectError};
use gatepost_net::{Destination, DialError, Fence, Host, Resolver};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LOCATION, TRANSFER_ENCODING, USER_AGENT,
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

/// How long the fetch of a list may take, from the look-up of the name to the last byte.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// The head of an answer, at most, in bytes.
const HEAD: usize = 64 * 1024;

const AGENT: &str = concat!("gatepost/", env!("CARGO_PKG_VERSION"));

/// How documents are asked for.
#[derive(Debug, Clone)]
pub struct Fetcher {
    resolver: Resolver,
    tls: ClientTls,
}

/// How much a fetch may take.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// From the look-up of the name to the last byte.
    pub time: Duration,
    /// The longest document, in bytes.
    pub bytes: usize,
}

/// What a publisher answers.
#[derive(Debug)]
pub enum Answer {
    /// The version that was asked about is still the one.
    NotModified,
    /// A document.
    Document(Document),
}

/// What a publisher has to say.
#[derive(Debug)]
pub struct Document {
    /// All that came of it.
    pub bytes: Bytes,
    /// Whether its end was told.
    pub is_whole: bool,
    /// What this version is known by.
    pub validators: Validators,
    /// For how long it may be kept without asking again, if that is told (RFC 9111, 5.2.2).
    pub max_age: Option<Duration>,
}

/// Why no document came.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A name of an address that is not public.
    #[error(
        "{host} is at {address}, {class}: a name is asked at public addresses only; write the address itself if it is meant"
    )]
    NotPublic {
        /// The name.
        host: Host,
        /// Where it is.
        address: std::net::IpAddr,
        /// What kind of address that is.
        class: gatepost_net::AddressClass,
    },
    /// It could not be connected to.
    #[error(transparent)]
    Dial(DialError),
    /// No TLS came about.
    #[error(transparent)]
    Tls(#[from] ConnectError),
    /// It hung up, or what it sent is no HTTP.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// The document ended early.
    #[error("it broke off: {0}")]
    Body(hyper::Error),
    /// The document is longer than so many bytes.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// All of it took longer than this.
    #[error("it did not come within {0:?}")]
    Timeout(Duration),
    /// The answer was a redirect to this location.
    #[error("it has moved to {0}, and redirects are not followed: correct the URL")]
    Moved(String),
    /// The answer had this status.
    #[error("the answer was {}", .0.as_u16())]
    Status(StatusCode),
    /// The document has this content coding.
    #[error("it is encoded as {0}, which was not asked for")]
    Encoded(String),
    /// The document has this transfer coding.
    #[error("it comes in the transfer coding `{0}`, which was not asked for: `chunked` alone is read")]
    Transferred(String),
    /// The URL makes no request.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

/// Where a document is, ready to be asked for.
#[derive(Debug)]
pub struct Source {
    url: FeedUrl,
    destination: Destination,
    limits: FetchLimits,
}

impl FetchLimits {
    /// Those of lists of addresses.
    pub(crate) const LIST: Self = Self { time: FETCH_TIMEOUT, bytes: MOST_BYTES };
}

impl Source {
    /// What is at `url`. A name is asked at public addresses only; an address goes where it was written.
    #[must_use]
    pub fn new(url: &FeedUrl, limits: FetchLimits) -> Self {
        let host = match &url.target.host {
            TargetHost::Address(address) => Host::Address(*address),
            TargetHost::Name(name) => Host::Name(name.clone()),
        };
        Self { destination: Destination::new(host, url.target.port, Fence::Unstated), url: url.clone(), limits }
    }
}

impl Fetcher {
    /// Names are looked up by `resolver`, and publishers proven by `tls`, which speaks HTTP/1.1.
    #[must_use]
    pub fn new(resolver: Resolver, tls: ClientTls) -> Self {
        Self { resolver, tls }
    }

    /// Asks for the document; for no other version than `known`, if there is one.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(&self, source: &Source, known: Option<&Validators>) -> Result<Answer, FetchError> {
        let fetching = async {
            let stream = source.destination.connect(&self.resolver).await.map_err(refused)?.stream;
            if source.url.target.tls {
                let (stream, _) = self.tls.connect(source.destination.host(), stream).await?;
                ask(stream, source, known).await
            } else {
                ask(stream, source, known).await
            }
        };
        let time = source.limits.time;
        timeout(time, fetching).await.unwrap_or(Err(FetchError::Timeout(time)))
    }
}

fn refused(error: DialError) -> FetchError {
    match error {
        DialError::Fenced { host, address, class } => FetchError::NotPublic { host, address, class },
        error @ (DialError::Resolve { .. } | DialError::Connect { .. } | _) => FetchError::Dial(error),
    }
}

async fn ask<S>(stream: S, source: &Source, known: Option<&Validators>) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new().max_header_size(HEAD).handshake(TokioIo::new(stream)).await?;
    // Ends with this function, however that ends.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let (head, body) = sender.send_request(request(&source.url, known)?).await?.into_parts();
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
    let bytes = read(body, source.limits.bytes).await?;
    let validators =
        Validators { etag: text_of(&head.headers, &ETAG), last_modified: text_of(&head.headers, &LAST_MODIFIED) };
    Ok(Answer::Document(Document { bytes, is_whole, validators, max_age: max_age(&head.headers) }))
}

/// All of the body, held once.
async fn read(mut body: Incoming, most: usize) -> Result<Bytes, FetchError> {
    let told = body.size_hint().lower();
    if told > most as u64 {
        return Err(FetchError::TooLong(most));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(told).unwrap_or(most));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(FetchError::Body)?.into_data() else { continue };
        if data.len() > most - bytes.len() {
            return Err(FetchError::TooLong(most));
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

/// For how long a document may be kept: no time at all where it must not be, or not unasked.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let directives = fields.flat_map(|field| field.split(',')).map(str::trim);
    let ages = directives.filter_map(|directive| {
        if ["no-store", "no-cache"].iter().any(|never| directive.eq_ignore_ascii_case(never)) {
            return Some(0);
        }
        let (name, seconds) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    });
    ages.min().map(Duration::from_secs)
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
    fn a_document_is_kept_for_as_long_as_its_publisher_says() {
        let kept = |fields: &[&'static str]| {
            let fields = fields.iter().map(|field| (CACHE_CONTROL, http::HeaderValue::from_static(field)));
            max_age(&fields.collect()).map(|age| age.as_secs())
        };
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&["public, max-age=3600, must-revalidate"]), Some(3_600));
        assert_eq!(kept(&["Max-Age=\"60\"", "max-age=30"]), Some(30));
        assert_eq!(kept(&["max-age=3600, no-cache"]), Some(0));
        assert_eq!(kept(&["private, s-maxage=9, max-age=-1, max-age"]), None);
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
