//! Connections to targets, before HTTP is spoken on them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use gatepost_net::tls::{self, ClientStream, ClientTls};
use gatepost_net::{DialError, Dialled, Host, Lease, Resolver};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::io::Gathering;
use crate::upstream::Target;

/// How connections to a target are protected.
#[derive(Debug)]
pub(crate) enum Security {
    /// Not at all.
    Open,
    /// By TLS: the target must prove that it is who it is dialled as.
    Tls(ClientTls),
    /// By TLS, but the authorities cannot be read. No model with such an upstream is put in force, but its examples may
    /// be judged.
    Unusable,
}

/// A new connection to a target.
#[derive(Debug)]
pub(crate) enum Wire {
    Open(Gathering),
    Tls(Box<ClientStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A target could not be connected to. No byte of a request was sent.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// Nobody there, no way there, or one that must not be gone.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It is not who it should be, or does not speak as it should.
    #[error(transparent)]
    Tls(Box<tls::ConnectError>),
    /// Nobody can prove anything.
    #[error("the authorities (`ca`) of its upstream cannot be read")]
    NoAuthorities,
}

/// How long a handshake may take, if the deadline of who waits for it leaves so much.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Target {
    /// A new connection. The one place where targets are dialled, by requests and by probes.
    pub(crate) async fn connect(&self, resolver: &Resolver) -> Result<(Wire, Lease), ConnectError> {
        let Dialled { stream, lease } = self.destination.connect(resolver).await?;
        // Small writes must not wait for acknowledgements; without it things are only slower.
        let _ = stream.set_nodelay(true);
        match &self.security {
            Security::Open => Ok((Wire::Open(Gathering(stream)), lease)),
            Security::Tls(tls) => Ok((shake_hands(tls, self.destination.host(), stream).await?, lease)),
            Security::Unusable => Err(ConnectError::NoAuthorities),
        }
    }
}

async fn shake_hands(tls: &ClientTls, host: &Host, stream: TcpStream) -> Result<Wire, ConnectError> {
    match timeout(HANDSHAKE_TIMEOUT, tls.connect(host, stream)).await {
        Ok(Ok((stream, _))) => Ok(Wire::Tls(Box::new(stream))),
        Ok(Err(error)) => Err(ConnectError::Tls(Box::new(error))),
        Err(_) => {
            let source = io::ErrorKind::TimedOut.into();
            Err(ConnectError::Tls(Box::new(tls::ConnectError::Io { host: host.clone(), source })))
        }
    }
}
