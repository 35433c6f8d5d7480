//! What a connection is read from and written to; and its first bytes, which are looked at before it is known what is
//! spoken.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use gatepost_net::tls::{Accepted, Chosen, ServerStream, ServerTls, Session};
use gatepost_net::{Progress, ProxyHeader};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::Protocol;
use crate::connection::arrival::NotArrived;
use crate::io::Gathering;

/// A client's socket, and what was read of it before anybody wanted it.
pub(crate) struct Wire {
    ahead: BytesMut,
    has_begun: bool,
    transport: Transport,
}

enum Transport {
    Plain(Gathering),
    Tls(Box<ServerStream<Rewound>>),
    /// While a handshake is made, and after one that failed.
    Closed,
}

/// A socket, and what was read of it before the handshake.
struct Rewound {
    ahead: BytesMut,
    stream: TcpStream,
}

/// What a handshake came to.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) chosen: Chosen,
    pub(crate) session: Session,
}

/// What every HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read ahead at a time, in bytes.
const PIECE: usize = 1024;

impl Wire {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { ahead: BytesMut::new(), has_begun: false, transport: Transport::Plain(Gathering(stream)) }
    }

    /// Waits until something has come that nobody has read.
    ///
    /// # Errors
    /// The socket failed, or ended before.
    pub(super) async fn spoken(&mut self) -> io::Result<()> {
        if self.has_ahead() || poll_fn(|cx| self.poll_ahead(cx)).await? > 0 {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Makes the handshake. Whoever only connects should not cost one: see [`spoken`](Self::spoken).
    ///
    /// # Errors
    /// It failed; nothing can be said on the wire any more.
    pub(super) async fn secure(&mut self, tls: &ServerTls) -> Result<Secured, NotArrived> {
        let Transport::Plain(Gathering(stream)) = std::mem::replace(&mut self.transport, Transport::Closed) else {
            return Err(NotArrived::Io(io::ErrorKind::NotConnected.into()));
        };
        let Accepted { stream, chosen, session } = tls.accept(Rewound { ahead: self.ahead.split(), stream }).await?;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(Secured { chosen, session })
    }

    /// Tells HTTP/2 with prior knowledge from HTTP/1, by as few bytes as it takes. The bytes stay to be read.
    ///
    /// # Errors
    /// The socket failed, or ended before anything came.
    pub(crate) async fn detect(&mut self) -> io::Result<Protocol> {
        loop {
            let seen = &self.ahead[..self.ahead.len().min(PREFACE.len())];
            if seen == PREFACE {
                return Ok(Protocol::Http2);
            }
            if !PREFACE.starts_with(seen) {
                return Ok(Protocol::Http1);
            }
            if poll_fn(|cx| self.poll_ahead(cx)).await? == 0 {
                // Half a preface and then nothing: what came is no HTTP/1 either, and is answered so.
                return if self.ahead.is_empty() {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(Protocol::Http1)
                };
            }
        }
    }

    /// Takes a PROXY header off the beginning, if there is one; what is none stays to be read.
    pub(super) async fn proxy_header(&mut self) -> Result<Option<ProxyHeader>, NotArrived> {
        loop {
            match ProxyHeader::read(&self.ahead)? {
                Progress::NotProxy => return Ok(None),
                Progress::Complete { length, header } => {
                    self.ahead.advance(length);
                    return Ok(Some(header));
                }
                Progress::Need(_) => {
                    if poll_fn(|cx| self.poll_ahead(cx)).await? == 0 {
                        return Err(NotArrived::Io(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
    }

    /// Whether anything has ever come.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Puts back what was read behind what was wanted.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        let behind = self.ahead.split();
        self.ahead.extend_from_slice(bytes);
        self.ahead.unsplit(behind);
    }

    /// Whether anything has come that nobody has read.
    fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Ready when the other end has closed, or broken. What it sends meanwhile is kept; then nobody can tell any more.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ahead() {
            return Poll::Pending;
        }
        match ready!(self.poll_ahead(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Asked often, and most often in vain: not even cleared.
        let mut piece = [const { MaybeUninit::uninit() }; PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(self.transport.poll_read(cx, &mut piece))?;
        self.ahead.extend_from_slice(piece.filled());
        self.has_begun |= !piece.filled().is_empty();
        Poll::Ready(Ok(piece.filled().len()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return self.transport.poll_read(cx, buffer);
        }
        take(&mut self.ahead, buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
            Transport::Closed => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is on its way is nobody's to print.
        out.debug_struct("Wire").field("ahead", &self.ahead.len()).finish_non_exhaustive()
    }
}

impl Transport {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        take(&mut self.ahead, buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Moves what fits. What is empty then holds no memory.
fn take(ahead: &mut BytesMut, buffer: &mut ReadBuf<'_>) {
    let count = ahead.len().min(buffer.remaining());
    buffer.put_slice(&ahead[..count]);
    ahead.advance(count);
    if ahead.is_empty() {
        *ahead = BytesMut::new();
    }
}
