mod script;

pub use script::{Script, pattern};

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::origin::script::Step;
use crate::raw::find;

/// A backend on loopback that follows a script and remembers every byte it got. Gone when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    close_idle: watch::Sender<u64>,
    release: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// A request as it arrived at an origin.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Which of the accepted connections it came on, counted from 0.
    pub connection: usize,
    /// Its bytes up to the empty line.
    pub head: String,
    /// Its body out of the framing, as far as it came.
    pub body: Vec<u8>,
    /// The trailer section of a chunked body.
    pub trailers: String,
    /// Whether all of it came.
    pub complete: bool,
}

/// What an origin remembers.
#[derive(Debug, Default)]
struct Ledger {
    accepted: AtomicUsize,
    open: AtomicUsize,
    read: AtomicU64,
    written: AtomicU64,
    received: Mutex<Vec<Received>>,
    /// The script that took the place of all others.
    instead: Mutex<Option<Script>>,
}

impl Origin {
    /// Starts an origin that does the same with every request.
    pub async fn start(script: Script) -> Self {
        Self::in_turn(vec![script]).await
    }

    /// Starts an origin that follows the first script with the first request it reads, and so on; the last one with
    /// all that follow.
    ///
    /// # Panics
    /// There is no script, or no port is free.
    pub async fn in_turn(scripts: Vec<Script>) -> Self {
        Self::in_turn_at(SocketAddr::from(([127, 0, 0, 1], 0)), scripts)
    }

    /// Starts an origin at this address, an IPv4 one, that does the same with every request.
    ///
    /// # Panics
    /// The address is taken.
    pub async fn start_at(address: SocketAddr, script: Script) -> Self {
        Self::in_turn_at(address, vec![script])
    }

    fn in_turn_at(address: SocketAddr, scripts: Vec<Script>) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(address).expect("a free address");
        Self::on(socket, scripts)
    }

    /// Starts an origin as [`Origin::in_turn`] does, where a socket was bound before. Until now nobody listened there.
    ///
    /// # Panics
    /// There is no script, or the socket cannot listen.
    #[must_use]
    pub fn on(socket: TcpSocket, scripts: Vec<Script>) -> Self {
        assert!(!scripts.is_empty(), "an origin needs a script");
        let listener = socket.listen(1024).expect("a free port");
        let address = listener.local_addr().expect("a listening socket");
        let ledger = Arc::<Ledger>::default();
        let (close_idle, closing) = watch::channel(0);
        let (release, released) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, scripts, Arc::clone(&ledger), (closing, released)));
        Self { address, ledger, close_idle, release, accepting }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is, as `to` has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.ledger.accepted.load(Ordering::Acquire)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.ledger.open.load(Ordering::Acquire)
    }

    /// Bytes read so far, whether they made a request or not.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.ledger.read.load(Ordering::Acquire)
    }

    /// Bytes handed to the kernel so far.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.ledger.written.load(Ordering::Acquire)
    }

    /// How many heads of requests were read so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ledger.received().len()
    }

    /// The requests read so far, in the order of their heads.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.ledger.received().clone()
    }

    /// The request whose head was read last.
    ///
    /// # Panics
    /// There was none.
    #[must_use]
    pub fn last(&self) -> Received {
        self.ledger.received().last().cloned().expect("a request that reached the origin")
    }

    /// Follows this script with every request that it reads from now on.
    pub fn from_now_on(&self, script: Script) {
        *self.ledger.instead.lock().unwrap_or_else(PoisonError::into_inner) = Some(script);
    }

    /// Closes every connection that waits for a request, and those under way when they come to wait for the next one.
    pub fn close_idle(&self) {
        self.close_idle.send_modify(|times| *times += 1);
    }

    /// Lets go on whoever waits in a script, now and from now on.
    pub fn release(&self) {
        self.release.send_replace(true);
    }

    /// Makes scripts wait again.
    pub fn hold_back(&self) {
        self.release.send_replace(false);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Its connections' tasks are held by the accepting one.
        self.accepting.abort();
    }
}

