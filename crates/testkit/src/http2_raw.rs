//! HTTP/2 frame by frame: what is sent and read is what is on the wire (RFC 9113).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::eventually::PATIENCE;

/// A client that speaks HTTP/2 frame by frame: it sends exactly what it is given, and acknowledges, opens a window or
/// corrects a mistake only when it is told to.
#[derive(Debug)]
pub struct Http2 {
    writer: OwnedWriteHalf,
    half: OwnedReadHalf,
    /// Read, but not taken yet.
    buffer: Vec<u8>,
}

/// A frame, as it is on the wire (RFC 9113, 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream it belongs to; 0 is the connection.
    pub stream: u32,
    /// What follows the nine bytes that all frames begin with.
    pub payload: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with this status, to the end.
    Answered(u16),
    /// Answered with this status, and then reset with this code.
    Cut(u16, u32),
    /// Reset with this code.
    Reset(u32),
    /// The whole connection ended, with a GOAWAY of this code.
    GoAway(u32),
    /// The connection was closed without a word.
    Closed,
}

/// What begins every connection of HTTP/2 (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types of frames (RFC 9113, 6).
#[allow(missing_docs, reason = "the names are those of the standard")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames (RFC 9113, 6).
#[allow(missing_docs, reason = "the names are those of the standard")]
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Error codes (RFC 9113, 7).
#[allow(missing_docs, reason = "the names are those of the standard")]
pub mod code {
    pub const NO_ERROR: u32 = 0x0;
    pub const PROTOCOL_ERROR: u32 = 0x1;
    pub const INTERNAL_ERROR: u32 = 0x2;
    pub const FLOW_CONTROL_ERROR: u32 = 0x3;
    pub const STREAM_CLOSED: u32 = 0x5;
    pub const FRAME_SIZE_ERROR: u32 = 0x6;
    pub const REFUSED_STREAM: u32 = 0x7;
    pub const CANCEL: u32 = 0x8;
    pub const COMPRESSION_ERROR: u32 = 0x9;
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
}

/// Settings (RFC 9113, 6.5.2).
#[allow(missing_docs, reason = "the names are those of the standard")]
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// Any frame, whether or not it makes sense.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a frame that fits its length");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A block of header fields, each a literal that is not remembered (RFC 7541, 6.2.2).
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        push_string(&mut bytes, name);
        push_string(&mut bytes, value);
    }
    bytes
}

fn push_string(bytes: &mut Vec<u8>, text: &str) {
    // RFC 7541, 5.1: a number that begins with seven bits.
    let mut rest = text.len();
    if rest < 127 {
        bytes.push(rest as u8);
    } else {
        bytes.push(127);
        rest -= 127;
        while rest >= 128 {
            bytes.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        bytes.push(rest as u8);
    }
    bytes.extend(text.as_bytes());
}

/// The fields of a plain request, in a block.
#[must_use]
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "gateway.test"), (":path", path)];
    block(&[&pseudo, more].concat())
}

/// A HEADERS frame with a whole block, and no more to come when `ends`.
#[must_use]
pub fn headers(stream: u32, block: impl AsRef<[u8]>, ends: bool) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS | if ends { flag::END_STREAM } else { 0 }, stream, block)
}

/// A GET request for `path`.
#[must_use]
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, request("GET", path, &[]), true)
}

/// The head of a POST request for `path`, whose body is to come.
#[must_use]
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, request("POST", path, &[]), false)
}

/// A DATA frame.
#[must_use]
pub fn data(stream: u32, bytes: impl AsRef<[u8]>, ends: bool) -> Vec<u8> {
    frame(kind::DATA, if ends { flag::END_STREAM } else { 0 }, stream, bytes)
}

/// A RST_STREAM frame.
#[must_use]
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, code.to_be_bytes())
}

/// A WINDOW_UPDATE frame.
#[must_use]
pub fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, by.to_be_bytes())
}

/// A SETTINGS frame.
#[must_use]
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let entry = |&(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(kind::SETTINGS, 0, 0, values.iter().flat_map(entry).collect::<Vec<_>>())
}

/// A PING frame.
#[must_use]
pub fn ping(opaque: [u8; 8]) -> Vec<u8> {
    frame(kind::PING, 0, 0, opaque)
}

