//! `health` and `eject`: which targets of an upstream are sent requests.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderValue;

use crate::decode::{Field, Given};
use crate::file::HealthTable;
use crate::model::{Eject, Health, HostHeader, Upstream};
use crate::reading::Reading;
use crate::text::{BackendHost, NonZeroDuration};
use crate::value;

/// How targets are asked whether they are well.
pub(super) fn health(table: &HealthTable, reading: &mut Reading) -> Option<Health> {
    let host = host(&table.host, reading);
    let every = match table.every.given() {
        None => Some(DEFAULT_EVERY),
        Some(every) => {
            let too_short = "this is too often: a target would do little but answer it";
            let too_long = "this is too seldom: a target could be down for hours before it is noticed";
            in_range(every, too_short, too_long, reading)
        }
    };
    let timeout = timeout(table, every, reading);
    Some(Health {
        path: table.path.value()?.0.clone(),
        host: host?,
        codes: table.codes.value().map_or_else(|| vec![200..=299], |codes| codes.0.clone()),
        every: every?,
        timeout: timeout?,
        healthy: table.healthy.value().map_or(DEFAULT_HEALTHY, |count| count.0),
        unhealthy: table.unhealthy.value().map_or(DEFAULT_UNHEALTHY, |count| count.0),
    })
}

/// When a target that fails requests is left alone: perhaps never. Nothing at all if that cannot be told.
pub(super) fn eject(field: &Field<value::Eject>, reading: &mut Reading) -> Option<Option<Eject>> {
    let Some(default) = Upstream::DEFAULT.eject else { return Some(None) };
    let table = match field {
        Field::Broken => return None,
        Field::Absent => return Some(Some(default)),
        Field::Given(Given { value: value::Eject::Off, .. }) => return Some(None),
        Field::Given(Given { value: value::Eject::On(table), .. }) => table,
    };
    let pause = match table.pause.given() {
        None => default.pause,
        Some(pause) => {
            let too_short = "this is too short: nothing would be otherwise when the target is tried again";
            let too_long = "this is too long: a target that is well again would stand idle for hours";
            in_range(pause, too_short, too_long, reading)?
        }
    };
    Some(Some(Eject { after: table.after.value().map_or(default.after, |after| after.0), pause }))
}

const DEFAULT_EVERY: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_HEALTHY: NonZeroU32 = NonZeroU32::new(3).expect("three");
const DEFAULT_UNHEALTHY: NonZeroU32 = NonZeroU32::new(2).expect("two");

/// How long an answer may take, so that one probe ends before the next begins.
fn timeout(table: &HealthTable, every: Option<Duration>, reading: &mut Reading) -> Option<Duration> {
    let Some(given) = table.timeout.given() else { return every.map(|every| DEFAULT_TIMEOUT.min(every / 2)) };
    let NonZeroDuration(timeout) = given.value;
    if every.is_some_and(|every| timeout >= every) {
        let message = "a probe must have ended before the next one begins";
        let error = reading.error(given.span, message);
        reading.report(match table.every.given() {
            Some(every) => {
                let place = reading.place(every.span);
                error.with_related(&place, "the next one begins after this").with_help("give it less than `every`")
            }
            None => error.with_help("give it less than `every`, which is \"10s\" unless it is given"),
        });
    }
    Some(timeout)
}

/// The `Host` of a probe; absent: the target's own.
fn host(field: &Field<BackendHost>, reading: &mut Reading) -> Option<Option<HeaderValue>> {
    let given = match field {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    match &given.value.0 {
        HostHeader::Upstream => Some(None),
        HostHeader::Literal(host) => Some(Some(host.clone())),
        HostHeader::Client => {
            let error = reading.error(given.span, "a probe has no client whose host it could ask for");
            reading.report(error.with_help("write the host that is meant, or leave `host` out"));
            None
        }
    }
}

fn in_range(
    given: &Given<NonZeroDuration>,
    too_short: &str,
    too_long: &str,
    reading: &mut Reading,
) -> Option<Duration> {
    let NonZeroDuration(duration) = given.value;
    let message = if duration < Duration::from_millis(100) {
        too_short
    } else if duration > Duration::from_secs(3_600) {
        too_long
    } else {
        return Some(duration);
    };
    reading.report(reading.error(given.span, message).with_help("write `100ms` to `1h`"));
    None
}
