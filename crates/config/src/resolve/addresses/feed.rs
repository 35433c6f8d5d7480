//! How the list at a `url` is kept fresh.

use std::time::Duration;

use crate::catalogue;
use crate::decode::{Field, Given};
use crate::file::AddressesTable;
use crate::model::{Feed, Pick, Selection};
use crate::reading::Reading;
use crate::source::Span;
use crate::text::{FeedUrl, NonZeroDuration, Pointer};

const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// How the set with the list at `url` is kept fresh.
pub(super) fn feed(url: &Given<FeedUrl>, table: &AddressesTable, reading: &mut Reading) -> Option<Feed> {
    let pick = pick(table);
    let default = catalogue::feed(url.value.0.clone(), Pick::Lines);
    let every = match &table.every {
        Field::Given(every) => every_in_range(every, reading),
        Field::Absent => Some(default.every),
        Field::Broken => None,
    };
    let max_age = match &table.max_age {
        Field::Given(max_age) => Some(max_age.value.0),
        Field::Absent => Some(default.max_age),
        Field::Broken => None,
    };
    if let (Some(every), Some(max_age)) = (every, max_age) {
        check_ages(every, max_age, table, reading);
    }
    let shrink = given_or(&table.shrink, default.shrink, |share| share.0);
    let grow = given_or(&table.grow, default.grow, |factor| factor.0);
    Some(Feed { pick: pick?, every: every?, max_age: max_age?, shrink: shrink?, grow: grow?, ..default })
}

/// Reports keys that are for a `url`, where there is none.
pub(super) fn check_fixed(table: &AddressesTable, reading: &mut Reading) {
    if !table.url.is_absent() {
        return;
    }
    let AddressesTable { pick, every, max_age, shrink, grow, .. } = table;
    let given = [
        ("pick", key(pick)),
        ("every", key(every)),
        ("max_age", key(max_age)),
        ("shrink", key(shrink)),
        ("grow", key(grow)),
    ];
    for (name, key) in given {
        let Some(key) = key else { continue };
        let error = reading.error(key, format!("`{name}` is for a list that is fetched, and this one has no `url`"));
        reading.report(error.with_help("remove it, or say where the list is with `url`"));
    }
}

fn key<T>(field: &Field<T>) -> Option<Span> {
    field.given().map(|given| given.key)
}

fn given_or<T, V>(field: &Field<T>, default: V, value: impl Fn(&T) -> V) -> Option<V> {
    match field {
        Field::Given(given) => Some(value(&given.value)),
        Field::Absent => Some(default),
        Field::Broken => None,
    }
}

fn pick(table: &AddressesTable) -> Option<Pick> {
    let pointers = match &table.pick {
        Field::Absent => return Some(Pick::Lines),
        Field::Broken => return None,
        Field::Given(given) => &given.value.0,
    };
    let strings = |Pointer(array): &Pointer| Selection { array: array.clone(), members: Vec::new(), only: Vec::new() };
    (!pointers.broken).then(|| Pick::Json(pointers.values().map(strings).collect()))
}

fn every_in_range(given: &Given<NonZeroDuration>, reading: &mut Reading) -> Option<Duration> {
    let NonZeroDuration(every) = given.value;
    let message = if every < SHORTEST {
        "this is too often: whoever publishes the list would take it for an attack"
    } else if every > LONGEST {
        "this is too seldom: addresses would change hands long before it is noticed"
    } else {
        return Some(every);
    };
    reading.report(reading.error(given.span, message).with_help("write `10s` to `30d`"));
    None
}

/// Reports a set that would be stale before it is asked for again.
fn check_ages(every: Duration, max_age: Duration, table: &AddressesTable, reading: &mut Reading) {
    if max_age >= every {
        return;
    }
    let message = "a copy would be stale before the list is asked for again";
    match (table.max_age.given(), table.every.given()) {
        (Some(max_age), Some(every)) => {
            let place = reading.place(every.span);
            let error = reading.error(max_age.span, message).with_related(&place, "it is asked for this often");
            reading.report(error.with_help("give `max_age` at least as much as `every`, better several times that"));
        }
        (Some(max_age), None) => {
            let error = reading.error(max_age.span, message);
            reading.report(error.with_help("it is asked for every hour unless `every` says otherwise"));
        }
        (None, Some(every)) => {
            let error = reading.error(every.span, message);
            reading.report(error.with_help("`max_age` is \"7d\" unless it is given; give it more"));
        }
        (None, None) => {}
    }
}