impl Http2 {
    /// Connects and sends nothing.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect_silently(to: SocketAddr) -> Self {
        Self::of(TcpStream::connect(to).await.expect("somebody listens"))
    }

    /// Connects, begins as every client does, and acknowledges the server's settings.
    ///
    /// # Panics
    /// Nobody listens there, or nobody speaks HTTP/2 there.
    pub async fn connect(to: SocketAddr) -> Self {
        Self::connect_with(to, &[]).await
    }

    /// The same with settings of its own.
    ///
    /// # Panics
    /// Nobody listens there, or nobody speaks HTTP/2 there.
    pub async fn connect_with(to: SocketAddr, values: &[(u16, u32)]) -> Self {
        let mut client = Self::connect_silently(to).await;
        client.begin(values).await;
        client
    }

    /// The same with a receive buffer of about `bytes`, so that a client that does not read is noticed soon.
    ///
    /// # Panics
    /// Nobody listens there, or nobody speaks HTTP/2 there.
    pub async fn connect_narrow(to: SocketAddr, bytes: u32, values: &[(u16, u32)]) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a size");
        let mut client = Self::of(socket.connect(to).await.expect("somebody listens"));
        client.begin(values).await;
        client
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a connected socket");
        let (half, writer) = stream.into_split();
        Self { writer, half, buffer: Vec::new() }
    }

    async fn begin(&mut self, values: &[(u16, u32)]) {
        // Without a dynamic table a status can be read off one frame.
        let values = [&[(setting::HEADER_TABLE_SIZE, 0)], values].concat();
        self.send([PREFACE, &settings(&values), &frame(kind::SETTINGS, flag::ACK, 0, [])].concat()).await;
        self.until(|frame| frame.kind == kind::SETTINGS && frame.flags == flag::ACK).await;
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
        timeout(PATIENCE, self.writer.write_all(bytes.as_ref())).await?
    }

    /// Sends the pieces that `next` makes, counted from 0, and reads meanwhile, until the peer ends the connection or
    /// `most` bytes were sent; how many were, and the last GOAWAY's code.
    ///
    /// # Errors
    /// All of them were sent, and the peer still takes more.
    pub async fn flood(
        &mut self,
        most: usize,
        mut next: impl FnMut(usize) -> Vec<u8>,
    ) -> Result<(usize, Option<u32>), usize> {
        let (mut sent, mut code, mut ended) = (0, None, false);
        for number in 0.. {
            let piece = next(number);
            let mut rest = &piece[..];
            while !rest.is_empty() && !ended {
                tokio::select! {
                    count = self.half.read_buf(&mut self.buffer) => ended = !matches!(count, Ok(1..)),
                    count = self.writer.write(rest) => match count {
                        Ok(count) => rest = &rest[count..],
                        Err(_) => ended = true,
                    },
                }
                while let Some(frame) = self.take() {
                    code = if frame.kind == kind::GOAWAY { Some(frame.error()) } else { code };
                }
            }
            sent += piece.len() - rest.len();
            if ended || sent >= most {
                break;
            }
        }
        if !ended {
            return Err(sent);
        }
        Ok((sent, code.or(self.end(PATIENCE).await)))
    }

    /// Waits until the peer has read all that was sent so far.
    ///
    /// # Panics
    /// It does not say so.
    pub async fn is_heard(&mut self) {
        self.send(ping(*b"heard it")).await;
        self.until(|frame| frame.kind == kind::PING && frame.payload == b"heard it").await;
    }

    /// Reads the next frame; none at the end of the connection.
    ///
    /// # Panics
    /// Nothing comes for long.
    pub async fn next(&mut self) -> Option<Frame> {
        self.next_within(PATIENCE).await.expect("a frame, or the end of the connection")
    }

    /// Reads the next frame, none at the end of the connection, if that comes in time.
    ///
    /// # Errors
    /// It does not.
    pub async fn next_within(&mut self, within: Duration) -> io::Result<Option<Frame>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(frame) = self.take() {
                return Ok(Some(frame));
            }
            match timeout_at(deadline, self.half.read_buf(&mut self.buffer)).await? {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let (head, rest) = self.buffer.split_first_chunk::<9>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = rest.get(..length)?.to_vec();
        self.buffer.drain(..9 + length);
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads up to a frame that is `wanted`; the others are dropped.
    ///
    /// # Panics
    /// It does not come.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let mut others = Vec::new();
        while let Some(frame) = self.next().await {
            if wanted(&frame) {
                return frame;
            }
            others.push((frame.kind, frame.flags, frame.stream, frame.payload.len()));
        }
        panic!("the connection ended, and before that only (type, flags, stream, length): {others:?}");
    }

    /// Waits for the end of what was asked for on `stream`.
    ///
    /// # Panics
    /// It goes on for long, or is answered with something that is no answer.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        self.answer(stream).await.0
    }

    /// The same, with the body.
    ///
    /// # Panics
    /// It goes on for long, or is answered with something that is no answer.
    pub async fn answer(&mut self, stream: u32) -> (Outcome, Vec<u8>) {
        let (mut status, mut body) = (None, Vec::new());
        while let Some(frame) = self.next().await {
            let outcome = match frame.kind {
                kind::GOAWAY if frame.error() != code::NO_ERROR => Outcome::GoAway(frame.error()),
                _ if frame.stream != stream => continue,
                kind::HEADERS => {
                    status = Some(frame.status());
                    if frame.flags & flag::END_STREAM == 0 {
                        continue;
                    }
                    Outcome::Answered(frame.status())
                }
                kind::DATA => {
                    body.extend(&frame.payload);
                    if frame.flags & flag::END_STREAM == 0 {
                        continue;
                    }
                    Outcome::Answered(status.expect("a head before a body"))
                }
                kind::RST_STREAM => match status {
                    Some(status) => Outcome::Cut(status, frame.error()),
                    None => Outcome::Reset(frame.error()),
                },
                _ => continue,
            };
            return (outcome, body);
        }
        (Outcome::Closed, body)
    }

    /// Asks for `path` and waits for the answer.
    ///
    /// # Panics
    /// It goes on for long.
    pub async fn get(&mut self, stream: u32, path: &str) -> Outcome {
        // Who has closed may still have said why.
        let _ = self.try_send(get(stream, path)).await;
        self.outcome(stream).await
    }

    /// Waits for the end of the connection: the code of its last GOAWAY, if there was one.
    ///
    /// # Panics
    /// It stays open for longer than `within`.
    pub async fn end(&mut self, within: Duration) -> Option<u32> {
        let deadline = Instant::now() + within;
        let mut code = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_within(left).await.unwrap_or_else(|_| panic!("still open after {within:?}")) {
                Some(frame) if frame.kind == kind::GOAWAY => code = Some(frame.error()),
                Some(_) => {}
                None => return code,
            }
        }
    }
}

