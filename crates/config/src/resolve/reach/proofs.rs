//! Proofs that nobody can give, or that could be anybody's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Caller, ProofKind, Signed, Who};
use crate::reading::Reading;
use crate::resolve::names::Known;
use crate::resolve::reach::doors::{Door, Doors, Ways};
use crate::resolve::signed::MOST_SECRETS;
use crate::text::quoted;

/// Checks every door; those for everyone only if everyone is known.
pub(super) fn check(
    doors: &Doors<'_>,
    callers: &Known<Arc<Caller>>,
    everyone: Option<&[&Arc<Caller>]>,
    reading: &mut Reading,
) {
    let everyone = everyone.unwrap_or_default();
    let all_ways: BTreeSet<Ways> = everyone.iter().map(|caller| doors.ways(caller)).collect();
    let all_signers: Vec<&Arc<Caller>> =
        everyone.iter().copied().filter(|caller| caller.has(ProofKind::Signed)).collect();
    for door in doors.iter() {
        let mut named: Vec<&Arc<Caller>> = Vec::new();
        let (ways, signers) = match door.entrance.who {
            Who::Any => (&all_ways, &all_signers),
            Who::Named(_) => {
                named.extend(door.entrance.named().filter_map(|name| callers.items.get(name)?.as_ref()));
                (&named.iter().map(|caller| doors.ways(caller)).collect(), &named)
            }
        };
        let is_passable = check_own_signature(door, reading)
            && check_kinds(door, ways, reading)
            && check_ways(door, ways, reading)
            && check_named(door, doors, &named, reading);
        if is_passable && door.rule.takes(ProofKind::Signed) {
            let signers = signers.iter().filter(|caller| door.rule.lets_in(doors.ways(caller)));
            check_signers(door, signers.copied(), reading);
        }
    }
}

/// Reports a route that asks for a signature of the caller's and has its own; whether that is not so.
fn check_own_signature(door: &Door<'_>, reading: &mut Reading) -> bool {
    let listed = door.entrance.proof.iter().find(|kind| kind.value == ProofKind::Signed);
    let (Some(listed), Some(own)) = (listed, door.entrance.signed) else { return true };
    let own = reading.place(own);
    let message = "a body has one signature, and here it is not that of a caller";
    let error = reading.error(listed.span, message).with_related(&own, "here the route says how bodies are signed");
    reading.report(error.with_help("keep the one that is meant"));
    false
}

/// Reports kinds of proof that nobody has; whether there are none.
fn check_kinds(door: &Door<'_>, ways: &BTreeSet<Ways>, reading: &mut Reading) -> bool {
    let mut is_good = true;
    for kind in door.entrance.proof.iter().filter(|_| !ways.is_empty()) {
        if !ways.iter().any(|ways| door.rule.counts(kind.value, *ways)) {
            is_good = false;
            let error = reading.error(kind.span, format!("the callers that may enter have no {}", what(kind.value)));
            reading.report(error.with_help("give them one, or remove this"));
        }
    }
    is_good
}

/// Reports a route for everyone that nobody can enter; whether somebody can.
fn check_ways(door: &Door<'_>, ways: &BTreeSet<Ways>, reading: &mut Reading) -> bool {
    if door.entrance.who != Who::Any || ways.is_empty() || ways.iter().any(|ways| door.rule.lets_in(*ways)) {
        return true;
    }
    let message = if door.entrance.proof.is_empty() {
        "no caller has a proof that counts here, so nobody may enter"
    } else {
        "no caller has all that `proof` asks for, so nobody may enter"
    };
    reading.report(reading.error(door.entrance.callers, message));
    false
}

/// Reports callers that are named and can never enter; whether there are none.
fn check_named(door: &Door<'_>, doors: &Doors<'_>, named: &[&Arc<Caller>], reading: &mut Reading) -> bool {
    let stuck: HashMap<&str, &Arc<Caller>> = named
        .iter()
        .filter(|caller| !door.rule.lets_in(doors.ways(caller)))
        .map(|caller| (&*caller.name, *caller))
        .collect();
    for (name, span) in &door.entrance.names {
        let Some(caller) = stuck.get(&**name) else { continue };
        let ways = doors.ways(caller);
        let lacking = door.entrance.proof.iter().find(|kind| !door.rule.counts(kind.value, ways));
        let message = match lacking {
            Some(kind) => format!("{} can never enter: it has no {}", quoted(&caller.name), what(kind.value)),
            None => format!("{} can never enter: it has no proof that counts here", quoted(&caller.name)),
        };
        let help = if caller.has(ProofKind::Jwt) && door.entrance.issuer.is_some() {
            "the `jwt` of the route asks for tokens of another issuer than those of the caller"
        } else if caller.has(ProofKind::Signed) && door.entrance.signed.is_some() {
            "the `signed` of the route says how bodies are signed, so a caller's own signature is no proof here"
        } else {
            "give it what `proof` asks for, or leave it out here"
        };
        let error = reading.error(*span, message).with_related(&caller.place, "the caller is here");
        reading.report(error.with_help(help));
    }
    stuck.is_empty()
}

fn what(kind: ProofKind) -> &'static str {
    match kind {
        ProofKind::Key => "API key (`keys`)",
        ProofKind::SigV4 => "access key (`sigv4`)",
        ProofKind::Jwt => "token (`jwt`) that counts here",
        ProofKind::Signed => "signature (`signed`)",
    }
}

/// Reports callers whose signatures cannot be told apart: a body is verified before anybody knows whose it is.
fn check_signers<'c>(door: &Door<'_>, signers: impl Iterator<Item = &'c Arc<Caller>>, reading: &mut Reading) {
    let mut known: Vec<(&Caller, &Signed)> = Vec::new();
    let mut secrets = 0;
    for caller in signers {
        let Some(signed) = caller.signed.as_deref() else { continue };
        let differs = known.first().filter(|(_, first)| first.scheme != signed.scheme);
        let shares = || known.iter().find(|(_, other)| other.secrets.iter().any(|key| signed.secrets.contains(key)));
        secrets += signed.secrets.len();
        let problem = if let Some((other, first)) = differs {
            let message = format!("{} and {} sign in different ways", quoted(&other.name), quoted(&caller.name));
            Some((message, first, "give each way to sign a route of its own"))
        } else if let Some((other, first)) = shares() {
            let message = format!("{} and {} sign with the same secret", quoted(&other.name), quoted(&caller.name));
            Some((message, first, "give each of them a secret of its own, so that they can be told apart"))
        } else if secrets > MOST_SECRETS {
            let message = format!("the callers that may enter sign with more than {MOST_SECRETS} secrets");
            let help = "each is tried on every body; name fewer callers here, or ask for other proofs";
            known.first().map(|(_, first)| (message, first, help))
        } else {
            None
        };
        if let Some((message, first, help)) = problem {
            let error = reading.error(door.entrance.callers, message);
            let error = error.with_related(&first.place, "the first one").with_related(&signed.place, "another one");
            return reading.report(error.with_help(help));
        }
        known.push((caller, signed));
    }
}
