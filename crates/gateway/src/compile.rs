//! From a resolved model to a snapshot, and what lives on from one snapshot to the next.

mod callers;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use gatepost_config::Secret;
use gatepost_config::model::{self, Model, ProofKind, ThrottleBy};
use gatepost_meter::{Bucket, ClientTable, Law, MemoryLedger, Nanos, Slots};
use gatepost_net::tls::{Alpn, ClientTls, ServerTls, TlsError};
use gatepost_net::{BelievedHeader, Destination, Fence, Host};
use gatepost_prefix::PrefixSet;
use gatepost_ranges::{Feeds, LiveSet};
use http::{HeaderMap, HeaderValue};

use crate::caller::{Access, Account, Books, Caller, CallerMeters, CallerRoute, Callers, ProofKinds};
use crate::gateway::ApplyError;
use crate::log_line::route_fields;
use crate::router::Router;
use crate::signature::{Memory, Signed};
use crate::snapshot::{
    Action, AddressRule, Addresses, Api, ApiNames, Behind, CallerRule, Entry, Forward, Hosts, ListenKey, Listener,
    Meter, NamedMeter, Parallel, Redirect, Respond, Route, RouteNumber, Rules, Snapshot, Who,
};
use crate::stats::Stats;
use crate::token::{Keyring, Tokens};
use crate::upstream::{Check, Common, Condition, Security, Target, Upstream, target_hash};

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
    /// The budgets of routes.
    budgets: HashMap<(Arc<str>, Arc<str>), Arc<Account>>,
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

/// What a target is known by: all that makes connections to it what they are, and whose requests judge it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TargetName {
    upstream: Arc<str>,
    target: model::Target,
    networks: Option<Vec<ipnet::IpNet>>,
    http: model::HttpVersion,
    ca: Option<Arc<[u8]>>,
}

