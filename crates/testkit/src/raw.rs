use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::eventually::PATIENCE;

/// A client's socket, or what is spoken inside TLS on one: sends exactly the bytes it is given and reads what comes.
#[derive(Debug)]
pub struct Raw {
    local_address: SocketAddr,
    writer: WriteHalf<Box<dyn Stream>>,
    incoming: Incoming,
}

/// Anything that bytes go through.
trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for S {}

/// An answer, as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Everything up to the empty line, as text.
    pub head: String,
    /// The header fields in their order, the names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, out of its framing.
    pub body: Vec<u8>,
    /// The trailer section of a chunked body.
    pub trailers: String,
    /// Whether the body was delimited by the end of the connection.
    pub until_close: bool,
}

#[derive(Debug)]
struct Incoming {
    half: ReadHalf<Box<dyn Stream>>,
    /// Read, but not taken yet.
    buffer: Vec<u8>,
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect(to: SocketAddr) -> Self {
        Self::of(TcpStream::connect(to).await.expect("somebody listens"))
    }

    /// Connects, if somebody listens there.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn try_connect(to: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(to).await.map(Self::of)
    }

    /// Connects from an address of this machine, say 127.0.0.2.
    ///
    /// # Panics
    /// It is no address of this machine, or nobody listens there.
    pub async fn connect_from(source: IpAddr, to: SocketAddr) -> Self {
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
        socket.bind(SocketAddr::new(source, 0)).expect("an address of this machine");
        Self::of(socket.connect(to).await.expect("somebody listens"))
    }

    /// Connects with a receive buffer of about `bytes`, so that a client that does not read is noticed soon.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect_narrow(bytes: u32, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a size");
        Self::of(socket.connect(to).await.expect("somebody listens"))
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a connected socket");
        let local_address = stream.local_addr().expect("a connected socket");
        Self::over(stream, local_address)
    }

    /// Sends and reads through `stream`, say one inside TLS, of a client with this address.
    pub fn over(
        stream: impl AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static,
        local_address: SocketAddr,
    ) -> Self {
        let (half, writer) = split(Box::new(stream) as Box<dyn Stream>);
        Self { local_address, writer, incoming: Incoming { half, buffer: Vec::new() } }
    }

    /// The client's own address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    /// The peer has closed, or takes nothing for long.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the peer takes what is sent");
    }

    /// Sends all of `bytes`, if the peer takes it.
    ///
    /// # Errors
    /// It does not.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(PATIENCE, write(&mut self.writer, bytes.as_ref())).await?
    }

    /// Sends `bytes` in pieces of `size`, with a pause after each.
    ///
    /// # Errors
    /// The peer closed meanwhile.
    pub async fn send_slowly(&mut self, bytes: impl AsRef<[u8]>, size: usize, pause: Duration) -> io::Result<()> {
        for piece in bytes.as_ref().chunks(size) {
            self.writer.write_all(piece).await?;
            self.writer.flush().await?;
            sleep(pause).await;
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub async fn finish_sending(&mut self) {
        // The peer may have closed already.
        let _ = self.writer.shutdown().await;
    }

    /// Sends a request and reads its answer. The lines end themselves with CRLF here: `"GET / HTTP/1.1\nhost: a\n\n"`.
    ///
    /// # Panics
    /// There is no whole answer.
    #[track_caller]
    pub fn ask(&mut self, lines: &str) -> impl Future<Output = Response> {
        let caller = Location::caller();
        async move {
            let sent = self.try_send(lines.replace('\n', "\r\n")).await;
            let response = self.incoming.response(!lines.starts_with("HEAD ")).await;
            response.unwrap_or_else(|error| panic!("{caller}: no answer: {error} (sent: {sent:?})"))
        }
    }

    /// Asks for `target` of `host`.
    ///
    /// # Panics
    /// There is no whole answer.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> impl Future<Output = Response> {
        let caller = Location::caller();
        async move {
            let sent = self.try_send(format!("GET {target} HTTP/1.1\r\nhost: gateway.test\r\n\r\n")).await;
            let response = self.incoming.response(true).await;
            response.unwrap_or_else(|error| panic!("{caller}: no answer to {target}: {error} (sent: {sent:?})"))
        }
    }

    /// Sends `bytes` as far as the peer takes them while reading an answer, as clients with large bodies do.
    ///
    /// # Panics
    /// There is no whole answer.
    pub async fn send_while_reading(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let Self { writer, incoming, .. } = self;
        let (_, response) = tokio::join!(timeout(PATIENCE, write(writer, bytes.as_ref())), incoming.response(true));
        response.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Reads one answer; an interim one (1xx) counts.
    ///
    /// # Panics
    /// There is no whole answer.
    #[track_caller]
    pub fn response(&mut self) -> impl Future<Output = Response> {
        let caller = Location::caller();
        async move { self.try_response().await.unwrap_or_else(|error| panic!("{caller}: no answer: {error}")) }
    }

    /// Reads the answer to a HEAD request.
    ///
    /// # Panics
    /// There is no whole answer.
    pub async fn response_without_body(&mut self) -> Response {
        self.incoming.response(false).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Reads one answer, if it comes whole.
    ///
    /// # Errors
    /// It does not: the peer closed or reset the connection, broke the framing, or is silent.
    pub async fn try_response(&mut self) -> io::Result<Response> {
        self.incoming.response(true).await
    }

    /// Reads the head of an answer and leaves its body for [`Raw::read`].
    ///
    /// # Panics
    /// There is none.
    pub async fn response_head(&mut self) -> Response {
        self.incoming.head().await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Reads some bytes, at most `most`; none at the end.
    ///
    /// # Errors
    /// The connection was reset, or is silent.
    pub async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.incoming.buffer.is_empty() {
            self.incoming.more().await?;
        }
        let count = most.min(self.incoming.buffer.len());
        Ok(self.incoming.buffer.drain(..count).collect())
    }

    /// Reads until what was read ends so, and takes it all.
    ///
    /// # Panics
    /// The peer closes before that, or says nothing for long.
    #[track_caller]
    pub fn read_until(&mut self, end: &str) -> impl Future<Output = String> {
        let (caller, end) = (Location::caller(), end.to_owned());
        async move {
            loop {
                let text = String::from_utf8_lossy(&self.incoming.buffer);
                if let Some(place) = text.find(&end) {
                    let whole: Vec<u8> = self.incoming.buffer.drain(..place + end.len()).collect();
                    return String::from_utf8(whole).expect("text");
                }
                let so_far = text.into_owned();
                let more = self.incoming.more_of_it().await;
                more.unwrap_or_else(|error| panic!("{caller}: no {end:?} in {so_far:?}: {error}"));
            }
        }
    }

    /// Reads until the peer closes or resets the connection.
    ///
    /// # Panics
    /// It does neither for long.
    #[track_caller]
    pub fn read_to_end(&mut self) -> impl Future<Output = Vec<u8>> {
        let caller = Location::caller();
        async move {
            loop {
                match self.incoming.more().await {
                    Ok(count) if count > 0 => {}
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => panic!("{caller}: still open"),
                    Ok(_) | Err(_) => return std::mem::take(&mut self.incoming.buffer),
                }
            }
        }
    }

    /// Waits for the peer to close, or reset, the connection; how long that took.
    ///
    /// # Panics
    /// It stays open, or something is sent on it.
    #[track_caller]
    pub fn expect_close(&mut self, within: Duration) -> impl Future<Output = Duration> {
        let caller = Location::caller();
        async move {
            let started = Instant::now();
            let ended = match self.incoming.buffer.is_empty() {
                true => timeout(within, self.incoming.more()).await,
                false => Ok(Ok(self.incoming.buffer.len())),
            };
            match ended {
                Err(_) => panic!("{caller}: still open after {within:?}"),
                Ok(Ok(0) | Err(_)) => started.elapsed(),
                Ok(Ok(_)) => panic!("{caller}: more came: {:?}", String::from_utf8_lossy(&self.incoming.buffer)),
            }
        }
    }
}

/// Writes all of it, and lets nothing stay behind in TLS.
async fn write(writer: &mut WriteHalf<Box<dyn Stream>>, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

impl Incoming {
    /// Reads once; how many bytes.
    async fn more(&mut self) -> io::Result<usize> {
        timeout(PATIENCE, self.half.read_buf(&mut self.buffer)).await?
    }

    /// Reads once, when the answer is not over.
    async fn more_of_it(&mut self) -> io::Result<()> {
        if self.more().await? == 0 {
            let got = String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(200)]).into_owned();
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {got:?}")));
        }
        Ok(())
    }

    async fn head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            self.more_of_it().await?;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        Response::of_head(&String::from_utf8_lossy(&head[..end]))
    }

    async fn response(&mut self, with_body: bool) -> io::Result<Response> {
        let mut response = self.head().await?;
        if !with_body || response.status < 200 || [204, 304].contains(&response.status) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut response).await?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| invalid("content-length"))?;
            response.body = self.exactly(length).await?;
        } else {
            response.until_close = true;
            while self.more().await? > 0 {}
            response.body = std::mem::take(&mut self.buffer);
        }
        Ok(response)
    }

    async fn chunks(&mut self, response: &mut Response) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| invalid("chunk size"))?;
            if size == 0 {
                break;
            }
            response.body.extend(self.exactly(size).await?);
            if !self.line().await?.is_empty() {
                return Err(invalid("the end of a chunk"));
            }
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(());
            }
            response.trailers.extend([&*line, "\n"]);
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            self.more_of_it().await?;
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
        Ok(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    async fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.more_of_it().await?;
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }
}

impl Response {
    fn of_head(head: &str) -> io::Result<Self> {
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or_else(|| invalid(head))?;
        let fields = lines.map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim())));
        let headers = fields.map(|field| field.map(|(name, value)| (name, value.to_owned())));
        Ok(Self {
            status,
            head: head.to_owned(),
            headers: headers.collect::<Option<_>>().ok_or_else(|| invalid(head))?,
            body: Vec::new(),
            trailers: String::new(),
            until_close: false,
        })
    }

    /// The first field of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the connection ends with this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not understood: {what}"))
}
