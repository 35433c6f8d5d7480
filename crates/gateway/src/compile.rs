//! From a resolved model to a snapshot, and what lives on from one snapshot to the next.

mod callers;
mod entry;
mod upstreams;

pub(crate) use self::upstreams::host_text;

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, RandomState};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use gatepost_config::Secret;
use gatepost_config::model::{self, Model, ThrottleBy};
use gatepost_meter::{Bucket, ClientTable, Law, MemoryLedger, Nanos, Slots};
use gatepost_net::tls::{ClientTls, ServerTls};
use gatepost_prefix::PrefixSet;
use gatepost_ranges::{Feeds, LiveSet};
use http::HeaderMap;

use self::upstreams::{ClientName, TargetName, upstream_name};
use crate::caller::{Access, Account, Books, CallerMeters, CallerRoute, Callers};
use crate::gateway::ApplyError;
use crate::log_line::route_fields;
use crate::router::Router;
use crate::signature::Memory;
use crate::snapshot::{
    Action, Addresses, Api, ApiNames, Forward, Hosts, ListenKey, Listener, Meter, NamedMeter, Parallel, Redirect,
    Respond, Route, RouteNumber, Snapshot,
};
use crate::stats::Stats;
use crate::token::Keyring;
use crate::upstream::{Check, Common, Target, Upstream};

/// What outlives a snapshot, under names that a reload does not change.
#[derive(Debug)]
pub(crate) struct Lasting {
    /// Where quotas, budgets and usage are written.
    books: Arc<Books>,
    snapshots: u64,
    buckets: HashMap<MeterName, Arc<Bucket>>,
    client_tables: HashMap<MeterName, Arc<ClientTable>>,
    /// The keys of issuers.
    keyrings: HashMap<Arc<str>, Arc<Keyring>>,
    slots: HashMap<(Arc<str>, Arc<str>), Arc<Slots>>,
    /// What callers have of their limits.
    callers: HashMap<Arc<str>, Arc<CallerMeters>>,
    /// Those among them whom the model no longer names.
    gone_callers: HashSet<Arc<str>>,
    /// The routes that ask who somebody is.
    caller_routes: HashMap<(Arc<str>, Arc<str>), Arc<CallerRoute>>,
    /// The budgets of routes, as long as a snapshot or an answer under way holds them. Whoever is the last gives back what
    /// was granted and not used.
    budgets: HashMap<(Arc<str>, Arc<str>), Weak<Account>>,
    /// Access keys, with what was derived from their secrets.
    access: HashMap<Box<str>, Arc<Access>>,
    /// What is remembered of bodies that callers signed.
    signers: HashMap<Arc<str>, Arc<Memory>>,
    /// What routes remember of their signed requests.
    signed: HashMap<(Arc<str>, Arc<str>), Arc<Memory>>,
    targets: HashMap<TargetName, Arc<Target>>,
    clients: HashMap<ClientName, ClientTls>,
    next_target: u64,
    upstreams: HashMap<Arc<str>, Arc<Common>>,
    /// The targets that the model has probed.
    checks: Vec<Check>,
    /// The address sets that are fetched.
    pub(crate) feeds: Feeds,
    /// How many slots a new table of clients gets; absent: enough for strangers in their thousands.
    client_slots: Option<usize>,
}

/// What a throttle is known by: whose it is, and which of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct MeterName {
    api: Arc<str>,
    /// Absent: the API's own.
    route: Option<Arc<str>>,
    /// A throttle that changes from one to the other begins anew.
    by: ThrottleBy,
    index: usize,
}

/// An upstream as it was written, and what it was compiled to.
type CompiledUpstream = (Arc<model::Upstream>, Arc<Upstream>);

