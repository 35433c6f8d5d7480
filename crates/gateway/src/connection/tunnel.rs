//! After a backend's 101: whatever the two say to one another, until one has said all or both are silent for too long.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, sleep_until};

use crate::body::Exchange;
use crate::caller::{Spending, Spent};
use crate::connection::Connection;
use crate::forward::Backend;
use crate::record::Ended;

/// An upgraded connection. It ends with the exchange that asked for it, which holds its permit and its record.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) exchange: Exchange,
    pub(crate) backend: Backend,
}

/// What is read at a time, in bytes; of each direction.
const PIECE: usize = 8 * 1024;

impl Tunnel {
    /// Passes bytes on in both directions to their end.
    pub(super) async fn run(self) {
        let Self { mut exchange, backend } = self;
        let spending = RefCell::new(exchange.take_spending());
        let connection = Rc::clone(&exchange.stream.connection);
        let active = Cell::new(Instant::now());
        let talk = Talk { exchange, came: Cell::new(0), went: Cell::new(0), ended: Cell::new(Ended::Client) };
        let end = Paying {
            end: ClientEnd(Rc::clone(&connection)),
            spending: &spending,
            is_spent: Cell::new(false),
            written: &talk.went,
        };
        // What the backend says is counted when the client has it.
        let said = Cell::new(0);
        let mut client = Watched { end, active: &active, read: &talk.came };
        let mut backend = Watched { end: BackendEnd(backend), active: &active, read: &said };
        let ended = tokio::select! {
            biased;
            copied = copy_bidirectional_with_sizes(&mut client, &mut backend, PIECE, PIECE) => {
                match copied {
                    Ok(_) => Ended::Complete,
                    Err(_) if client.end.is_spent.get() => Ended::Budget,
                    Err(_) => Ended::Client,
                }
            }
            () = silence(&active, connection.limits.idle_timeout) => Ended::Idle,
        };
        talk.ended.set(ended);
    }
}

/// What is told of an upgraded connection when it ends, and be it because the gateway stops.
struct Talk {
    exchange: Exchange,
    /// Bytes that the client said.
    came: Cell<u64>,
    /// Bytes that the backend said, and that the client was told.
    went: Cell<u64>,
    ended: Cell<Ended>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.exchange.tunnelled(self.came.get(), self.went.get(), self.ended.get());
    }
}

/// Ends once nothing has come for so long.
async fn silence(active: &Cell<Instant>, limit: Duration) {
    while active.get() + limit > Instant::now() {
        sleep_until(active.get() + limit).await;
    }
}

/// One end, with an eye on when it last said something, and how much in all.
struct Watched<'a, E> {
    end: E,
    active: &'a Cell<Instant>,
    read: &'a Cell<u64>,
}

impl<E: AsyncRead + Unpin> AsyncRead for Watched<'_, E> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.end).poll_read(cx, buffer))?;
        self.active.set(Instant::now());
        self.read.update(|sum| sum + (buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<E: AsyncWrite + Unpin> AsyncWrite for Watched<'_, E> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.end).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(cx)
    }
}

/// The client, who is told nothing that is not paid for.
struct Paying<'a, E> {
    end: E,
    /// Absent: it costs nothing.
    spending: &'a RefCell<Option<Box<Spending>>>,
    is_spent: Cell<bool>,
    written: &'a Cell<u64>,
}

impl<E: AsyncRead + Unpin> AsyncRead for Paying<'_, E> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_read(cx, buffer)
    }
}

impl<E: AsyncWrite + Unpin> AsyncWrite for Paying<'_, E> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut paid = bytes;
        if let Some(spending) = &mut *self.spending.borrow_mut() {
            if let Err(Spent) = ready!(spending.poll_pay(bytes.len() as u64, cx)) {
                self.is_spent.set(true);
                return Poll::Ready(Err(io::Error::other("its budget is spent")));
            }
            let most = usize::try_from(spending.paid()).unwrap_or(usize::MAX);
            paid = bytes.get(..most).unwrap_or(bytes);
        }
        let written = ready!(Pin::new(&mut self.end).poll_write(cx, paid))?;
        self.written.update(|sum| sum + written as u64);
        if let Some(spending) = &mut *self.spending.borrow_mut() {
            spending.sent(written as u64);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(cx)
    }
}

/// The client, past HTTP.
pub(super) struct ClientEnd(pub(super) Rc<Connection>);

impl AsyncRead for ClientEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.wire()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.wire()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.wire()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.wire()).poll_shutdown(cx)
    }
}

/// The backend, past HTTP.
struct BackendEnd(Backend);

impl AsyncRead for BackendEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Backend { stream, read_ahead, .. } = &mut self.0;
        if read_ahead.is_empty() {
            return Pin::new(stream).poll_read(cx, buffer);
        }
        let count = read_ahead.len().min(buffer.remaining());
        buffer.put_slice(&read_ahead.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BackendEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_shutdown(cx)
    }
}
