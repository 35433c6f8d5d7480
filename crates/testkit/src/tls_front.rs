use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gatepost_net::tls::{Certificate, Domain, DomainName, ServerTls, Session, Tickets, TlsVersion};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::authority::Issued;

/// A door before a backend that speaks TLS, and passes on what is inside. Gone when dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

/// What a front remembers.
#[derive(Debug, Default)]
struct Seen {
    refused: AtomicUsize,
    sessions: Mutex<Vec<Session>>,
}

impl TlsFront {
    /// Shows this certificate, which is valid for `name`, and passes on to `backend`.
    ///
    /// # Panics
    /// It is not valid for the name, or no port is free.
    pub async fn start(name: &str, issued: &Issued, backend: SocketAddr) -> Self {
        let certificate = Certificate::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.as_bytes());
        let certificate = Arc::new(certificate.expect("a certificate and its key"));
        let domain = Domain::new(DomainName::Exact(name.into()), certificate, TlsVersion::Tls12);
        let tls = ServerTls::new([domain.expect("valid for the name")], &Tickets::new().expect("keys"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listening socket");
        let seen = Arc::<Seen>::default();
        let accepting = tokio::spawn(accept(listener, tls.expect("TLS"), backend, Arc::clone(&seen)));
        Self { address, seen, accepting }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is, as `to` has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What the handshakes came to, so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.seen.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Handshakes that have failed, so far.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.seen.refused.load(Ordering::Acquire)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: ServerTls, backend: SocketAddr, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            let Ok(mut accepted) = tls.accept(stream).await else {
                seen.refused.fetch_add(1, Ordering::AcqRel);
                return;
            };
            seen.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(accepted.session);
            if let Ok(mut inside) = TcpStream::connect(backend).await {
                // Peers that go away are part of most tests.
                let _ = copy_bidirectional(&mut accepted.stream, &mut inside).await;
            }
        });
    }
}
