//! Sockets as hyper sees them: the client's, watched for when bytes come and how long a write waits; and a small
//! saving for both ends.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use crate::connection::Connection;

/// A connection's wire, whose connection is told what happens on it.
#[derive(Debug)]
pub(crate) struct Io {
    connection: Rc<Connection>,
}

impl Io {
    pub(crate) fn new(connection: Rc<Connection>) -> Self {
        Self { connection }
    }

    fn wrote(&self, head: &[u8], outcome: &Poll<io::Result<usize>>) {
        self.connection.saw_write(outcome.is_pending());
        if !self.connection.is_serving() {
            // No request is being served, so hyper answers by itself: remember what, for the log.
            self.connection.saw_own_answer(status_of(head));
        }
    }
}

/// The status of an HTTP/1 response that begins with `head`.
fn status_of(head: &[u8]) -> Option<StatusCode> {
    StatusCode::from_bytes(head.strip_prefix(b"HTTP/1.1 ").or(head.strip_prefix(b"HTTP/1.0 "))?.get(..3)?).ok()
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.turn_is_over() {
            // Woken once the thread has looked at all its other sockets.
            return pin!(yield_now()).poll(cx).map(Ok);
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut *self.connection.wire()).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.saw_bytes(&buffer.filled()[before..]);
        }
        outcome
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut *self.connection.wire()).poll_write(cx, bytes);
        self.wrote(bytes, &outcome);
        outcome
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut *self.connection.wire()).poll_write_vectored(cx, slices);
        self.wrote(slices.first().map_or(&[], |slice| slice), &outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.wire().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut *self.connection.wire()).poll_flush(cx);
        // TLS takes what is written before the socket does.
        self.connection.saw_write(outcome.is_pending());
        outcome
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.connection.wire()).poll_shutdown(cx)
    }
}

/// A socket that writes small things in one piece: the kernel takes one piece faster than several.
#[derive(Debug)]
pub(crate) struct Gathering(pub(crate) TcpStream);

/// What is copied into one piece, in bytes.
const SMALL: usize = 1024;

/// The slices as one, if they fit.
fn gather<'b>(slices: &[IoSlice<'_>], buffer: &'b mut [u8; SMALL]) -> Option<&'b [u8]> {
    let mut length = 0;
    for slice in slices {
        buffer.get_mut(length..length + slice.len())?.copy_from_slice(slice);
        length += slice.len();
    }
    buffer.get(..length)
}

impl AsyncRead for Gathering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match gather(slices, &mut [0; SMALL]) {
            Some(bytes) => Pin::new(&mut self.0).poll_write(cx, bytes),
            None => Pin::new(&mut self.0).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
