//! Certificates in files: what `check` says of them, and what happens when they change.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gatepost_testkit::{Authority, Issued, PATIENCE, Process, TlsClient};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::home::Home;

const HOST: &str = "gateway.test";

/// The domain is line 10, its certificate is line 11.
const SECURE: &str = r#"[server]
admin   = "off"
workers = 2

[listen.secure]
addresses = ["127.0.0.1:0"]
tls       = true
limits    = { header_timeout = "5s" }

[domain."gateway.test"]
tls = { cert = "file:tls/cert.pem", key = "file:tls/key.pem" }

[route."ANY /{rest+}"]
open    = true
respond = { body = "inside" }
"#;

fn home(issued: &Issued) -> Home {
    let home = Home::new(SECURE);
    home.write("tls/cert.pem", &issued.chain_pem);
    home.write("tls/key.pem", &issued.key_pem);
    home
}

/// Puts a certificate and its key in the place of those that are there, one file after the other.
fn replace(home: &Home, issued: &Issued) {
    home.replace("tls/cert.pem", &issued.chain_pem);
    home.replace("tls/key.pem", &issued.key_pem);
}

/// Waits until new clients are shown this certificate.
async fn until_shown(authority: &Authority, address: SocketAddr, issued: &Issued) {
    let end = Instant::now() + PATIENCE;
    while !TlsClient::new(authority).connect(address, HOST).await.shows(issued) {
        assert!(Instant::now() < end, "the new certificate is not shown");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_reported_at_its_line_and_not_served() {
    let authority = Authority::new();
    let mut foreign_key = authority.issue(&[HOST]);
    foreign_key.key_pem = authority.issue(&[HOST]).key_pem;
    let other_name = authority.issue(&["other.test", "*.gateway.test"]);
    let mut no_certificate = authority.issue(&[HOST]);
    no_certificate.chain_pem = no_certificate.key_pem.clone();
    for (issued, said) in [
        (foreign_key, "the private key does not belong to the certificate"),
        (other_name, "not valid for gateway.test"),
        (no_certificate, "certificate"),
    ] {
        let home = home(&issued);
        for command in ["check", "run"] {
            let (code, stdout, stderr) = home.outcome(&[command]).await;
            assert_eq!((code, &*stdout), (1, ""), "{stderr}");
            assert!(stderr.contains("gatepost.toml:11:") || stderr.contains("gatepost.toml:10:"), "{stderr}");
            assert!(stderr.contains(said), "{said}: {stderr}");
            assert!(stderr.ends_with("1 mistake in the configuration"), "{stderr}");
            let secret: Vec<&str> = issued.key_pem.lines().filter(|line| !line.starts_with('-')).collect();
            assert!(!secret.iter().any(|line| stderr.contains(line)), "a key is printed: {stderr}");
        }
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_used_are_reported_once_however_many_routes_need_them() {
    let home = Home::new(
        r#"
[upstream.app]
targets = ["https://127.0.0.1:1"]
ca      = "file:ca.pem"

[route."GET /one"]
open    = true
forward = { to = "app" }

[route."GET /two"]
open    = true
forward = { to = "app" }
"#,
    );
    home.write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let (code, stdout, stderr) = home.outcome(&["check"]).await;
    assert_eq!((code, &*stdout), (1, ""), "{stderr}");
    assert!(stderr.contains("`ca` cannot be used") && stderr.contains("\n1 mistake in"), "{stderr}");
}

#[tokio::test]
async fn an_expired_certificate_is_served_with_a_warning() {
    let authority = Authority::new();
    for (issued, said) in [
        (authority.issue_expired(&[HOST]), "expired"),
        (authority.issue_early(&[HOST]), "not valid yet"),
        (Issued::self_signed(&[HOST]), ""),
    ] {
        let home = home(&issued);
        let (code, stdout, stderr) = home.outcome(&["check"]).await;
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.starts_with("gatepost.toml is fine"), "{stdout}");
        if said.is_empty() {
            assert_eq!(stderr, "", "for use inside one's own walls");
        } else {
            assert!(stderr.contains("WARN") && stderr.contains("the certificate of gateway.test"), "{stderr}");
            assert!(stderr.contains(said), "{said}: {stderr}");
        }
        let (running, _) = home.run().await;
        assert_eq!(running.stderr().iter().any(|line| line.contains("WARN")), !said.is_empty(), "{}", running.said());
    }
}

#[tokio::test]
async fn certificates_that_change_are_shown_without_a_signal() {
    let authority = Authority::new();
    let issued: Vec<Issued> = (0..4).map(|_| authority.issue(&[HOST])).collect();
    let home = home(&issued[0]);
    let (mut running, address) = home.run().await;
    running.wait_for_line("listening on https://127.0.0.1:", PATIENCE).await;
    let mut open = TlsClient::new(&authority).connect(address, HOST).await.raw();
    assert_eq!(open.get("/a").await.text(), "inside");
    until_shown(&authority, address, &issued[0]).await;

    // In place, as `cp` does, and then by a rename of each file.
    home.write("tls/cert.pem", &issued[1].chain_pem);
    home.write("tls/key.pem", &issued[1].key_pem);
    until_shown(&authority, address, &issued[1]).await;
    replace(&home, &issued[2]);
    until_shown(&authority, address, &issued[2]).await;
    assert_eq!(open.get("/a").await.text(), "inside", "who is connected stays");
}

#[tokio::test]
async fn certificates_behind_a_link_change_at_once() {
    let authority = Authority::new();
    let issued: Vec<Issued> = (0..3).map(|_| authority.issue(&[HOST])).collect();
    let home = Home::new(SECURE);
    for (number, issued) in issued.iter().enumerate() {
        home.write(&format!("live{number}/cert.pem"), &issued.chain_pem);
        home.write(&format!("live{number}/key.pem"), &issued.key_pem);
    }
    home.link("tls", "live0");
    let (running, address) = home.run().await;
    until_shown(&authority, address, &issued[0]).await;
    for (number, issued) in issued.iter().enumerate().skip(1) {
        home.link("tls", &format!("live{number}"));
        until_shown(&authority, address, issued).await;
    }
    let refused = running.stderr().iter().filter(|line| line.contains("not reloaded")).count();
    assert_eq!(refused, 0, "{}", running.said());
}

#[tokio::test]
async fn a_broken_certificate_changes_nothing_until_it_is_mended() {
    let authority = Authority::new();
    let (good, better) = (authority.issue(&[HOST]), authority.issue(&[HOST]));
    let home = home(&good);
    let (mut running, address) = home.run().await;
    home.replace("tls/cert.pem", &better.chain_pem);
    let said = running.wait_for_line("not reloaded, nothing has changed", PATIENCE).await;
    assert!(running.said().contains("the private key does not belong"), "{said}\n{}", running.said());
    until_shown(&authority, address, &good).await;
    fs::remove_file(home.path("tls/key.pem")).unwrap();
    until_shown(&authority, address, &good).await;
    home.write("tls/key.pem", &better.key_pem);
    until_shown(&authority, address, &better).await;
}

#[tokio::test]
async fn twenty_new_certificates_under_load_fail_no_connection() {
    const SWAPS: usize = 20;
    let authority = Arc::new(Authority::new());
    let home = home(&authority.issue(&[HOST]));
    let (running, address) = home.run().await;
    let crowd = Crowd::gather(&authority, address);
    for _ in 0..SWAPS {
        let next = authority.issue(&[HOST]);
        replace(&home, &next);
        until_shown(&authority, address, &next).await;
    }
    let served = crowd.disperse(&running).await;
    assert!(served > 100, "only {served} connections: that is no load");
}

/// Clients that come anew for each request.
struct Crowd {
    over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Crowd {
    /// Half of them resume their sessions.
    fn gather(authority: &Arc<Authority>, address: SocketAddr) -> Self {
        let mut crowd = Self { over: Arc::default(), served: Arc::default(), clients: JoinSet::new() };
        for number in 0..4 {
            let (over, served) = (Arc::clone(&crowd.over), Arc::clone(&crowd.served));
            let authority = Arc::clone(authority);
            crowd.clients.spawn(async move {
                let known = TlsClient::new(&authority);
                while !over.load(Ordering::Relaxed) {
                    let client = if number % 2 == 0 { known.clone() } else { TlsClient::only_12(&authority) };
                    let mut connection = client.connect(address, HOST).await.raw();
                    assert_eq!(connection.get("/a").await.text(), "inside");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        crowd
    }

    /// Lets them finish; how many were served. One that met a failure has panicked.
    async fn disperse(mut self, running: &Process) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            assert!(ended.is_ok(), "{ended:?}\n{}", running.said());
        }
        self.served.load(Ordering::Relaxed)
    }
}