/// What the TLS to targets is known by: the authorities, and what is spoken inside.
type ClientName = (Option<Arc<[u8]>>, model::HttpVersion);

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
    used_budgets: HashSet<(Arc<str>, Arc<str>)>,
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
            used_budgets: HashSet::new(),
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

    /// The TLS to the targets of an upstream; the same as before, with its sessions, if nothing has changed.
    fn client(&mut self, upstream: &model::Upstream) -> Result<ClientTls, TlsError> {
        let name = (upstream.ca.clone(), upstream.http);
        if let Some(known) = self.clients.get(&name) {
            return Ok(known.clone());
        }
        let alpn = match upstream.http {
            model::HttpVersion::One => Alpn::Http1,
            model::HttpVersion::Two => Alpn::Http2,
        };
        let made = ClientTls::new(upstream.ca.as_deref(), alpn)?;
        self.clients.insert(name, made.clone());
        Ok(made)
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

    fn entry(
        &mut self,
        entry: &model::Entry,
        api: &Arc<str>,
        route: &Arc<str>,
        compat: Option<model::Compat>,
    ) -> Entry {
        match entry {
            model::Entry::Open => Entry::Open,
            // Rules that ask for nothing let nobody in. No configuration has them.
            model::Entry::Rules(model::Rules { from: None, policies, signed: None, callers: None, token: None })
                if policies.is_empty() =>
            {
                let nobody = model::AddressRule { from: Vec::new(), except: Vec::new() };
                let from = Some(self.from(&nobody));
                Entry::Rules(Rules { from, policies: Box::default(), signed: None, callers: None, token: None })
            }
            model::Entry::Rules(rules) => Entry::Rules(Rules {
                from: rules.from.as_ref().map(|rule| self.from(rule)),
                policies: rules.policies.iter().map(Arc::clone).collect(),
                signed: rules.signed.as_ref().map(|signed| Box::new(self.signed(signed, api, route))),
                callers: rules.callers.as_ref().map(|rule| self.caller_rule(rule, rules, compat)),
                token: rules.token.as_ref().map(|rule| Tokens::new(Arc::clone(rule), self.keyring(&rule.issuer))),
            }),
        }
    }

    /// The keys of an issuer: those that were there before, if it was named before.
    fn keyring(&mut self, issuer: &Arc<str>) -> Arc<Keyring> {
        self.used_issuers.insert(Arc::clone(issuer));
        let known = self.lasting.keyrings.entry(Arc::clone(issuer));
        Arc::clone(known.or_insert_with(|| Keyring::new(Arc::clone(issuer))))
    }

    /// What the route remembers stays with it, whatever becomes of its secrets.
    fn signed(&mut self, signed: &model::Signed, api: &Arc<str>, route: &Arc<str>) -> Signed {
        let memory = self.lasting.signed.entry((Arc::clone(api), Arc::clone(route))).or_default();
        Signed::new(signed, Arc::clone(memory))
    }

    fn caller_rule(&self, rule: &model::CallerRule, rules: &model::Rules, compat: Option<model::Compat>) -> CallerRule {
        let known = &self.callers;
        let (who, mut kinds, mut signers) = match &rule.who {
            model::Who::Any => (Who::Any, known.kinds, Arc::clone(&known.signers)),
            model::Who::Named(names) => {
                let mut named: Vec<&Arc<Caller>> = names.iter().filter_map(|name| known.named(name)).collect();
                named.sort_unstable_by_key(|caller| caller.number);
                let kinds = named.iter().fold(ProofKinds::NONE, |kinds, caller| kinds.and(caller.kinds()));
                let signers = named.iter().filter(|caller| caller.signed.is_some()).map(|caller| caller.number);
                (Who::Named(named.iter().map(|caller| caller.number).collect()), kinds, signers.collect())
            }
        };
        let asked: ProofKinds = rule.proof.iter().copied().collect();
        if rules.signed.is_some() {
            // The route says how bodies are signed.
            kinds = kinds.without(ProofKinds::of(ProofKind::Signed));
            signers = Arc::default();
        }
        kinds = kinds.and(asked);
        if compat.is_some() && !asked.is_empty() {
            // As API Gateway does not look at the key of a method that needs none.
            kinds = asked;
        }
        CallerRule { who, proof: rule.proof.clone(), kinds, signers, known: Arc::clone(known) }
    }

    /// What they have of their limits stays with them, under their names; what was derived from their secrets with these.
    fn callers(&mut self, written: &[Arc<model::Caller>]) -> Callers {
        let compiled = written.iter().zip(0..).map(|(written, number)| {
            let Lasting { callers, books, .. } = &mut *self.lasting;
            let known = callers.entry(Arc::clone(&written.name));
            let meters = Arc::clone(known.or_insert_with(|| Arc::new(CallerMeters::new(written, books))));
            // Of one that was gone there may be less than its limits say.
            if meters.follow(written) | self.lasting.gone_callers.contains(&written.name) {
                self.changed_callers.push(number);
            }
            let from = written.from.as_ref().map(|from| self.addresses(from));
            let access = written.access_keys.iter().map(|access| self.access(access)).collect();
            let signed = written.signed.as_ref().map(|signed| {
                let memory = self.lasting.signers.entry(Arc::clone(&written.name)).or_default();
                Box::new(Signed::new(signed, Arc::clone(memory)))
            });
            Arc::new(Caller { number, written: Arc::clone(written), from, access, signed, meters })
        });
        let compiled: Vec<_> = compiled.collect();
        let issuers: BTreeSet<_> =
            written.iter().flat_map(|caller| &caller.token).map(|token| &token.rule.issuer).collect();
        let keyrings = issuers.into_iter().map(|issuer| self.keyring(issuer)).collect();
        let callers = Callers::new(compiled, keyrings);
        let Lasting { callers: known, gone_callers, .. } = &mut *self.lasting;
        gone_callers.clear();
        if known.len() > written.len() {
            gone_callers.extend(known.keys().filter(|name| callers.named(name).is_none()).map(Arc::clone));
        }
        callers
    }

    fn access(&mut self, written: &model::AccessKey) -> Arc<Access> {
        if let Some(known) = self.lasting.access.get(&written.id).filter(|known| known.is_of(written)) {
            return Arc::clone(known);
        }
        let access = Arc::new(Access::new(written));
        self.lasting.access.insert(written.id.clone(), Arc::clone(&access));
        access
    }

    fn from(&mut self, rule: &model::AddressRule) -> AddressRule {
        AddressRule { from: self.addresses(&rule.from), except: self.addresses(&rule.except) }
    }

    fn behind(&mut self, behind: &model::Behind) -> Behind {
        Behind {
            senders: self.addresses(&behind.senders),
            header: match behind.forwarded {
                model::ForwardedHeader::Off => BelievedHeader::Off,
                model::ForwardedHeader::XForwardedFor => BelievedHeader::XForwardedFor,
                model::ForwardedHeader::Forwarded => BelievedHeader::Forwarded,
            },
            proxy_protocol: behind.proxy_protocol,
        }
    }

    /// The literal networks become one set; named sets are shared.
    fn addresses(&mut self, entries: &[model::AddressEntry]) -> Addresses {
        let mut sets = Vec::new();
        let mut live = Vec::new();
        let mut literals = Vec::new();
        for entry in entries {
            match &entry.addresses {
                model::Addresses::Network(network) => literals.push(*network),
                model::Addresses::Set(set) => match self.lasting.feeds.get(set) {
                    Some(fetched) => live.push(fetched),
                    None => sets.push(self.set(set)),
                },
            }
        }
        if !literals.is_empty() {
            let compiled = self.literals.entry(literals);
            sets.push(Arc::clone(compiled.or_insert_with_key(|networks| Arc::new(networks.iter().copied().collect()))));
        }
        // The sets live as long as this compilation, so no two are ever at one place.
        let name = (sets.iter().map(Arc::as_ptr).collect(), live.iter().map(Arc::as_ptr).collect());
        let alike = self.lists.entry(name);
        alike.or_insert_with(|| Addresses { fixed: sets.into(), live: live.into() }).clone()
    }

    fn set(&mut self, set: &Arc<model::AddressSet>) -> Arc<PrefixSet> {
        let compiled = self.sets.entry(Arc::as_ptr(set));
        let compiled = compiled.or_insert_with(|| Arc::new(set.source.fixed().iter().copied().collect()));
        self.fixed_sets.insert(Arc::clone(&set.name), Arc::clone(compiled));
        Arc::clone(compiled)
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

    fn upstream(&mut self, upstream: &Arc<model::Upstream>) -> Arc<Upstream> {
        let name = upstream_name(upstream);
        let same_name = self.upstreams.get(&name).into_iter().flatten();
        if let Some((_, alike)) = same_name.into_iter().find(|(known, _)| known == upstream) {
            return Arc::clone(alike);
        }
        let made = Arc::new(self.new_upstream(Arc::clone(&name), upstream));
        self.upstreams.entry(name).or_default().push((Arc::clone(upstream), Arc::clone(&made)));
        made
    }

    fn new_upstream(&mut self, name: Arc<str>, upstream: &model::Upstream) -> Upstream {
        let common = self.lasting.upstreams.entry(Arc::clone(&name)).or_insert_with(|| Arc::new(Common::new(name)));
        let common = Arc::clone(common);
        let targets: Vec<_> = upstream.targets.iter().map(|target| self.target(target, upstream, &common)).collect();
        if let Some(health) = &upstream.health {
            let checks = targets.iter().map(|target| Check { target: Arc::clone(target), health: health.clone() });
            self.lasting.checks.extend(checks);
        }
        Upstream::new(targets, upstream.balance, upstream.eject, upstream.http, common)
    }

    fn target(&mut self, target: &model::Target, upstream: &model::Upstream, common: &Arc<Common>) -> Arc<Target> {
        let name = TargetName {
            upstream: Arc::clone(&common.name),
            target: target.clone(),
            networks: upstream.networks.clone(),
            http: upstream.http,
            ca: upstream.ca.clone(),
        };
        self.used_targets.insert(name.clone());
        if let Some(known) = self.lasting.targets.get(&name) {
            return Arc::clone(known);
        }
        let security = match target.tls {
            false => Security::Open,
            true => self.lasting.client(upstream).map_or(Security::Unusable, Security::Tls),
        };
        self.lasting.next_target += 1;
        let url: Arc<str> = url(target).into();
        let made = Arc::new(Target {
            id: self.lasting.next_target,
            destination: destination(target, upstream.networks.as_ref()),
            security,
            http: upstream.http,
            host: own_host(target),
            label: format!("{}:{}", host_text(target), target.port).into(),
            condition: Condition::new(target_hash(&url)),
            url,
            upstream: Arc::clone(common),
            under_way: Arc::default(),
        });
        self.lasting.targets.insert(name, Arc::clone(&made));
        made
    }

    /// Lets go of what the model no longer names. A bucket that still owes tokens stays, in case its route comes back.
    fn forget(&mut self) {
        let Self {
            lasting, stats, used_meters, used_targets, used_issuers, used_caller_routes, used_budgets, now, ..
        } = self;
        lasting.tidy_callers(*now);
        // What callers have at a route is found by where it is in memory.
        lasting.caller_routes.retain(|name, route| used_caller_routes.contains(name) || Arc::strong_count(route) > 1);
        // Whoever is the last to hold it gives back what it was granted.
        lasting.budgets.retain(|name, _| used_budgets.contains(name));
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

fn destination(target: &model::Target, networks: Option<&Vec<ipnet::IpNet>>) -> Destination {
    let host = match &target.host {
        model::TargetHost::Address(address) => Host::Address(*address),
        model::TargetHost::Name(name) => Host::Name(name.clone()),
    };
    let fence = match networks {
        Some(networks) => Fence::Networks(Box::new(networks.iter().copied().collect())),
        None => Fence::Unstated,
    };
    Destination::new(host, target.port, fence)
}

/// What an upstream is known by. A name has no colon, so it is never taken for targets written in place.
fn upstream_name(upstream: &model::Upstream) -> Arc<str> {
    match &upstream.name {
        Some(name) => Arc::clone(name),
        None => upstream.targets.iter().map(url).collect::<Vec<_>>().join(",").into(),
    }
}

fn url(target: &model::Target) -> String {
    let scheme = if target.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}", host_text(target), target.port)
}

/// The target's own `Host`: with its port, unless it is the scheme's.
fn own_host(target: &model::Target) -> HeaderValue {
    let host = host_text(target);
    let usual = if target.tls { 443 } else { 80 };
    let text = if target.port == usual { host } else { format!("{host}:{}", target.port) };
    // A resolved target's name has only the characters of names.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("invalid"))
}

/// As a URL has it.
pub(crate) fn host_text(target: &model::Target) -> String {
    match &target.host {
        model::TargetHost::Address(address) => Host::Address(*address).to_string(),
        model::TargetHost::Name(name) => name.to_string(),
    }
}
