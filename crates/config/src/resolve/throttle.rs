//! How often something may be called.

use std::num::NonZeroU32;

use crate::collections::OneOrMany;
use crate::decode::{Field, Located};
use crate::diagnostic::Diagnostic;
use crate::file::{ApiThrottleTable, ThrottleTable};
use crate::model::{Rate, Throttle, ThrottleBy};
use crate::number::Burst;
use crate::reading::Reading;
use crate::source::Span;
use crate::text;

/// The buckets of an API.
pub(super) fn of_api(field: &Field<OneOrMany<ApiThrottleTable>>, reading: &mut Reading) -> Vec<Located<Throttle>> {
    let Some(given) = field.given() else { return Vec::new() };
    let throttles = given.value.0.items.iter().filter_map(|item| {
        let rate = item.value.rate.value()?;
        located(rate, &item.value.burst, ThrottleBy::Everyone, item.span)
    });
    let throttles: Vec<_> = throttles.collect();
    check(&throttles, &[], reading);
    throttles
}

/// The buckets of a route that `asks` callers who they are, or does not, given those of its API.
pub(super) fn of_route(
    field: &Field<OneOrMany<ThrottleTable>>,
    asks: bool,
    api: &[Located<Throttle>],
    reading: &mut Reading,
) -> Vec<Located<Throttle>> {
    let Some(given) = field.given() else { return Vec::new() };
    let throttles = given.value.0.items.iter().filter_map(|item| {
        let by = match &item.value.by {
            Field::Absent => ThrottleBy::Everyone,
            Field::Broken => return None,
            Field::Given(by) if by.value.0 == ThrottleBy::Caller && !asks => {
                nobody_is_known(by.span, reading);
                return None;
            }
            Field::Given(by) => by.value.0,
        };
        let rate = item.value.rate.value()?;
        located(rate, &item.value.burst, by, item.span)
    });
    let throttles: Vec<_> = throttles.collect();
    check(&throttles, api, reading);
    throttles
}

/// One bucket.
pub(super) fn throttle(rate: &text::Rate, burst: &Field<Burst>, by: ThrottleBy) -> Option<Throttle> {
    let burst = match burst {
        Field::Given(burst) => burst.value.0,
        Field::Absent => one_second(rate.0),
        Field::Broken => return None,
    };
    Some(Throttle { rate: rate.0, burst, by })
}

fn located(rate: &text::Rate, burst: &Field<Burst>, by: ThrottleBy, span: Span) -> Option<Located<Throttle>> {
    throttle(rate, burst, by).map(|value| Located { value, span })
}

fn nobody_is_known(by: Span, reading: &mut Reading) {
    let error = reading.error(by, "this route asks nobody who they are, so no caller has a bucket here");
    reading.report(error.with_help("give the route `callers`, or write `by = \"client\"`"));
}

/// What comes back in one second, at least one.
fn one_second(rate: Rate) -> NonZeroU32 {
    let tokens = rate.count.get() / rate.per.as_secs().max(1);
    NonZeroU32::new(u32::try_from(tokens).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
}

/// Reports buckets that bind nobody, because another one binds them all more.
fn check(throttles: &[Located<Throttle>], api: &[Located<Throttle>], reading: &mut Reading) {
    for (index, throttle) in throttles.iter().enumerate() {
        let earlier = throttles[..index].iter();
        // Of two that are alike, only the second is too many.
        let later = throttles[index + 1..].iter().filter(|later| later.value != throttle.value);
        let tighter = earlier
            .chain(later)
            .map(|other| (other, "this one"))
            .chain(api.iter().map(|other| (other, "the API's bucket")))
            .find(|(other, _)| binds_more(&other.value, &throttle.value));
        if let Some((other, which)) = tighter {
            reading.report(useless(throttle, other, which, reading));
        }
    }
}

/// Whether `other` is of no use beside `one`.
///
/// That a bucket is tighter says something only where it has all requests of the other: those of everyone are those of
/// each client too, but however little one client may take, many together can empty what they share.
pub(super) fn binds_more(one: &Throttle, other: &Throttle) -> bool {
    let has_all = match (one.by, other.by) {
        (ThrottleBy::Everyone, ThrottleBy::Everyone | ThrottleBy::Client | ThrottleBy::Caller)
        | (ThrottleBy::Client, ThrottleBy::Client)
        | (ThrottleBy::Caller, ThrottleBy::Caller) => true,
        (ThrottleBy::Client, ThrottleBy::Everyone | ThrottleBy::Caller)
        | (ThrottleBy::Caller, ThrottleBy::Everyone | ThrottleBy::Client) => false,
    };
    let speed = |rate: &Rate, other: &Rate| u128::from(rate.count.get()) * u128::from(other.per.as_secs());
    has_all && one.burst <= other.burst && speed(&one.rate, &other.rate) <= speed(&other.rate, &one.rate)
}

fn useless(throttle: &Located<Throttle>, other: &Located<Throttle>, which: &str, reading: &Reading) -> Diagnostic {
    let place = reading.place(other.span);
    let burst = other.value.burst;
    match (throttle.value.by, other.value.by) {
        (ThrottleBy::Client, ThrottleBy::Everyone) => reading
            .error(throttle.span, "this throttle lets one client have as much as all clients have together")
            .with_related(&place, format!("{which}, with its burst of {burst}, is shared by all"))
            .with_help("give each client less than all of them, or remove it"),
        (ThrottleBy::Caller, ThrottleBy::Everyone) => reading
            .error(throttle.span, "this throttle lets one caller have as much as all callers have together")
            .with_related(&place, format!("{which}, with its burst of {burst}, is shared by all"))
            .with_help("give each caller less than all of them, or remove it"),
        (ThrottleBy::Everyone | ThrottleBy::Client | ThrottleBy::Caller, _) => reading
            .error(throttle.span, "this throttle can never refuse anybody")
            .with_related(&place, format!("{which}, with its burst of {burst}, is always empty first")),
    }
}