/// One compilation.
struct Compiler<'a> {
    server: &'a model::Server,
    lasting: &'a mut Lasting,
    stats: &'a Stats,
    now: Nanos,
    /// Each address set is compiled once, however many routes use it.
    sets: HashMap<*const model::AddressSet, Arc<PrefixSet>>,
    /// Those that have a name and are written down.
    fixed_sets: HashMap<Arc<str>, Arc<PrefixSet>>,
    /// So are literal networks, lists of sets, and upstreams that are alike: what many routes share stays in the caches.
    literals: HashMap<Vec<ipnet::IpNet>, Arc<PrefixSet>>,
    lists: HashMap<(Vec<*const PrefixSet>, Vec<*const LiveSet>), Addresses>,
    upstreams: HashMap<Arc<str>, Vec<CompiledUpstream>>,
    callers: Arc<Callers>,
    /// How many slots a table of clients gets.
    client_slots: usize,
    used_meters: HashSet<MeterName>,
    meters: Vec<NamedMeter>,
    used_targets: HashSet<TargetName>,
    used_caller_routes: HashSet<(Arc<str>, Arc<str>)>,
    /// Callers whose limits are others than before, by number.
    changed_callers: Vec<u32>,
    /// Whether limits are others than before that routes set to callers.
    has_changed_routes: bool,
    used_issuers: HashSet<Arc<str>>,
}

/// What a throttle counts with.
#[derive(Debug, Clone, Default)]
struct Throttles {
    buckets: Vec<Arc<Bucket>>,
    client_tables: Vec<Arc<ClientTable>>,
}

impl Lasting {
    /// Nothing yet.
    pub(crate) fn new(books: Arc<Books>) -> Self {
        Self {
            books,
            snapshots: 0,
            buckets: HashMap::new(),
            client_tables: HashMap::new(),
            slots: HashMap::new(),
            callers: HashMap::new(),
            gone_callers: HashSet::new(),
            caller_routes: HashMap::new(),
            budgets: HashMap::new(),
            access: HashMap::new(),
            signers: HashMap::new(),
            keyrings: HashMap::new(),
            signed: HashMap::new(),
            targets: HashMap::new(),
            clients: HashMap::new(),
            next_target: 0,
            upstreams: HashMap::new(),
            checks: Vec::new(),
            feeds: Feeds::default(),
            client_slots: None,
        }
    }

    /// For a gateway that only one client ever calls, and so one that costs little to make. It has the last good copies
    /// of the address sets that `model` has fetched, and fetches none. Its quotas are counted in memory alone.
    pub(crate) fn for_one_client(model: &Model) -> Self {
        let books = Books::new(MemoryLedger::new());
        Self { client_slots: Some(1), feeds: Feeds::of(model), ..Self::new(books) }
    }
}

impl Snapshot {
    /// Compiles `model`. Meters that `lasting` knows keep their debt; what the model no longer names is forgotten once
    /// it owes nothing. Without `tls` the snapshot can be asked about, and serves no listener that speaks TLS.
    pub(crate) fn compile(
        model: &Model,
        tls: Option<&ServerTls>,
        lasting: &mut Lasting,
        stats: &Stats,
        now: Nanos,
    ) -> Self {
        lasting.snapshots += 1;
        let number = lasting.snapshots;
        let mut compiler = Compiler {
            server: &model.server,
            client_slots: lasting.client_slots.unwrap_or_else(|| client_slots(model)),
            lasting,
            stats,
            now,
            sets: HashMap::new(),
            fixed_sets: HashMap::new(),
            literals: HashMap::new(),
            lists: HashMap::new(),
            upstreams: HashMap::new(),
            callers: Arc::default(),
            used_meters: HashSet::new(),
            meters: Vec::new(),
            used_targets: HashSet::new(),
            used_caller_routes: HashSet::new(),
            changed_callers: Vec::new(),
            has_changed_routes: false,
            used_issuers: HashSet::new(),
        };
        compiler.lasting.checks.clear();
        compiler.callers = Arc::new(compiler.callers(&model.callers));
        let apis: Vec<(&model::Api, Arc<Api>)> =
            model.apis.iter().zip(0..).map(|(api, number)| (api, Arc::new(compiler.api(number, api)))).collect();
        let listeners: Vec<_> = model
            .listeners
            .iter()
            .flat_map(|listener| {
                let compiled = Arc::new(Listener {
                    name: Arc::clone(&listener.name),
                    limits: listener.limits,
                    stats: stats.listener(&listener.name),
                    behind: listener.behind.as_ref().map(|behind| compiler.behind(behind)),
                    is_secure: listener.tls,
                    tls: tls.filter(|_| listener.tls).cloned(),
                    redirect: listener.redirect,
                    private: listener.private.clone(),
                    hosts: Hosts::of_listener(&listener.name, &apis),
                });
                ListenKey::of(listener).map(move |key| (key, Arc::clone(&compiled)))
            })
            .collect();
        compiler.settle_callers();
        compiler.forget();
        Self {
            number,
            since: SystemTime::now(),
            listeners: listeners.into_iter().collect(),
            meters: compiler.meters.into(),
            callers: compiler.callers,
            fixed_sets: compiler.fixed_sets,
            feeds: compiler.lasting.feeds.clone(),
            model: Arc::new(without_secrets(model)),
        }
    }
}

