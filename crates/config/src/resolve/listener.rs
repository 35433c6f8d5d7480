//! `listen` and `[listen.…]`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::collections::Named;
use crate::decode::{Field, Given, Located};
use crate::file::{LimitsTable, ListenerTable};
use crate::model::{Admin, Limits, Listener, Server};
use crate::reading::Reading;
use crate::resolve::names::Known;
use crate::source::Span;
use crate::text::{ListenAddress, Name, NonZeroDuration, quoted};
use crate::value::Listen;

/// The listeners of a configuration.
pub(super) struct Listeners(Known<Listener>);

impl Listeners {
    /// What APIs may refer to.
    pub(super) fn names(&self) -> Known<()> {
        let names = self.0.items.iter();
        Known {
            kind: self.0.kind,
            items: names.map(|(name, item)| (name.clone(), item.as_ref().map(|_| ()))).collect(),
            is_complete: self.0.is_complete,
        }
    }

    pub(super) fn into_model(self) -> Option<Vec<Listener>> {
        self.0.items.into_values().collect()
    }
}

pub(super) fn listeners(listen: Field<Listen>, server: Option<&Server>, reading: &mut Reading) -> Listeners {
    let mut taken = Taken::new(server);
    let mut known = Known { kind: "listener", items: Default::default(), is_complete: true };
    match listen {
        Field::Broken => known.is_complete = false,
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
            return named_listeners(named, taken, reading);
        }
    }
    Listeners(known)
}

fn named_listeners(named: Named<Name, ListenerTable>, mut taken: Taken, reading: &mut Reading) -> Listeners {
    let resolved = named.entries.into_iter().map(|(name, entry)| {
        let parts = entry.key.zip(entry.value);
        let listener = parts.and_then(|(key, table)| listener(&key, &table, entry.span, &mut taken, reading));
        (name, listener)
    });
    let items = resolved.collect();
    Listeners(Known { kind: "listener", items, is_complete: true })
}

fn listener(
    name: &Name,
    table: &ListenerTable,
    span: Span,
    taken: &mut Taken,
    reading: &mut Reading,
) -> Option<Listener> {
    let limits = table.limits.value().map_or(Some(DEFAULT_LIMITS), |table| limits(table, reading));
    let list = &table.addresses.given()?.value;
    for address in &list.items {
        taken.check(address.value.0, address.span, reading);
    }
    Some(Listener {
        name: name.0.clone(),
        addresses: list.values().map(|ListenAddress(address)| *address).collect(),
        limits: limits?,
        tls: false,
        behind: None,
        redirect: None,
        place: reading.place(span),
    })
}

fn default_listener(address: SocketAddr, span: Span, reading: &Reading) -> Listener {
    Listener {
        name: Arc::from("default"),
        addresses: vec![address],
        limits: DEFAULT_LIMITS,
        tls: false,
        behind: None,
        redirect: None,
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
        streams: DEFAULT_LIMITS.streams,
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
