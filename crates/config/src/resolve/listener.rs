//! `listen` and `[listen.…]`.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::decode::{Field, Given, Located};
use crate::file::{LimitsTable, ListenerTable};
use crate::model::{Admin, Limits, Listener, Private, Server};
use crate::reading::Reading;
use crate::resolve::addresses::Sets;
use crate::resolve::behind::behind;
use crate::resolve::names::Known;
use crate::source::Span;
use crate::text::{EndpointName, ListenAddress, Name, NonZeroDuration, quoted};
use crate::value::Listen;

/// The listeners of a configuration.
pub(super) struct Listeners {
    known: Known<Listener>,
    tls: Tls,
}

/// What a listener is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// APIs answer on it.
    Serves,
    /// It sends its clients to HTTPS.
    Redirects,
}

impl Listeners {
    /// What APIs may refer to.
    pub(super) fn roles(&self) -> Known<Role> {
        let role = |listener: &Listener| if listener.redirect.is_some() { Role::Redirects } else { Role::Serves };
        let items = self.known.items.iter().map(|(name, item)| (name.clone(), item.as_ref().map(role)));
        Known { kind: self.known.kind, items: items.collect(), is_complete: self.known.is_complete }
    }

    /// The names of those that are private in the eyes of policies.
    pub(super) fn private(&self) -> HashSet<Box<str>> {
        let listeners = self.known.items.iter();
        let private = listeners.filter(|(_, item)| item.as_ref().is_some_and(|listener| listener.private.is_some()));
        private.map(|(name, _)| name.clone()).collect()
    }

    /// Where `tls = true` was written first.
    pub(super) fn first_with_tls(&self) -> Option<Span> {
        self.tls.written.iter().copied().min_by_key(|span| (span.file.index(), span.range().start))
    }

    /// Whether `tls = true` could not have been meant elsewhere.
    pub(super) fn tls_is_known(&self) -> bool {
        !self.tls.is_in_doubt
    }

    pub(super) fn into_model(self) -> Option<Vec<Listener>> {
        self.known.items.into_values().collect()
    }
}

pub(super) fn listeners(
    listen: Field<Listen>,
    server: Option<&Server>,
    sets: &Sets,
    reading: &mut Reading,
) -> Listeners {
    let mut taken = Taken::new(server);
    let mut known = Known { kind: "listener", items: Default::default(), is_complete: true };
    let mut tls = Tls::default();
    match listen {
        Field::Broken => {
            known.is_complete = false;
            tls.is_in_doubt = true;
        }
        Field::Absent => {
            let address = SocketAddr::from(([127, 0, 0, 1], 8080));
            let place = reading.start();
            taken.check(address, place, reading);
            known.items.insert("default".into(), Some(default_listener(address, place, reading)));
        }
        Field::Given(Given { value: Listen::Address(address), span, .. }) => {
            taken.check(address.0, span, reading);
            known.items.insert("default".into(), Some(default_listener(address.0, span, reading)));
        }
        Field::Given(Given { value: Listen::Listeners(named), .. }) => {
            for (name, entry) in named.entries {
                tls.note(entry.value.as_ref());
                let parts = entry.key.zip(entry.value);
                let listener =
                    parts.and_then(|(key, table)| listener(&key, &table, entry.span, &mut taken, sets, reading));
                known.items.insert(name, listener);
            }
        }
    }
    Listeners { known, tls }
}

/// Which listeners speak TLS.
#[derive(Default)]
struct Tls {
    /// Where it says so.
    written: Vec<Span>,
    /// Whether there are listeners of which that cannot be told.
    is_in_doubt: bool,
}

impl Tls {
    fn note(&mut self, listener: Option<&ListenerTable>) {
        let Some(table) = listener else {
            self.is_in_doubt = true;
            return;
        };
        match &table.tls {
            Field::Absent => self.is_in_doubt |= !table.unknown.is_empty(),
            Field::Broken => self.is_in_doubt = true,
            Field::Given(tls) if !tls.value => {}
            // One of the two is a mistake, and which one is not known.
            Field::Given(_) if !table.redirect.is_absent() => self.is_in_doubt = true,
            Field::Given(tls) => self.written.push(tls.key),
        }
    }
}

fn listener(
    name: &Name,
    table: &ListenerTable,
    span: Span,
    taken: &mut Taken,
    sets: &Sets,
    reading: &mut Reading,
) -> Option<Listener> {
    let limits = table.limits.value().map_or(Some(DEFAULT_LIMITS), |table| limits(table, reading));
    let behind = behind(table, sets, reading);
    let redirect = redirect(table, reading);
    let private = private(table, reading);
    let list = &table.addresses.given()?.value;
    for address in &list.items {
        taken.check(address.value.0, address.span, reading);
    }
    Some(Listener {
        name: name.0.clone(),
        addresses: list.values().map(|ListenAddress(address)| *address).collect(),
        limits: limits?,
        tls: table.tls.value().copied().unwrap_or(false),
        behind: behind?,
        redirect: redirect?,
        private: private?,
        place: reading.place(span),
    })
}

