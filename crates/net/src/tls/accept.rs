//! The server's side of a handshake.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::server::{self, AcceptedAlert, Acceptor, ClientHello};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::{Chosen, ServerTls, Session, UNSENT};

/// A client's stream, decrypted. It ends with `UnexpectedEof` when the client leaves without saying so.
pub type ServerStream<S> = TlsStream<S>;

/// A handshake that succeeded.
#[derive(Debug)]
pub struct Accepted<S> {
    /// What the client says, and what it is told.
    pub stream: ServerStream<S>,
    /// The domain, and the hosts that may be asked for.
    pub chosen: Chosen,
    /// What was negotiated.
    pub session: Session,
}

/// A handshake that failed. The client was told why by an alert, as far as it listened, and the stream is closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// What came is not TLS.
    #[error("{0} came where TLS is spoken")]
    NotTls(Foreign),
    /// The client names a host that there is no certificate for.
    #[error("there is no certificate for {0}")]
    UnknownName(
        /// The host: letters, digits, `-`, `_` and `.`, at most 253 of them.
        Box<str>,
    ),
    /// The client names no host, and there are several domains to choose from.
    #[error("the client names no host (SNI), and there are several domains")]
    NoName,
    /// The client speaks no version of TLS that is spoken here.
    #[error("the client speaks nothing newer than TLS 1.1")]
    TooOld,
    /// The client left before the handshake was done; so do probes that only connect.
    #[error("the client left before the handshake was done")]
    Left,
    /// The two do not understand or do not accept one another.
    #[error("the TLS handshake failed: {0}")]
    Tls(rustls::Error),
    /// The connection broke.
    #[error("the connection broke during the TLS handshake: {0}")]
    Io(io::Error),
}

/// What somebody speaks who does not speak TLS, going by the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// HTTP/1 in the clear.
    Http1,
    /// HTTP/2 in the clear.
    Http2,
    /// A PROXY header.
    Proxy,
    /// Something else.
    Other,
}

/// Said to who speaks HTTP/1 in the clear: an alert would tell a person nothing.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 44\r\n\r\nThis port speaks HTTPS, and HTTP was sent.\r\n";

impl ServerTls {
    /// Makes the handshake with the client on `stream`.
    ///
    /// It waits for the client as long as the client likes, so the caller sets a deadline:
    ///
    /// ```no_run
    /// # async fn example(tls: gatepost_net::tls::ServerTls, stream: tokio::net::TcpStream) {
    /// # use std::time::Duration;
    /// match tokio::time::timeout(Duration::from_secs(10), tls.accept(stream)).await {
    ///     Ok(Ok(accepted)) => { /* accepted.stream is what the client says */ }
    ///     Ok(Err(error)) => { /* refused: the client was told */ }
    ///     Err(_) => { /* too slow: the stream is closed by now */ }
    /// }
    /// # }
    /// ```
    ///
    /// Who speaks HTTP/1 in the clear is answered 400 in the clear. Set `TCP_NODELAY` before: a handshake is a few small
    /// writes, and each would wait for the client's delayed acknowledgement of the last.
    ///
    /// Before it ends, at most 64 KiB of what the client sent are held. Afterwards a connection holds at most 64 KiB
    /// that were written and not yet sent, and two records of 16 KiB that were received.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn accept<S>(&self, mut stream: S) -> Result<Accepted<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = match client_hello(&mut stream).await {
            Ok(hello) => hello,
            Err(Refusal { error, parting }) => return Err(part(stream, &parting, error).await),
        };
        let (index, named) = match self.pick(&hello.client_hello()) {
            Ok(picked) => picked,
            Err((alert, error)) => return Err(part(stream, &fatal_alert(alert), error).await),
        };
        let start = StartHandshake::from_parts(hello, stream);
        let handshake = start.into_stream_with(self.config(index), |connection| {
            connection.set_buffer_limit(Some(UNSENT));
        });
        match handshake.into_fallible().await {
            Ok(stream) => {
                let session = Session::of(stream.get_ref().1).ok_or(rustls::Error::HandshakeNotComplete)?;
                let chosen = self.chosen(index, named, session.version);
                Ok(Accepted { stream, chosen, session })
            }
            // The alert is sent by now.
            Err((error, stream)) => Err(part(stream, &[], HandshakeError::from(error)).await),
        }
    }

    /// The domain, and whether the client named it; else the alert and the error.
    fn pick(&self, hello: &ClientHello<'_>) -> Result<(usize, bool), (u8, HandshakeError)> {
        match (hello.server_name(), self.choice(hello.server_name())) {
            (name, Some(index)) => Ok((index, name.is_some())),
            (Some(name), None) => Err((UNRECOGNIZED_NAME, HandshakeError::UnknownName(name.into()))),
            (None, None) => Err((MISSING_EXTENSION, HandshakeError::NoName)),
        }
    }
}

/// Why there is no handshake, and the bytes to part with.
struct Refusal {
    error: HandshakeError,
    parting: Vec<u8>,
}