impl Lasting {
    /// Makes what may fail, before anything that counts is touched: the TLS to targets.
    pub(crate) fn prepare(&mut self, model: &Model) -> Result<(), ApplyError> {
        for route in model.apis.iter().flat_map(|api| &api.routes) {
            if let model::Action::Forward(model::Forward { upstream, .. }) = &route.action
                && upstream.targets.iter().any(|target| target.tls)
            {
                let failed = |source| ApplyError::Authorities { upstream: upstream_name(upstream), source };
                self.client(upstream).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The keys of the issuers that the model compiled last names.
    pub(crate) fn keyrings(&self) -> impl Iterator<Item = &Arc<Keyring>> {
        self.keyrings.values()
    }

    /// The targets that the model compiled last has probed.
    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The targets of the model compiled last.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.values()
    }
}

impl ListenKey {
    /// The keys of a listener's addresses.
    pub(crate) fn of(listener: &model::Listener) -> impl Iterator<Item = Self> {
        listener.addresses.iter().enumerate().map(|(place, &address)| Self {
            address,
            owner: (address.port() == 0).then(|| (Arc::clone(&listener.name), place)),
        })
    }
}

impl Hosts {
    fn of_listener(listener: &Arc<str>, apis: &[(&model::Api, Arc<Api>)]) -> Self {
        let mut hosts = Self::default();
        let mut below: HashMap<Box<str>, Vec<Arc<Api>>> = HashMap::new();
        for (api, compiled) in apis.iter().filter(|(api, _)| api.listeners.contains(listener)) {
            if api.hosts.is_empty() {
                hosts.any.push(Arc::clone(compiled));
            }
            for host in &api.hosts {
                let same = match host {
                    model::HostPattern::Exact(name) => hosts.exact.entry(name.clone()).or_default(),
                    model::HostPattern::Below(name) => below.entry(format!(".{name}").into()).or_default(),
                };
                same.push(Arc::clone(compiled));
            }
        }
        hosts.below = below.into_iter().collect();
        hosts.below.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        for same in hosts.exact.values_mut().chain(hosts.below.iter_mut().map(|(_, apis)| apis)).chain([&mut hosts.any])
        {
            same.sort_by_key(|api| std::cmp::Reverse(api.base.len()));
        }
        hosts
    }
}

impl Compiler<'_> {
    fn api(&mut self, number: u32, api: &model::Api) -> Api {
        let names = Arc::new(ApiNames {
            id: Arc::clone(&api.id),
            stage: Arc::clone(&api.stage),
            base: Arc::clone(&api.base),
            region: Arc::clone(&self.server.region),
            account: Arc::clone(&self.server.account),
            compat: api.compat,
            durations: self.stats.api(&api.name),
        });
        let shared = self.throttles(&api.throttles, &api.name, None);
        let routes = api.routes.iter().zip(0..).map(|(route, place)| {
            let number = RouteNumber { api: number, route: place };
            Arc::new(self.route(number, route, api, &names, &shared))
        });
        let routes: Vec<Arc<Route>> = routes.collect();
        let router = Router::new(api.routes.iter().map(|route| &route.matcher).zip(routes));
        Api { number, base: Arc::clone(&api.base), names, router }
    }

    fn route(
        &mut self,
        number: RouteNumber,
        route: &model::Route,
        api: &model::Api,
        names: &Arc<ApiNames>,
        shared: &Throttles,
    ) -> Route {
        let model::Api { name: api, stage, throttles: of_api, .. } = api;
        let mut throttles = self.throttles(&route.throttles, api, Some(&route.key));
        throttles.buckets.extend_from_slice(&shared.buckets);
        throttles.client_tables.extend_from_slice(&shared.client_tables);
        Route {
            number,
            api: Arc::clone(names),
            key: Arc::clone(&route.key),
            matcher: route.matcher.clone(),
            entry: self.entry(&route.entry, api, &route.key, names.compat),
            client_tables: throttles.client_tables.into(),
            buckets: throttles.buckets.into(),
            parallel: route.parallel.map(|cap| self.parallel(cap.get(), api, &route.key)),
            budget: route.budget.as_ref().map(|budget| self.budget(budget, api, &route.key)),
            callers: self.caller_route(route, api, of_api),
            max_body: route.max_body,
            reads_headers: route.entry.rules().is_some_and(|rules| {
                !rules.policies.is_empty() || (rules.callers.is_some() && self.callers.have_policies)
            }),
            action: self.action(&route.action),
            stats: self.stats.route(api, &route.key),
            log_fields: route_fields(&names.id, stage, &route.key),
        }
    }

    fn throttles(&mut self, throttles: &[model::Throttle], api: &Arc<str>, route: Option<&Arc<str>>) -> Throttles {
        let mut compiled = Throttles::default();
        for (index, throttle) in throttles.iter().enumerate() {
            let name = MeterName { api: Arc::clone(api), route: route.cloned(), by: throttle.by, index };
            let law = Law::new(throttle.rate.count, throttle.rate.per, throttle.burst);
            match throttle.by {
                ThrottleBy::Everyone => {
                    let bucket = self.bucket(&name, law);
                    self.meter(api, route, Meter::Bucket(*throttle, Arc::clone(&bucket)));
                    compiled.buckets.push(bucket);
                }
                // Its buckets are the callers' own.
                ThrottleBy::Caller => {}
                ThrottleBy::Client => {
                    let table = self.client_table(&name, law);
                    self.meter(api, route, Meter::Clients(*throttle, Arc::clone(&table)));
                    compiled.client_tables.push(table);
                }
            }
            self.used_meters.insert(name);
        }
        compiled
    }

    fn meter(&mut self, api: &Arc<str>, route: Option<&Arc<str>>, meter: Meter) {
        self.meters.push(NamedMeter { api: Arc::clone(api), route: route.cloned(), meter });
    }

    fn parallel(&mut self, cap: usize, api: &Arc<str>, route: &Arc<str>) -> Parallel {
        let parallel = Parallel { slots: self.slots(api, route), cap };
        self.meter(api, Some(route), Meter::Parallel(parallel.clone()));
        parallel
    }

    fn bucket(&mut self, name: &MeterName, law: Law) -> Arc<Bucket> {
        let bucket = match self.lasting.buckets.get(name) {
            Some(bucket) => bucket.under(law, self.now),
            None => Bucket::new(law),
        };
        self.lasting.buckets.insert(name.clone(), Arc::clone(&bucket));
        bucket
    }

    fn client_table(&mut self, name: &MeterName, law: Law) -> Arc<ClientTable> {
        if let Some(table) = self.lasting.client_tables.get(name) {
            table.change_law(law, self.now);
            return Arc::clone(table);
        }
        let table = Arc::new(ClientTable::new(law, self.client_slots, RandomState::new()));
        self.lasting.client_tables.insert(name.clone(), Arc::clone(&table));
        table
    }

    fn slots(&mut self, api: &Arc<str>, route: &Arc<str>) -> Arc<Slots> {
        Arc::clone(self.lasting.slots.entry((Arc::clone(api), Arc::clone(route))).or_default())
    }

    fn action(&mut self, action: &model::Action) -> Action {
        match action {
            model::Action::Forward(forward) => Action::Forward(Forward {
                upstream: self.upstream(&forward.upstream),
                timeout: forward.timeout,
                path: forward.path.clone(),
                host: forward.host.clone(),
                set: forward.set_headers.clone(),
                remove: forward.remove_headers.clone(),
                retries: forward.retries,
            }),
            model::Action::Respond(respond) => Action::Respond(Respond {
                status: respond.status,
                headers: respond.headers.iter().cloned().collect::<HeaderMap>(),
                body: Bytes::copy_from_slice(&respond.body),
            }),
            model::Action::Redirect(redirect) => {
                Action::Redirect(Redirect { to: redirect.to.clone(), status: redirect.status })
            }
        }
    }

    /// Lets go of what the model no longer names. A bucket that still owes tokens stays, in case its route comes back.
    fn forget(&mut self) {
        let Self { lasting, stats, used_meters, used_targets, used_issuers, used_caller_routes, now, .. } = self;
        lasting.tidy_callers(*now);
        // What callers have at a route is found by where it is in memory.
        lasting.caller_routes.retain(|name, route| used_caller_routes.contains(name) || Arc::strong_count(route) > 1);
        lasting.budgets.retain(|_, account| account.strong_count() > 0);
        lasting.buckets.retain(|name, bucket| used_meters.contains(name) || !bucket.is_full(*now));
        lasting.client_tables.retain(|name, table| used_meters.contains(name) || !table.is_full(*now));
        lasting.slots.retain(|_, slots| Arc::strong_count(slots) > 1);
        lasting.signed.retain(|_, memory| Arc::strong_count(memory) > 1 || memory.deliveries.holds_any(*now));
        lasting.signers.retain(|_, memory| Arc::strong_count(memory) > 1 || memory.deliveries.holds_any(*now));
        lasting.access.retain(|_, access| Arc::strong_count(access) > 1);
        lasting.keyrings.retain(|issuer, _| used_issuers.contains(issuer));
        lasting.targets.retain(|name, _| used_targets.contains(name));
        let used_clients: HashSet<_> = used_targets.iter().map(|name| (name.ca.clone(), name.http)).collect();
        lasting.clients.retain(|name, _| used_clients.contains(name));
        lasting.upstreams.retain(|_, common| Arc::strong_count(common) > 1);
        stats.follow(lasting.targets.values());
        stats.follow_sets(lasting.feeds.iter());
        stats.forget();
    }
}

/// What is kept of a model as long as anybody may ask about it: all but what must not lie about in memory.
fn without_secrets(model: &Model) -> Model {
    let mut model = Model {
        server: model::Server { admin_token: None, ..model.server.clone() },
        domains: Vec::new(),
        ..model.clone()
    };
    for route in model.apis.iter_mut().flat_map(|api| &mut api.routes) {
        if let model::Entry::Rules(model::Rules { signed: Some(signed), .. }) = &mut route.entry {
            *signed = Arc::new(signed_without_secrets(signed));
        }
    }
    let has_secrets = |caller: &Arc<model::Caller>| !caller.access_keys.is_empty() || caller.signed.is_some();
    if model.callers.iter().any(has_secrets) {
        let told =
            |caller| if has_secrets(caller) { Arc::new(caller_without_secrets(caller)) } else { Arc::clone(caller) };
        model.callers = model.callers.iter().map(told).collect();
    }
    model
}

fn caller_without_secrets(caller: &model::Caller) -> model::Caller {
    let mut told = caller.clone();
    for access in &mut told.access_keys {
        access.secret = access.secret.forgotten();
        access.token = access.token.as_ref().map(Secret::forgotten);
    }
    told.signed = caller.signed.as_deref().map(|signed| Arc::new(signed_without_secrets(signed)));
    told
}

fn signed_without_secrets(signed: &model::Signed) -> model::Signed {
    model::Signed { secrets: signed.secrets.iter().map(Secret::forgotten).collect(), ..signed.clone() }
}

/// As many as a table of its own would have, until all tables together would take more than some 28 MB.
fn client_slots(model: &Model) -> usize {
    const ALL_TABLES: usize = 1 << 20;
    const FEWEST: usize = 64;
    let routes = model.apis.iter().flat_map(|api| &api.routes).flat_map(|route| &route.throttles);
    let throttles = model.apis.iter().flat_map(|api| &api.throttles).chain(routes);
    let tables = throttles.filter(|throttle| throttle.by == ThrottleBy::Client).count();
    (ALL_TABLES / tables.max(1)).clamp(FEWEST, ClientTable::DEFAULT_SLOTS)
}
