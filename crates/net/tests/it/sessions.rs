//! Sessions that are resumed, and those that must not be.

use std::sync::Arc;

use gatepost_net::tls::{ServerTls, Tickets, TlsVersion};
use gatepost_testkit::Authority;

use crate::setup::{BOTH, Client, ONLY_12, ONLY_13, client, client_config, domain, domain_from, meet, server};

async fn resumed(server: &ServerTls, client: &Client, host: &str) -> bool {
    meet(server, client, host).await.greet().await.0.session.resumed
}

#[tokio::test]
async fn a_client_that_comes_again_resumes_its_session() {
    let authority = Authority::new();
    let server = server([domain(&authority, "a.test")]);
    for versions in [ONLY_12, ONLY_13] {
        let client = client(&authority, versions);
        assert!(!resumed(&server, &client, "a.test").await);
        assert!(resumed(&server, &client, "a.test").await);
        assert!(resumed(&server, &client, "a.test").await, "each handshake brings the next ticket");
    }
}

#[tokio::test]
async fn sessions_survive_a_reload_and_a_new_certificate() {
    let authority = Authority::new();
    let tickets = Tickets::new().unwrap();
    let build = || ServerTls::new([domain(&authority, "a.test")], &tickets).unwrap();
    for versions in [ONLY_12, ONLY_13] {
        let client = client(&authority, versions);
        assert!(!resumed(&build(), &client, "a.test").await);
        assert!(resumed(&build(), &client, "a.test").await);
    }
}

#[tokio::test]
async fn sessions_end_with_the_keys_of_their_tickets() {
    let authority = Authority::new();
    let build = || server([domain(&authority, "a.test")]);
    for versions in [ONLY_12, ONLY_13] {
        let client = client(&authority, versions);
        assert!(!resumed(&build(), &client, "a.test").await);
        assert!(!resumed(&build(), &client, "a.test").await);
    }
}

/// A client that offers every ticket to every host.
#[derive(Debug)]
struct Careless(Arc<dyn rustls::client::ClientSessionStore>);

impl Careless {
    fn anyone() -> rustls::pki_types::ServerName<'static> {
        "anyone.test".try_into().expect("a name")
    }
}

impl rustls::client::ClientSessionStore for Careless {
    fn set_kx_hint(&self, _: rustls::pki_types::ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(Self::anyone(), group);
    }

    fn kx_hint(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&Self::anyone())
    }

    fn set_tls12_session(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(Self::anyone(), value);
    }

    fn tls12_session(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::anyone())
    }

    fn remove_tls12_session(&self, _: &rustls::pki_types::ServerName<'static>) {
        self.0.remove_tls12_session(&Self::anyone());
    }

    fn insert_tls13_ticket(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(Self::anyone(), value);
    }

    fn take_tls13_ticket(
        &self,
        _: &rustls::pki_types::ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::anyone())
    }
}

fn careless(authority: &Authority, versions: &[&'static rustls::SupportedProtocolVersion]) -> Client {
    let mut config = client_config(authority, versions);
    let store = Careless(Arc::new(rustls::client::ClientSessionMemoryCache::new(8)));
    config.resumption = rustls::client::Resumption::store(Arc::new(store));
    Arc::new(config)
}

#[tokio::test]
async fn a_ticket_of_one_host_opens_no_other() {
    let authority = Authority::new();
    let server = server(["a.test", "b.test", "*.c.test"].map(|name| domain(&authority, name)));
    for versions in [ONLY_12, ONLY_13] {
        let client = careless(&authority, versions);
        assert!(!resumed(&server, &client, "a.test").await);
        assert!(resumed(&server, &client, "a.test").await);
        assert!(!resumed(&server, &client, "b.test").await);
        assert!(!resumed(&server, &client, "x.c.test").await);
        assert!(!resumed(&server, &client, "y.c.test").await);
    }
}

#[tokio::test]
async fn a_ticket_opens_no_version_that_its_domain_no_longer_speaks() {
    let authority = Authority::new();
    let tickets = Tickets::new().unwrap();
    let build = |oldest| ServerTls::new([domain_from(&authority, "a.test", oldest)], &tickets).unwrap();
    let client = client(&authority, ONLY_12);
    assert!(!resumed(&build(TlsVersion::Tls12), &client, "a.test").await);
    let met = meet(&build(TlsVersion::Tls13), &client, "a.test").await;
    assert_eq!(met.alert(), rustls::AlertDescription::ProtocolVersion);
}

#[tokio::test]
async fn early_data_is_not_accepted() {
    let authority = Authority::new();
    let server = server([domain(&authority, "a.test")]);
    let mut config = client_config(&authority, BOTH);
    config.enable_early_data = true;
    let config: Client = Arc::new(config);
    assert!(!resumed(&server, &config, "a.test").await);
    let (_, stream) = meet(&server, &config, "a.test").await.greet().await;
    assert!(!stream.get_ref().1.is_early_data_accepted());
    let mut connection = rustls::ClientConnection::new(config, "a.test".try_into().unwrap()).unwrap();
    assert!(connection.early_data().is_none(), "its ticket does not allow any");
}