impl Frame {
    /// The error code of a RST_STREAM or a GOAWAY.
    ///
    /// # Panics
    /// It is neither.
    #[must_use]
    pub fn error(&self) -> u32 {
        let code = self.payload.last_chunk().filter(|_| self.kind == kind::RST_STREAM);
        let code = code.or(self.payload.get(4..).and_then(<[u8]>::first_chunk));
        u32::from_be_bytes(*code.expect("a frame with an error code"))
    }

    /// The status in a HEADERS frame, which the block begins with.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let is_size_update = |byte: u8| byte & 0xe0 == 0x20;
        let block = self.payload.iter().copied().skip_while(|byte| is_size_update(*byte)).collect::<Vec<_>>();
        // RFC 7541, appendix A: those that have a number of their own.
        match block[..] {
            [0x88, ..] => 200,
            [0x89, ..] => 204,
            [0x8a, ..] => 206,
            [0x8b, ..] => 304,
            [0x8c, ..] => 400,
            [0x8d, ..] => 404,
            [0x8e, ..] => 500,
            [0x48 | 0x08 | 0x18, length, ref rest @ ..] => {
                let text = &rest[..usize::from(length & 0x7f)];
                let digits = if length & 0x80 == 0 { text.to_vec() } else { digits_of(text) };
                String::from_utf8(digits).expect("digits").parse().expect("a status")
            }
            _ => panic!("no status: {block:02x?}"),
        }
    }
}

/// Digits in the code of RFC 7541, appendix B.
fn digits_of(coded: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum * 2 + bit);
    let (mut digits, mut rest) = (Vec::new(), &bits[..]);
    while rest.len() >= 5 {
        let (length, digit) = match number(&rest[..5]) {
            short @ 0..3 => (5, short),
            _ if rest.len() >= 6 && (25..32).contains(&number(&rest[..6])) => (6, number(&rest[..6]) - 22),
            _ => break,
        };
        digits.push(b'0' + digit);
        rest = &rest[length..];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_every_form() {
        let of = |block: &[u8]| Frame { kind: 1, flags: 4, stream: 1, payload: block.to_vec() }.status();
        assert_eq!(of(&[0x88]), 200);
        assert_eq!(of(&[0x20, 0x8d]), 404);
        assert_eq!(of(b"\x08\x03431"), 431);
        // RFC 7541, C.6.1: 302.
        assert_eq!(of(&[0x48, 0x82, 0x64, 0x02]), 302);
        // 307, C.6.2.
        assert_eq!(of(&[0x48, 0x83, 0x64, 0x0e, 0xff]), 307);
    }
}