/// With which status a listener sends its clients to HTTPS, if it does. Nothing at all if that cannot be told.
fn redirect(table: &ListenerTable, reading: &mut Reading) -> Option<Option<StatusCode>> {
    let given = match &table.redirect {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    if let Some(tls) = table.tls.given().filter(|tls| tls.value) {
        let place = reading.place(tls.key);
        let error = reading.error(given.key, "clients of this listener speak HTTPS already");
        let error = error.with_related(&place, "because of this");
        reading.report(error.with_help("redirect on a listener of its own, with the addresses that have port 80"));
    }
    Some(Some(given.value.0))
}

/// What policies are told of a listener's clients. Nothing at all if that cannot be told.
fn private(table: &ListenerTable, reading: &mut Reading) -> Option<Option<Private>> {
    let (vpce, vpc) = (&table.vpce, &table.vpc);
    if matches!(vpce, Field::Broken) || matches!(vpc, Field::Broken) {
        return None;
    }
    let Some(label) = vpce.given().or(vpc.given()) else { return Some(None) };
    if let Some(redirect) = table.redirect.given() {
        let place = reading.place(redirect.key);
        let error = reading.error(label.key, "this is for policies, and a listener that only redirects asks none");
        reading.report(error.with_related(&place, "because of this").with_help("remove one of them"));
    }
    let name = |field: &Field<EndpointName>| field.value().map(|name| name.0.clone());
    Some(Some(Private { endpoint: name(vpce), network: name(vpc) }))
}

fn default_listener(address: SocketAddr, span: Span, reading: &Reading) -> Listener {
    Listener {
        name: Arc::from("default"),
        addresses: vec![address],
        limits: DEFAULT_LIMITS,
        tls: false,
        behind: None,
        redirect: None,
        private: None,
        place: reading.place(span),
    }
}

/// Addresses that something listens on already.
struct Taken {
    admin: Option<SocketAddr>,
    listeners: HashMap<SocketAddr, Span>,
}

impl Taken {
    fn new(server: Option<&Server>) -> Self {
        let admin = server.and_then(|server| match server.admin {
            Admin::Tcp(address) => Some(address),
            Admin::Off | Admin::Unix(_) => None,
        });
        Self { admin, listeners: HashMap::new() }
    }

    /// Reports an address that is taken. Port 0 never is: each use of it gets a port of its own.
    fn check(&mut self, address: SocketAddr, span: Span, reading: &mut Reading) {
        if address.port() == 0 {
            return;
        }
        let name = quoted(&address.to_string());
        if self.admin == Some(address) {
            let error = reading.error(span, format!("{name} is the address of the admin listener"));
            reading.report(error.with_help("give one of them another port; `[server] admin` has the other"));
        }
        match self.listeners.get(&address) {
            Some(first) => {
                let first = reading.place(*first);
                let error = reading.error(span, format!("{name} is listened on twice"));
                reading.report(error.with_related(&first, "first written here"));
            }
            None => {
                self.listeners.insert(address, span);
            }
        }
    }
}

const DEFAULT_LIMITS: Limits = Limits {
    connections: 20_000,
    header_bytes: 64 << 10,
    headers: 100,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
    body_timeout: Duration::from_secs(30),
    streams: 100,
};

fn limits(table: &LimitsTable, reading: &mut Reading) -> Option<Limits> {
    let duration =
        |field: &Field<NonZeroDuration>, default| field.value().map_or(default, |NonZeroDuration(duration)| *duration);
    let header_bytes = match table.header_bytes.given() {
        None => DEFAULT_LIMITS.header_bytes,
        Some(given) => header_bytes(&Located { value: given.value.0, span: given.span }, reading)?,
    };
    Some(Limits {
        connections: table.connections.value().map_or(DEFAULT_LIMITS.connections, |n| n.0),
        header_bytes,
        headers: table.headers.value().map_or(DEFAULT_LIMITS.headers, |n| n.0),
        header_timeout: duration(&table.header_timeout, DEFAULT_LIMITS.header_timeout),
        idle_timeout: duration(&table.idle_timeout, DEFAULT_LIMITS.idle_timeout),
        body_timeout: duration(&table.body_timeout, DEFAULT_LIMITS.body_timeout),
        streams: table.streams.value().map_or(DEFAULT_LIMITS.streams, |n| n.0),
    })
}

fn header_bytes(written: &Located<u64>, reading: &mut Reading) -> Option<usize> {
    let in_range = (8 << 10..=1 << 20).contains(&written.value);
    if !in_range {
        let message = if written.value < 8 << 10 {
            "this is too little: there are honest requests with longer headers"
        } else {
            "this is too much: headers this long are only ever sent to use memory up"
        };
        let error = reading.error(written.span, message);
        reading.report(error.with_help("write `8KiB` to `1MiB`"));
    }
    usize::try_from(written.value).ok().filter(|_| in_range)
}
