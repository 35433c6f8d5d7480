//! From what people wrote to what it means.
//!
//! Every function here returns nothing for what it has reported as wrong, and goes on with the rest.

mod action;
mod addresses;
mod api;
mod behind;
mod budget;
mod caller;
mod certificate;
mod collision;
mod credentials;
mod domain;
mod entrance;
mod entry;
mod example;
mod health;
mod listener;
mod names;
mod plan;
mod policy;
mod reach;
mod route;
mod secret;
mod server;
mod signed;
mod throttle;
mod token;
mod upstream;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use self::addresses::Sets;
use self::entrance::Entrances;
use self::listener::Role;
use self::names::{Known, Namespace};
use crate::collections::Boxed;
use crate::decode::Field;
use crate::file::{
    AddressesTable, ApiTable, CallerTable, DomainTable, File, LogTable, PlanTable, RouteTable, ServerTable,
    UpstreamTable,
};
use crate::model::{Caller, Model, Upstream};
use crate::reading::Reading;
use crate::text::{DomainName, Name, RouteKey};
use crate::value::Listen;

/// Resolves the files of a configuration, in the order they were read.
pub(crate) fn resolve(files: Vec<File>, reading: &mut Reading) -> Option<Model> {
    let merged = Merged::new(files, reading);
    let server = server::server(merged.server, reading);
    let log = server::log(&merged.log, reading);
    let sets = addresses::sets(merged.addresses, reading);
    let listeners = listener::listeners(merged.listen, server.as_ref(), &sets, reading);
    domain::check_used(&merged.domains, &listeners, reading);
    let domains = domain::domains(merged.domains, reading);
    let upstreams = upstream::upstreams(merged.upstreams, reading);
    let policies = policy::Documents::of(server.as_ref());
    let routes = plan::Routes::of(&merged.apis, &merged.routes);
    let plans = plan::plans(merged.plans, &routes, reading);
    let context = caller::Context { plans: &plans, sets: &sets, policies: &policies };
    let callers = caller::callers(merged.callers, &context, reading);
    let scope = Scope {
        listeners: listeners.roles(),
        private: listeners.private(),
        sets,
        upstreams,
        policies,
        callers,
        entrances: RefCell::new(Entrances::new(routes.is_complete)),
    };
    let apis = api::apis(merged.apis, merged.routes, &scope, reading);
    reach::check(&scope.entrances.into_inner(), &scope.callers, &plans, reading);
    if reading.has_errors() {
        return None;
    }
    Some(Model {
        server: server?,
        log: log?,
        listeners: listeners.into_model()?,
        apis: apis?,
        domains: domains?,
        plans: plans.items.into_values().map(|written| Some(written?.plan)).collect::<Option<_>>()?,
        callers: scope.callers.items.into_values().collect::<Option<_>>()?,
    })
}

/// What routes refer to by name.
struct Scope {
    listeners: Known<Role>,
    /// The names of listeners that are private in the eyes of policies.
    private: HashSet<Box<str>>,
    sets: Sets,
    upstreams: Known<Arc<Upstream>>,
    policies: policy::Documents,
    callers: Known<Arc<Caller>>,
    /// The routes so far that ask who somebody is.
    entrances: RefCell<Entrances>,
}

/// All files as one.
struct Merged {
    server: Field<ServerTable>,
    log: Field<LogTable>,
    listen: Field<Listen>,
    apis: Namespace<Name, ApiTable>,
    /// Top-level routes: those of the API `default`.
    routes: Namespace<RouteKey, RouteTable>,
    domains: Namespace<DomainName, DomainTable>,
    addresses: Namespace<Name, AddressesTable>,
    upstreams: Namespace<Name, UpstreamTable>,
    plans: Namespace<Name, PlanTable>,
    callers: Namespace<Name, Boxed<CallerTable>>,
}

impl Merged {
    fn new(files: Vec<File>, reading: &mut Reading) -> Self {
        let mut merged = Self {
            server: Field::Absent,
            log: Field::Absent,
            listen: Field::Absent,
            apis: Namespace::new("API"),
            routes: Namespace::new("route"),
            domains: Namespace::new("domain"),
            addresses: Namespace::new("address set"),
            upstreams: Namespace::new("upstream"),
            plans: Namespace::new("plan"),
            callers: Namespace::new("caller"),
        };
        for file in files {
            once("server", &mut merged.server, file.server, reading);
            once("log", &mut merged.log, file.log, reading);
            once("listen", &mut merged.listen, file.listen, reading);
            merged.apis.join(file.api, file.unknown.may_mean("api"), reading);
            merged.routes.join(file.route, file.unknown.may_mean("route"), reading);
            merged.domains.join(file.domain, file.unknown.may_mean("domain"), reading);
            merged.addresses.join(file.addresses, file.unknown.may_mean("addresses"), reading);
            merged.upstreams.join(file.upstream, file.unknown.may_mean("upstream"), reading);
            merged.plans.join(file.plan, file.unknown.may_mean("plan"), reading);
            merged.callers.join(file.caller, file.unknown.may_mean("caller"), reading);
        }
        merged
    }
}

/// Takes over a key that only one file may have.
fn once<T>(name: &str, kept: &mut Field<T>, field: Field<T>, reading: &mut Reading) {
    match (&*kept, &field) {
        (_, Field::Absent) => {}
        (Field::Given(first), Field::Given(second)) => {
            let first = reading.place(first.key);
            let message = format!("`{name}` is in two files, and may be in one only");
            let error = reading.error(second.key, message);
            reading.report(error.with_related(&first, "first written here"));
        }
        (Field::Absent | Field::Broken, _) | (_, Field::Broken) => *kept = field,
    }
}
