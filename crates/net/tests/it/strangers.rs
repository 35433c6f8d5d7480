//! What comes to a TLS port and is not TLS, or not as it should be.

use gatepost_net::tls::{Foreign, HandshakeError, ServerTls};
use gatepost_testkit::{Authority, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::setup::{domain, server, sockets};

/// Sends `bytes`, then nothing more; returns how the handshake ended and what was answered.
async fn send(server: &ServerTls, bytes: &[u8]) -> (HandshakeError, Vec<u8>) {
    let (here, mut there) = sockets().await;
    let client = async {
        there.write_all(bytes).await.expect("it is sent");
        there.shutdown().await.expect("an end");
        let mut answer = Vec::new();
        there.read_to_end(&mut answer).await.expect("an end");
        answer
    };
    let both = async { tokio::join!(server.accept(here), client) };
    let (result, answer) = timeout(PATIENCE, both).await.expect("an end in time");
    (result.expect_err("no handshake"), answer)
}

#[tokio::test]
async fn what_is_not_tls_is_told_by_its_name() {
    let server = server([domain(&Authority::new(), "a.test")]);
    for (bytes, spoken) in [
        (&b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"[..], Foreign::Http1),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", Foreign::Http1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Foreign::Http2),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Foreign::Proxy),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Foreign::Proxy),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Foreign::Other),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", Foreign::Other),
    ] {
        let (error, _) = send(&server, bytes).await;
        assert!(matches!(error, HandshakeError::NotTls(foreign) if foreign == spoken), "{spoken:?}: {error:?}");
    }
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_in_plain_http() {
    let server = server([domain(&Authority::new(), "a.test")]);
    let (_, answer) = send(&server, b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
}

#[tokio::test]
async fn who_only_connects_has_left() {
    let server = server([domain(&Authority::new(), "a.test")]);
    for bytes in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let (error, answer) = send(&server, bytes).await;
        assert!(matches!(error, HandshakeError::Left), "{error:?}");
        assert!(answer.is_empty());
    }
}

#[tokio::test]
async fn tls_1_0_and_1_1_are_refused_with_the_alert_that_says_so() {
    let server = server([domain(&Authority::new(), "a.test")]);
    for version in [[3, 1], [3, 2]] {
        let (error, answer) = send(&server, &old_client_hello(version)).await;
        assert!(matches!(error, HandshakeError::TooOld), "{error:?}");
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70], "a fatal alert, protocol_version");
    }
}

#[tokio::test]
async fn a_hello_that_never_ends_is_cut_off_at_a_bound() {
    let server = server([domain(&Authority::new(), "a.test")]);
    // A hello that says it has 16 MiB, in whole records.
    let mut bytes = Vec::new();
    for index in 0..64 {
        bytes.extend([22, 3, 1, 0x40, 0]);
        bytes.extend(if index == 0 { [1, 0xff, 0xff, 0xff, 3, 3] } else { [0; 6] });
        bytes.extend([0; 0x3ffa]);
    }
    let (here, mut there) = sockets().await;
    // It is no use to ask whether all of it was sent: the other side may be gone.
    let client = async { there.write_all(&bytes).await };
    let both = async { tokio::join!(server.accept(here), client) };
    let (result, _) = timeout(PATIENCE, both).await.expect("an end in time");
    assert!(matches!(result, Err(HandshakeError::Tls(_))), "{result:?}");
}

/// The first message of a client that speaks nothing newer than `version` (RFC 4346, 7.4.1.2).
fn old_client_hello(version: [u8; 2]) -> Vec<u8> {
    let name = b"a.test";
    let mut extensions = Vec::new();
    // server_name; supported_groups: P-256; ec_point_formats: uncompressed.
    extensions.extend([0, 0, 0, 11, 0, 9, 0, 0, 6]);
    extensions.extend(name);
    extensions.extend([0, 10, 0, 4, 0, 2, 0, 23]);
    extensions.extend([0, 11, 0, 2, 1, 0]);

    let mut body = version.to_vec();
    body.extend([7; 32]);
    // No session; ECDHE-ECDSA and ECDHE-RSA with AES-CBC; no compression.
    body.extend([0, 0, 4, 0xc0, 0x09, 0xc0, 0x13, 1, 0]);
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);

    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}
