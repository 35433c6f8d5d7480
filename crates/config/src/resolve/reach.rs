//! Who enters where: callers, proofs and limits that come to nothing.
//!
//! Callers are many, so they are told apart no finer than routes can: by the kinds of proof that they have.

mod doors;
mod limits;
mod proofs;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::doors::{Doors, Ways};
use crate::diagnostic::Diagnostic;
use crate::model::{Caller, Plan, Who};
use crate::reading::Reading;
use crate::resolve::entrance::Entrances;
use crate::resolve::names::Known;
use crate::resolve::plan;

/// Reports what no caller can ever do, and limits that never bind.
///
/// What takes all callers or all routes to judge is left alone where one of them is broken.
pub(super) fn check(
    entrances: &Entrances,
    callers: &Known<Arc<Caller>>,
    plans: &Known<plan::Written>,
    reading: &mut Reading,
) {
    let doors = Doors::of(&entrances.routes);
    let everyone: Option<Vec<&Arc<Caller>>> = callers.items.values().map(Option::as_ref).collect();
    let everyone = everyone.filter(|_| callers.is_complete);
    let found_before = reading.count();
    proofs::check(&doors, callers, everyone.as_deref(), reading);
    // Whoever cannot pass a broken door is not the mistake.
    let are_passable = reading.count() == found_before;
    let Some(everyone) = everyone else { return };
    unused_plans(&everyone, plans, reading);
    if are_passable && entrances.is_complete {
        shut_out(&everyone, &doors, reading);
        limits::check(&doors::groups(&everyone, callers, &doors), &doors, plans, reading);
    }
}

/// Reports plans that limit nobody.
fn unused_plans(everyone: &[&Arc<Caller>], plans: &Known<plan::Written>, reading: &mut Reading) {
    let used: HashSet<*const Plan> =
        everyone.iter().filter_map(|caller| caller.plan.as_ref()).map(Arc::as_ptr).collect();
    for written in plans.items.values().flatten() {
        if !used.contains(&Arc::as_ptr(&written.plan)) {
            let error = Diagnostic::error(&written.plan.place, "no caller has this plan, so it limits nobody");
            let help = format!("write `plan = \"{}\"` in a `[caller.NAME]`, or remove the plan", written.plan.name);
            reading.report(error.with_help(help));
        }
    }
}

/// Reports callers that no route lets in.
fn shut_out(everyone: &[&Arc<Caller>], doors: &Doors<'_>, reading: &mut Reading) {
    let named: HashSet<&str> = doors.iter().flat_map(|door| door.entrance.named()).collect();
    let mut let_in: HashMap<Ways, bool> = HashMap::new();
    for caller in everyone {
        let ways = doors.ways(caller);
        let anywhere = || doors.iter().any(|door| door.entrance.who == Who::Any && door.rule.lets_in(ways));
        if !*let_in.entry(ways).or_insert_with(anywhere) && !named.contains(&*caller.name) {
            let error = Diagnostic::error(&caller.place, "no route lets this caller in");
            reading.report(error.with_help("name it in the `callers` of a route, or remove it"));
        }
    }
}
