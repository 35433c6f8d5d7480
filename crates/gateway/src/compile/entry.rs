//! Who may enter: lists of addresses, callers, signatures and tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatepost_config::model::{self, ProofKind};
use gatepost_net::BelievedHeader;
use gatepost_prefix::PrefixSet;

use super::{Compiler, Lasting};
use crate::caller::{Access, Caller, CallerMeters, Callers, ProofKinds};
use crate::signature::Signed;
use crate::snapshot::{AddressRule, Addresses, Behind, CallerRule, Entry, Rules, Who};
use crate::token::{Keyring, Tokens};

impl Compiler<'_> {
    pub(super) fn entry(
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
        if rules.token.is_some() && !asked.is_empty() {
            // The route says which tokens are good, whoever they are about.
            kinds = kinds.without(ProofKinds::of(ProofKind::Jwt));
        }
        kinds = kinds.and(asked);
        if compat.is_some() && !asked.is_empty() {
            // As API Gateway does not look at the key of a method that needs none.
            kinds = asked;
        }
        CallerRule { who, proof: rule.proof.clone(), kinds, signers, known: Arc::clone(known) }
    }

    /// What they have of their limits stays with them, under their names; what was derived from their secrets with these.
    pub(super) fn callers(&mut self, written: &[Arc<model::Caller>]) -> Callers {
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

    pub(super) fn behind(&mut self, behind: &model::Behind) -> Behind {
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
}
