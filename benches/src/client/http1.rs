//! HTTP/1.1, blocking: what waits for nothing else is timed best.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use rustls::{ClientConnection, StreamOwned};

use super::{LIMIT, LONGEST_BODY, Reply, authority, tls};
use crate::Outcome;
use crate::front::{Front, Http};
use crate::load::Post;

/// A connection that carries one request after another.
pub(crate) struct Connection {
    // Small, because one measure holds ten thousand of them.
    stream: BufReader<Stream>,
    authority: String,
}

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    pub(super) fn open(port: u16, front: &Front) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        let stream = match front.tls {
            Some(_) => {
                let config = tls::Offer::of(Http::One).config()?;
                Stream::Tls(Box::new(StreamOwned::new(ClientConnection::new(config, tls::host()?)?, stream)))
            }
            None => Stream::Clear(stream),
        };
        Ok(Self { stream: BufReader::with_capacity(1024, stream), authority: authority(port, front) })
    }

    pub(super) fn get(&mut self, path: &str) -> Outcome<Reply> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.authority);
        self.ask(&request)
    }

    pub(super) fn get_with(&mut self, path: &str, (name, value): (&str, &str)) -> Outcome<Reply> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{name}: {value}\r\n\r\n", self.authority);
        self.ask(&request)
    }

    pub(super) fn post(&mut self, path: &str, post: &Post) -> Outcome<Reply> {
        let Post { header: (name, value), body } = post;
        let head = format!("POST {path} HTTP/1.1\r\nhost: {}\r\n{name}: {value}\r\n", self.authority);
        self.ask(&format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    }

    fn ask(&mut self, request: &str) -> Outcome<Reply> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("not an HTTP answer: {first:?}"))?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let length = length.ok_or("an answer without content-length")?;
        if length > LONGEST_BODY {
            return Err(format!("an answer of {length} bytes").into());
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Reply { status, body: String::from_utf8(body)? })
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.stream.by_ref().take(16 * 1024).read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err("the connection ended inside an answer".into()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