impl Received {
    /// The first line.
    #[must_use]
    pub fn request_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.request_line().split(' ').next().unwrap_or_default()
    }

    /// The request target.
    #[must_use]
    pub fn target(&self) -> &str {
        self.request_line().split(' ').nth(1).unwrap_or_default()
    }

    /// The values of the fields of this name, in any case.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The value of the only field of this name.
    ///
    /// # Panics
    /// There are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} came {} times: {:?}", all.len(), self.head);
        all.first().copied()
    }

    /// The names of its fields, in lower case, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let mut names: Vec<String> = fields.map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        names
    }
}

impl Ledger {
    fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an origin is told: to close what is idle, and to let go on what waits.
type Orders = (watch::Receiver<u64>, watch::Receiver<bool>);

async fn accept(listener: TcpListener, scripts: Vec<Script>, ledger: Arc<Ledger>, orders: Orders) {
    let scripts: Arc<[Script]> = scripts.into();
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = ledger.accepted.fetch_add(1, Ordering::AcqRel);
        ledger.open.fetch_add(1, Ordering::AcqRel);
        let open = Open(Arc::clone(&ledger));
        let (scripts, ledger, mut orders) = (Arc::clone(&scripts), Arc::clone(&ledger), orders.clone());
        // What was closed before is none of this connection's business.
        orders.0.mark_unchanged();
        connections.spawn(async move {
            let mut served = Served { stream, ledger, number, buffer: Vec::new(), orders, current: 0, rest: None };
            // Peers that go away are part of most scripts.
            let _ = served.serve(&scripts).await;
            drop(served);
            drop(open);
        });
        // Those that have ended need not be kept.
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a connection as open until it is dropped.
struct Open(Arc<Ledger>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One connection of an origin.
struct Served {
    stream: TcpStream,
    ledger: Arc<Ledger>,
    number: usize,
    /// Read, but not understood yet.
    buffer: Vec<u8>,
    orders: Orders,
    /// The index of the request being served.
    current: usize,
    /// How the body of that request goes on; absent once it has been read.
    rest: Option<Framing>,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Served {
    async fn serve(&mut self, scripts: &[Script]) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        while self.read_head().await? {
            let instead = self.ledger.instead.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let script = instead.or(scripts.get(self.current).or(scripts.last()).cloned()).unwrap_or_default();
            if !script.at_once {
                self.read_body().await?;
            }
            for step in script.steps {
                if !self.follow(step).await? {
                    return Ok(());
                }
            }
            // The next head lies behind this body.
            self.read_body().await?;
        }
        Ok(())
    }

    /// Takes one step; whether there is a next one.
    async fn follow(&mut self, step: Step) -> io::Result<bool> {
        match step {
            Step::Send(bytes) => self.write(&bytes).await?,
            Step::Echo { chunked } => self.echo(chunked).await?,
            Step::Drip { bytes, every } => {
                for byte in bytes {
                    self.write(&[byte]).await?;
                    self.hold(every).await?;
                }
            }
            Step::Flood(count) => self.flood(count).await?,
            Step::ReadBody => self.read_body().await?,
            Step::Pause(pause) => self.hold(pause).await?,
            Step::Wait => self.wait().await?,
            Step::WaitUnread => {
                // An error means that nobody can release any more.
                let _ = self.orders.1.wait_for(|released| *released).await;
            }
            Step::Hang => loop {
                if self.more().await? == 0 {
                    return Ok(false);
                }
            },
            Step::Stall => std::future::pending().await,
            Step::Close => return Ok(false),
            Step::Reset => {
                self.stream.set_zero_linger()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits, and notices when the peer goes away meanwhile.
    async fn hold(&mut self, pause: Duration) -> io::Result<()> {
        let end = sleep(pause);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                count = self.more() => if count? == 0 {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                },
            }
        }
    }

    /// Waits to be let go on, and notices when the peer goes away meanwhile.
    async fn wait(&mut self) -> io::Result<()> {
        let mut released = self.orders.1.clone();
        loop {
            tokio::select! {
                released = released.wait_for(|released| *released) => {
                    return released.map(drop).map_err(|_| io::ErrorKind::ConnectionAborted.into());
                }
                count = self.more() => if count? == 0 {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                },
            }
        }
    }

    async fn echo(&mut self, chunked: bool) -> io::Result<()> {
        let body = self.ledger.received()[self.current].body.clone();
        if !chunked {
            self.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes()).await?;
            return self.write(&body).await;
        }
        self.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        // Uneven pieces, so that chunks and buffers do not fall together.
        for piece in body.chunks(65_521) {
            self.write(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            self.write(piece).await?;
            self.write(b"\r\n").await?;
        }
        self.write(b"0\r\n\r\n").await
    }

    async fn flood(&mut self, count: usize) -> io::Result<()> {
        // A whole number of periods of the pattern, so that pieces join without a seam.
        let piece = pattern(251 * 256);
        let mut left = count;
        while left > 0 {
            let length = left.min(piece.len());
            self.write(&piece[..length]).await?;
            left -= length;
        }
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.stream.write(bytes).await?;
            self.ledger.written.fetch_add(count as u64, Ordering::AcqRel);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Reads once; how many bytes.
    async fn more(&mut self) -> io::Result<usize> {
        let count = self.stream.read_buf(&mut self.buffer).await?;
        self.ledger.read.fetch_add(count as u64, Ordering::AcqRel);
        Ok(count)
    }

    /// Reads the next head; whether there was one.
    async fn read_head(&mut self) -> io::Result<bool> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.buffer.is_empty() {
                if self.more().await? == 0 {
                    return Ok(false);
                }
                continue;
            }
            tokio::select! {
                changed = self.stream.readable() => {
                    changed?;
                    if self.more().await? == 0 {
                        return Ok(false);
                    }
                }
                _ = self.orders.0.changed() => return Ok(false),
            }
        };
        let bytes: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let received = Received { connection: self.number, head, ..Received::default() };
        let framing = match (received.header("transfer-encoding"), received.header("content-length")) {
            (Some(_), _) => Some(Framing::Chunked),
            (None, Some(length)) => Some(Framing::Length(length.parse().expect("the gateway sends lengths"))),
            (None, None) => None,
        };
        let mut all = self.ledger.received();
        self.current = all.len();
        all.push(Received { complete: framing.is_none(), ..received });
        drop(all);
        self.rest = framing;
        Ok(true)
    }

    async fn read_body(&mut self) -> io::Result<()> {
        match self.rest.take() {
            None => return Ok(()),
            Some(Framing::Length(length)) => self.take(length).await?,
            Some(Framing::Chunked) => self.read_chunks().await?,
        }
        self.ledger.received()[self.current].complete = true;
        Ok(())
    }

    async fn read_chunks(&mut self) -> io::Result<()> {
        loop {
            let size = usize::from_str_radix(&self.line().await?, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                break;
            }
            self.take(size).await?;
            self.line().await?;
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(());
            }
            self.ledger.received()[self.current].trailers.extend([&*line, "\n"]);
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more_of_it().await?;
        }
    }

    /// Moves so many bytes to the body of the request.
    async fn take(&mut self, mut count: usize) -> io::Result<()> {
        while count > 0 {
            if self.buffer.is_empty() {
                self.more_of_it().await?;
            }
            let here = count.min(self.buffer.len());
            self.ledger.received()[self.current].body.extend(self.buffer.drain(..here));
            count -= here;
        }
        Ok(())
    }

    async fn more_of_it(&mut self) -> io::Result<()> {
        if self.more().await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
