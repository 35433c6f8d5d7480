//! Routes and callers, as far as it matters who can enter where.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Caller, Plan, ProofKind, Who};
use crate::resolve::entrance::Entrance;
use crate::resolve::names::Known;

/// The kinds of proof that a caller has, as far as routes can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ways {
    kinds: Kinds,
    /// Of the issuers that routes ask for, that of its tokens.
    issuer: Option<usize>,
}

/// Some of the kinds of proof: a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kinds(u8);

impl Kinds {
    fn of(has: impl Fn(ProofKind) -> bool) -> Self {
        let bits = ProofKind::ALL.into_iter().filter(|kind| has(*kind)).map(Self::bit);
        Self(bits.fold(0, |bits, bit| bits | bit))
    }

    fn has(self, kind: ProofKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn bit(kind: ProofKind) -> u8 {
        match kind {
            ProofKind::Key => 1,
            ProofKind::SigV4 => 2,
            ProofKind::Jwt => 4,
            ProofKind::Signed => 8,
        }
    }
}

/// What a route asks of callers.
pub(super) struct Rule {
    /// Every one of these; none: any.
    required: Kinds,
    /// Of the issuers that routes ask for, its own.
    issuer: Option<usize>,
    /// Whether bodies must be signed as the route says, so that callers' own signatures are no proof.
    signed: bool,
}

impl Rule {
    /// Whether a proof of this kind counts, and is asked for.
    pub(super) fn takes(&self, kind: ProofKind) -> bool {
        (self.required.is_empty() || self.required.has(kind)) && !(kind == ProofKind::Signed && self.signed)
    }

    /// Whether a caller that has this kind of proof can give it.
    pub(super) fn counts(&self, kind: ProofKind, ways: Ways) -> bool {
        // Two tokens cannot be given, and no token has two issuers.
        let is_other_token = kind == ProofKind::Jwt && self.issuer.is_some() && self.issuer != ways.issuer;
        ways.kinds.has(kind) && self.takes(kind) && !is_other_token
    }

    pub(super) fn lets_in(&self, ways: Ways) -> bool {
        let mut kinds = ProofKind::ALL.into_iter().filter(|kind| self.required.is_empty() || self.required.has(*kind));
        if self.required.is_empty() {
            kinds.any(|kind| self.counts(kind, ways))
        } else {
            kinds.all(|kind| self.counts(kind, ways))
        }
    }
}

/// The routes that ask who somebody is.
pub(super) struct Doors<'a> {
    all: Vec<Door<'a>>,
    issuers: HashMap<&'a str, usize>,
}

/// One of them.
pub(super) struct Door<'a> {
    number: usize,
    pub(super) entrance: &'a Entrance,
    pub(super) rule: Rule,
}

impl<'a> Doors<'a> {
    pub(super) fn of(entrances: &'a [Entrance]) -> Self {
        let mut issuers: HashMap<&str, usize> = HashMap::new();
        for issuer in entrances.iter().filter_map(|entrance| entrance.issuer.as_deref()) {
            let number = issuers.len();
            issuers.entry(issuer).or_insert(number);
        }
        let door = |(number, entrance): (usize, &'a Entrance)| {
            let required = Kinds::of(|kind| entrance.proof.iter().any(|listed| listed.value == kind));
            let issuer = entrance.issuer.as_deref().and_then(|issuer| issuers.get(issuer).copied());
            Door { number, entrance, rule: Rule { required, issuer, signed: entrance.signed.is_some() } }
        };
        Self { all: entrances.iter().enumerate().map(door).collect(), issuers }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Door<'a>> {
        self.all.iter()
    }

    /// What a caller has to pass them with.
    pub(super) fn ways(&self, caller: &Caller) -> Ways {
        let issuer = caller.token.as_ref().and_then(|token| self.issuers.get(&*token.rule.issuer).copied());
        Ways { kinds: Kinds::of(|kind| caller.has(kind)), issuer }
    }
}

/// Callers that have the same plan, or none.
#[derive(Default)]
pub(super) struct Group {
    pub(super) plan: Option<Arc<Plan>>,
    /// What they have, to pass where everyone may.
    ways: BTreeSet<Ways>,
    /// The doors that name one of them who can pass.
    doors: BTreeSet<usize>,
}

impl Group {
    /// Whether one of them can pass.
    pub(super) fn passes(&self, door: &Door<'_>) -> bool {
        match door.entrance.who {
            Who::Any => self.ways.iter().any(|ways| door.rule.lets_in(*ways)),
            Who::Named(_) => self.doors.contains(&door.number),
        }
    }
}

/// Everyone, by their plans.
pub(super) fn groups(everyone: &[&Arc<Caller>], callers: &Known<Arc<Caller>>, doors: &Doors<'_>) -> Vec<Group> {
    let mut groups: HashMap<Option<*const Plan>, Group> = HashMap::new();
    fn group<'g>(groups: &'g mut HashMap<Option<*const Plan>, Group>, caller: &Caller) -> &'g mut Group {
        let plan = caller.plan.as_ref();
        let new = || Group { plan: plan.cloned(), ..Group::default() };
        groups.entry(plan.map(Arc::as_ptr)).or_insert_with(new)
    }
    for caller in everyone {
        group(&mut groups, caller).ways.insert(doors.ways(caller));
    }
    for door in doors.iter() {
        for caller in door.entrance.named().filter_map(|name| callers.items.get(name)?.as_ref()) {
            if door.rule.lets_in(doors.ways(caller)) {
                group(&mut groups, caller).doors.insert(door.number);
            }
        }
    }
    groups.into_values().collect()
}
