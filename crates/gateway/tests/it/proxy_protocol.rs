//! What a proxy says of a connection before its first byte: who is believed, and what becomes of everybody else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use gatepost_testkit::{Json, Origin, Raw, Script, TestGateway, eventually};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use crate::setup::{SOON, Setup, assert_one_second, refusal};
use crate::tls::{Certificates, HOST, Http2};

/// The one that `behind` lists …
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// … and one that it does not.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2: version and command, family and transport, and what follows them.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a length that fits").to_be_bytes();
    [V2_SIGNATURE, &[command, family], &length, block].concat()
}

/// The addresses and ports of a connection from `source`.
fn addresses(source: &str) -> Vec<u8> {
    let (source, destination) = match source.parse().expect("an address") {
        IpAddr::V4(source) => (source.octets().to_vec(), vec![198, 51, 100, 1]),
        IpAddr::V6(source) => (source.octets().to_vec(), vec![0x20; 16]),
    };
    [source, destination, vec![0xDC, 0x04, 0x01, 0xBB]].concat()
}

/// What becomes of a connection that begins with a header.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    /// Served as one from this address.
    From(&'static str),
    /// Served as one from the proxy itself.
    FromTheProxy,
    /// Closed without a word.
    Refused,
}

/// Headers, and what becomes of them when they are looked at.
fn headers() -> Vec<(&'static str, Vec<u8>, Verdict)> {
    use Verdict::{From, FromTheProxy, Refused};
    let with_tlvs = |tlvs: &[u8]| v2(0x21, 0x11, &[&addresses("192.0.2.7")[..], tlvs].concat());
    let padding = [&[0x04, 0x01, 0x00][..], &[0; 256]].concat();
    vec![
        ("v1 TCP4", V1.into(), From("192.0.2.7")),
        ("v1 TCP6", (*b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n").into(), From("2001:db8::7")),
        ("v1 mapped", (*b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 443\r\n").into(), From("192.0.2.7")),
        ("v1 UNKNOWN", (*b"PROXY UNKNOWN\r\n").into(), FromTheProxy),
        ("v1 UNKNOWN and more", (*b"PROXY UNKNOWN ffff::1 whatever 1\r\n").into(), FromTheProxy),
        ("v2 TCP4", v2(0x21, 0x11, &addresses("192.0.2.7")), From("192.0.2.7")),
        ("v2 TCP6", v2(0x21, 0x21, &addresses("2001:db8::7")), From("2001:db8::7")),
        ("v2 mapped", v2(0x21, 0x21, &addresses("::ffff:192.0.2.7")), From("192.0.2.7")),
        ("v2 with TLVs", with_tlvs(b"\x02\x00\x03a.b\xEA\x00\x05\x01vpce"), From("192.0.2.7")),
        ("v2 with padding", with_tlvs(&padding), From("192.0.2.7")),
        ("v2 LOCAL", v2(0x20, 0x00, b""), FromTheProxy),
        ("v2 LOCAL with addresses", v2(0x20, 0x11, &addresses("192.0.2.7")), FromTheProxy),
        ("v2 UNSPEC", v2(0x21, 0x00, b"whatever"), FromTheProxy),
        ("v2 UNIX", v2(0x21, 0x31, &[b'/'; 216]), FromTheProxy),
        ("v1 without end", [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(), Refused),
        ("v1 with a bare LF", V1.replace("\r\n", "\n").into(), Refused),
        ("v1 of another protocol", V1.replace("TCP4", "UDP4").into(), Refused),
        ("v1 of the other family", V1.replace("TCP4", "TCP6").into(), Refused),
        ("v1 with a port too large", V1.replace("443", "70000").into(), Refused),
        ("v1 with a zero before a port", V1.replace("443", "0443").into(), Refused),
        ("v1 with two spaces", V1.replace("7 198", "7  198").into(), Refused),
        ("v1 in lower case", V1.to_lowercase().replace("proxy", "PROXY").into(), Refused),
        ("v2 of version 1", v2(0x11, 0x11, &addresses("192.0.2.7")), Refused),
        ("v2 with command 2", v2(0x22, 0x11, &addresses("192.0.2.7")), Refused),
        ("v2 of family 4", v2(0x21, 0x41, &addresses("192.0.2.7")), Refused),
        ("v2 too short for its addresses", v2(0x21, 0x21, &addresses("192.0.2.7")), Refused),
        ("v2 too long", v2(0x21, 0x11, &[0; 600]), Refused),
        ("v2 with a TLV beyond its end", with_tlvs(b"\x02\x01\x00a"), Refused),
    ]
}

/// A listener, in the clear or with TLS, and who may say what on it.
struct Site {
    gateway: TestGateway,
    origin: Origin,
    certificates: Option<Certificates>,
    seen: usize,
}

impl Site {
    async fn start(proxy_protocol: &str, secure: bool) -> Self {
        let origin = Origin::start(Script::ok("served")).await;
        let behind = format!("behind = [\"{PROXY}\"]\nproxy_protocol = {proxy_protocol:?}\n");
        let (setup, certificates) = match secure {
            false => (Setup::to(&origin).listener(&behind), None),
            true => {
                let certificates = Certificates::new();
                let setup = Setup::to(&origin).listener(&(behind + "tls = true")).tables(&certificates.domain(HOST));
                (setup, Some(certificates))
            }
        };
        Self { gateway: setup.start().await, origin, certificates, seen: 0 }
    }

    /// Connects from `source`, says `header` and then asks; the line in the log.
    async fn line(&mut self, source: IpAddr, header: &[u8]) -> Json {
        let stream = connect(source, self.gateway.address()).await;
        let status = self.ask(stream, header).await.map_or(0, |response| response.status);
        let lines = self.gateway.log_until(|lines| lines.len() > self.seen, SOON).await;
        assert_eq!(lines.len(), self.seen + 1, "{lines:#?}");
        self.seen = lines.len();
        let line = lines[self.seen - 1].clone();
        // What a client without TLS is told in the clear stands in no log.
        assert!(line["status"] == status || (line.get("status").is_none() && [0, 400].contains(&status)), "{line}");
        line
    }

    async fn ask(&self, mut stream: TcpStream, header: &[u8]) -> std::io::Result<gatepost_testkit::Response> {
        let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        let mut client = match &self.certificates {
            None => {
                let address = stream.local_addr()?;
                stream.write_all(&[header, request.as_bytes()].concat()).await?;
                return Raw::over(stream, address).try_response().await;
            }
            Some(certificates) => {
                stream.write_all(header).await?;
                certificates.client().secure(stream, HOST).await?.raw()
            }
        };
        client.try_send(request).await?;
        client.try_response().await
    }
}

async fn connect(source: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source, 0)).expect("an address of this machine");
    let stream = socket.connect(to).await.expect("somebody listens");
    stream.set_nodelay(true).expect("a connected socket");
    stream
}

#[track_caller]
fn assert_served(line: &Json, name: &str, client: &str, from: &str) {
    let seen = (&line["status"], &line["client"], &line["client_from"]);
    assert_eq!(seen, (&200.into(), &client.into(), &from.into()), "{name}: {line}");
}

#[track_caller]
fn assert_refused(line: &Json, name: &str, reason: &str, client: IpAddr) {
    let seen = (&line["verdict"], &line["reason"], &line["client"], &line["client_from"]);
    let wanted = (&"refused".into(), &reason.into(), &client.to_string().into(), &"socket".into());
    assert_eq!(seen, wanted, "{name}: {line}");
}

#[tokio::test]
async fn a_declared_proxy_is_believed_or_refused() {
    for secure in [false, true] {
        for mode in ["optional", "required"] {
            let mut site = Site::start(mode, secure).await;
            for (name, header, verdict) in headers() {
                let name = format!("{name}, {mode}, {secure}");
                let line = site.line(PROXY, &header).await;
                match verdict {
                    Verdict::From(client) => assert_served(&line, &name, client, "proxy"),
                    Verdict::FromTheProxy => assert_served(&line, &name, "127.0.0.2", "socket"),
                    Verdict::Refused => {
                        assert_refused(&line, &name, "proxy_header", PROXY);
                        let detail = line["detail"].as_str().expect("it says what is wrong");
                        assert!(detail.starts_with("PROXY v"), "{name}: {detail}");
                        assert!(line.get("status").is_none(), "{name}: it is closed without a word: {line}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn without_a_header_a_declared_proxy_is_the_client_unless_one_is_required() {
    for secure in [false, true] {
        let line = Site::start("optional", secure).await.line(PROXY, b"").await;
        assert_served(&line, "optional", "127.0.0.2", "socket");
        let line = Site::start("required", secure).await.line(PROXY, b"").await;
        assert_refused(&line, "required", "proxy_header", PROXY);
        assert_eq!(line["detail"], "the connection begins without a PROXY header");
    }
}

#[tokio::test]
async fn what_is_not_looked_at_is_no_request() {
    for secure in [false, true] {
        for (mode, source) in [("off", PROXY), ("off", STRANGER), ("optional", STRANGER)] {
            let mut site = Site::start(mode, secure).await;
            let name = format!("{mode} from {source}, {secure}");
            for (header_name, header, _) in headers() {
                let line = site.line(source, &header).await;
                let name = format!("{header_name}, {name}");
                let reason = if secure { "tls_handshake" } else { "malformed" };
                assert_refused(&line, &name, reason, source);
            }
            assert_served(&site.line(source, b"").await, &name, &source.to_string(), "socket");
            assert_eq!(site.origin.count(), 1, "{name}");
        }
    }
}

#[tokio::test]
async fn where_a_header_is_required_only_declared_proxies_are_served() {
    for secure in [false, true] {
        let mut site = Site::start("required", secure).await;
        for (name, header, _) in headers().into_iter().chain([("none", Vec::new(), Verdict::Refused)]) {
            let line = site.line(STRANGER, &header).await;
            assert_refused(&line, name, "proxy_header", STRANGER);
            assert_eq!(line["detail"], "the sender is none of those in `behind`", "{name}");
        }
        assert_eq!(site.origin.accepted(), 0);
    }
}

#[tokio::test]
async fn a_header_byte_by_byte_is_understood() {
    for secure in [false, true] {
        let mut site = Site::start("required", secure).await;
        for header in [V1.as_bytes(), &v2(0x21, 0x11, &addresses("192.0.2.7"))] {
            let mut stream = connect(PROXY, site.gateway.address()).await;
            for byte in header {
                stream.write_all(&[*byte]).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(site.ask(stream, b"").await.expect("an answer").status, 200);
            site.seen += 1;
            let lines = site.gateway.log_until(|lines| lines.len() == site.seen, SOON).await;
            assert_served(&lines[site.seen - 1], "byte by byte", "192.0.2.7", "proxy");
        }
    }
}

#[tokio::test]
async fn a_hello_in_one_piece_with_the_header_is_answered() {
    let site = Site::start("required", true).await;
    let hello = site.certificates.as_ref().unwrap().client().hello(HOST);
    let mut client = Raw::connect_from(PROXY, site.gateway.address()).await;
    client.send([V1.as_bytes(), &hello].concat()).await;
    let answer = client.read(6).await.expect("an answer");
    assert_eq!((answer[0], answer[5]), (22, 2), "a ServerHello: {answer:?}");
}

#[tokio::test]
async fn http2_is_spoken_behind_a_header() {
    for secure in [false, true] {
        let site = Site::start("required", secure).await;
        let mut stream = connect(PROXY, site.gateway.address()).await;
        stream.write_all(V1.as_bytes()).await.unwrap();
        let status = match &site.certificates {
            None => Http2::over(stream).await.get(&format!("http://{HOST}/")).await.status(),
            Some(certificates) => {
                let client = certificates.client().alpn(&["h2"]);
                let secured = client.secure(stream, HOST).await.expect("a handshake");
                Http2::over(secured.stream()).await.get(&format!("https://{HOST}/")).await.status()
            }
        };
        assert_eq!(status, 200);
        let lines = site.gateway.log_until(|lines| !lines.is_empty(), SOON).await;
        assert_served(&lines[0], "HTTP/2", "192.0.2.7", "proxy");
    }
}

#[tokio::test]
async fn a_header_cut_short_is_cut_at_the_header_timeout() {
    let binary = v2(0x21, 0x11, &addresses("192.0.2.7"));
    let origin = Origin::start(Script::ok("")).await;
    for mode in ["optional", "required"] {
        for cut in [&V1.as_bytes()[..1], &V1.as_bytes()[..20], &binary[..5], &binary[..16], &binary[..27]] {
            let behind = format!("behind = [\"{PROXY}\"]\nproxy_protocol = {mode:?}\n");
            let gateway = Setup::to(&origin).listener(&behind).limits(r#"header_timeout = "1s""#).start().await;
            let mut client = Raw::connect_from(PROXY, gateway.address()).await;
            let started = Instant::now();
            client.send(cut).await;
            assert_eq!(client.read_to_end().await, b"", "{mode}: {cut:?}");
            assert_one_second(started.elapsed());
            let line = refusal(&gateway, "header_timeout").await;
            assert_refused(&line, mode, "header_timeout", PROXY);
        }
    }
}

#[tokio::test]
async fn a_proxy_that_probes_is_nobodys_business() {
    let local = v2(0x20, 0x00, b"");
    for secure in [false, true] {
        for mode in ["optional", "required"] {
            let mut site = Site::start(mode, secure).await;
            for probe in [&b""[..], &local, V1.as_bytes()] {
                let mut stream = connect(PROXY, site.gateway.address()).await;
                stream.write_all(probe).await.unwrap();
                stream.shutdown().await.unwrap();
                let address = stream.local_addr().unwrap();
                Raw::over(stream, address).expect_close(SOON).await;
            }
            let line = site.line(PROXY, V1.as_bytes()).await;
            assert_served(&line, mode, "192.0.2.7", "proxy");
            let open = "gatepost_connections{listener=\"default\"} 0";
            eventually(SOON, || site.gateway.metrics().contains(open)).await;
        }
    }
}

#[tokio::test]
async fn admission_and_the_backend_go_by_the_address_in_the_header() {
    let origin = Origin::start(Script::ok("")).await;
    let behind = format!("behind = [\"{PROXY}\"]\nforwarded = \"off\"\nproxy_protocol = \"optional\"\n");
    let gateway = Setup::to(&origin).listener(&behind).entry(r#"from = ["192.0.2.7"]"#).start().await;
    for (header, status) in [(V1.to_owned(), 200), (V1.replace("192.0.2.7", "192.0.2.8"), 403), (String::new(), 403)] {
        let mut client = Raw::connect_from(PROXY, gateway.address()).await;
        client.send(&header).await;
        for _ in 0..2 {
            let ask = "GET / HTTP/1.1\nhost: a\nx-forwarded-for: 192.0.2.7\n\n";
            assert_eq!(client.ask(ask).await.status, status, "{header:?}");
        }
    }
    assert_eq!(origin.count(), 2);
    for request in origin.requests() {
        assert_eq!(request.header("x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(request.header("forwarded"), Some("for=192.0.2.7;host=a;proto=http"));
    }
    let line = refusal(&gateway, "address_not_listed").await;
    assert_eq!((&line["client"], &line["client_from"]), (&"192.0.2.8".into(), &"proxy".into()), "{line}");
}

#[tokio::test]
async fn a_failed_handshake_is_logged_with_the_address_in_the_header() {
    let site = Site::start("required", true).await;
    let mut stream = connect(PROXY, site.gateway.address()).await;
    stream.write_all(V1.as_bytes()).await.unwrap();
    let client = site.certificates.as_ref().unwrap().client();
    client.secure(stream, "other.test").await.expect_err("no certificate");
    let line = refusal(&site.gateway, "tls_handshake").await;
    assert_eq!((&line["client"], &line["client_from"]), (&"192.0.2.7".into(), &"proxy".into()), "{line}");
}

#[tokio::test]
async fn a_proxy_that_keeps_connections_ready_does_not_hold_up_a_stop() {
    for secure in [false, true] {
        let site = Site::start("required", secure).await;
        let mut ready = Raw::connect_from(PROXY, site.gateway.address()).await;
        ready.send(V1).await;
        let open = "gatepost_connections{listener=\"default\"} 1";
        eventually(SOON, || site.gateway.metrics().contains(open)).await;
        let started = Instant::now();
        site.gateway.stop(Duration::from_secs(30)).await;
        ready.expect_close(SOON).await;
        assert!(started.elapsed() < Duration::from_secs(5), "it waited for nothing: {:?}", started.elapsed());
    }
}