/// Reads until the client has said what it wants (RFC 8446, 4.1.2).
async fn client_hello<S: AsyncRead + Unpin>(stream: &mut S) -> Result<server::Accepted, Refusal> {
    let mut acceptor = Acceptor::default();
    let mut opening = Opening::default();
    loop {
        match poll_fn(|context| opening.read(stream, context, &mut acceptor)).await {
            Ok(0) => return Err(Refusal { error: HandshakeError::Left, parting: Vec::new() }),
            Ok(_) => {}
            Err(error) => return Err(Refusal { error: error.into(), parting: Vec::new() }),
        }
        match acceptor.accept() {
            Ok(Some(hello)) => return Ok(hello),
            Ok(None) => {}
            Err((error, alert)) => return Err(opening.refusal(error, alert)),
        }
    }
}

/// Says a last thing and closes the stream in order. That the client does not listen changes nothing.
async fn part<S: AsyncWrite + Unpin>(mut stream: S, parting: &[u8], error: HandshakeError) -> HandshakeError {
    if stream.write_all(parting).await.is_ok() {
        let _ = stream.shutdown().await;
    }
    error
}

/// `unrecognized_name` (RFC 6066, 3).
const UNRECOGNIZED_NAME: u8 = 112;
/// `protocol_version` (RFC 8446, 6.2).
const PROTOCOL_VERSION: u8 = 70;
/// `missing_extension` (RFC 8446, 9.2).
const MISSING_EXTENSION: u8 = 109;

/// A fatal alert in the clear (RFC 8446, 5.1 and 6), as before the first message of a server.
fn fatal_alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

/// The first bytes of a connection.
#[derive(Default)]
struct Opening {
    bytes: [u8; 12],
    length: usize,
}

impl Opening {
    /// Lets `acceptor` read once, and remembers the first bytes.
    fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        acceptor: &mut Acceptor,
    ) -> Poll<io::Result<usize>> {
        match acceptor.read_tls(&mut Watched { opening: self, stream, context }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        }
    }

    fn remember(&mut self, read: &[u8]) {
        let (_, room) = self.bytes.split_at_mut(self.length);
        let taken = room.len().min(read.len());
        room[..taken].copy_from_slice(&read[..taken]);
        self.length += taken;
    }

    fn refusal(&self, error: rustls::Error, mut alert: AcceptedAlert) -> Refusal {
        let mut parting = Vec::new();
        // Into memory; it cannot fail.
        let _ = alert.write_all(&mut parting as &mut dyn Write);
        match self.foreign() {
            Some(Foreign::Http1) => {
                Refusal { error: HandshakeError::NotTls(Foreign::Http1), parting: PLAIN_HTTP.into() }
            }
            Some(foreign) => Refusal { error: HandshakeError::NotTls(foreign), parting },
            None if self.is_too_old() => {
                Refusal { error: HandshakeError::TooOld, parting: fatal_alert(PROTOCOL_VERSION) }
            }
            None => Refusal { error: HandshakeError::Tls(error), parting },
        }
    }

    /// Whether it is the hello of a client that ends before TLS 1.2. The library finds other faults with those first,
    /// but the alert must be about the version (RFC 5246, E.1).
    fn is_too_old(&self) -> bool {
        // A record: type, version, length; in it a message: type, length, and the newest version that is spoken.
        let &[22, _, _, _, _, 1, _, _, _, major, minor, _] = &self.bytes else { return false };
        [major, minor] < [3, 3]
    }

    /// What is spoken, unless it begins as TLS does.
    fn foreign(&self) -> Option<Foreign> {
        const HANDSHAKE_OR_ALERT: [u8; 2] = [22, 21];
        const METHODS: [&[u8]; 9] =
            [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE "];
        let said = &self.bytes[..self.length];
        let begins = |known: &[u8]| known.starts_with(said) || said.starts_with(known);
        match said.first()? {
            first if HANDSHAKE_OR_ALERT.contains(first) => None,
            _ if METHODS.iter().any(|method| begins(method)) => Some(Foreign::Http1),
            _ if begins(b"PRI * HTTP/2") => Some(Foreign::Http2),
            _ if begins(b"PROXY ") || begins(b"\r\n\r\n\0\r\nQUIT\n") => Some(Foreign::Proxy),
            _ => Some(Foreign::Other),
        }
    }
}

/// A stream as the acceptor wants to read it.
struct Watched<'a, 'b, S> {
    opening: &'a mut Opening,
    stream: &'a mut S,
    context: &'a mut Context<'b>,
}

impl<S: AsyncRead + Unpin> Read for Watched<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut *self.stream).poll_read(self.context, &mut into) {
            Poll::Ready(Ok(())) => {
                self.opening.remember(into.filled());
                Ok(into.filled().len())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for HandshakeError {
    /// What the library says of TLS comes as an [`io::Error`] too.
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(error) => Self::Tls(error),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Left,
            Err(error) => Self::Io(error),
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Http1 => "plain HTTP",
            Self::Http2 => "plain HTTP/2",
            Self::Proxy => "a PROXY header",
            Self::Other => "something that is not TLS",
        })
    }
}
