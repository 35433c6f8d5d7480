//! What the admin API tells of callers: what they used, what they have left, and when their keys were last used.

use std::sync::Arc;

use bytes::Bytes;
use form_urlencoded::parse;
use gatepost_config::model::{Caller, KeyHash, Money};
use gatepost_gateway::{AccountReport, CallerReport, InForce};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LINK, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::admin::api::{Answer, LONGEST_LIST, USUAL_LIST, bad, beside, number, unknown};
use crate::admin::problem::Problem;
use crate::admin::view::Part;
use crate::admin::{Desk, json};
use crate::usage::{KeyEntry, NotRead, Spent, UsagePage, UsageQuery, csv, day, in_order};

/// How usage is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// What callers used, and what those have left that are told of.
pub(super) async fn usage(desk: &Arc<Desk>, query: &str, headers: &HeaderMap) -> Answer {
    let mut asked = UsageQuery { caller: None, from: None, to: None, after: None, limit: USUAL_LIST };
    let mut format = accepted(headers);
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "caller" => asked.caller = Some(value.into_owned()),
            "from" => asked.from = Some(day(&value).map_err(bad)?),
            "to" => asked.to = Some(day(&value).map_err(bad)?),
            "after" => asked.after = Some(value.parse().map_err(|error: String| bad(error))?),
            "limit" => asked.limit = number(&name, &value, LONGEST_LIST)?,
            "format" => {
                format = match &*value {
                    "json" => Format::Json,
                    "csv" => Format::Csv,
                    _ => return Err(bad("`format` is `json` or `csv`")),
                }
            }
            _ => return Err(unknown(&name, "`caller`, `from`, `to`, `after`, `limit` and `format`")),
        }
    }
    in_order(asked.from, asked.to).map_err(bad)?;
    if asked.limit == 0 {
        // It would never come to an end.
        return Err(bad(format!("`limit` is a number from 1 to {LONGEST_LIST}")));
    }
    beside(desk, move |desk| {
        let in_force = desk.observer.in_force();
        let page = UsagePage::of(&*desk.usage, in_force.model(), &asked, |caller| spent(&in_force, caller));
        let page = page.map_err(|error| unreadable(&error))?;
        Ok(match format {
            Format::Json => json(StatusCode::OK, &page),
            Format::Csv => as_csv(&page, &asked),
        })
    })
    .await
}

/// The keys that are taken, and when each was last used.
pub(super) async fn keys(desk: &Arc<Desk>, query: &str) -> Answer {
    let (mut offset, mut limit, mut named) = (0, USUAL_LIST, None);
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "caller" => named = Some(value.into_owned()),
            "offset" => offset = number(&name, &value, usize::MAX)?,
            "limit" => limit = number(&name, &value, LONGEST_LIST)?,
            _ => return Err(unknown(&name, "`caller`, `offset` and `limit`")),
        }
    }
    if limit == 0 {
        return Err(bad(format!("`limit` is a number from 1 to {LONGEST_LIST}")));
    }
    beside(desk, move |desk| {
        let in_force = desk.observer.in_force();
        let callers = in_force.model().callers.iter();
        let meant = callers.filter(|caller| named.as_deref().is_none_or(|named| *caller.name == *named));
        let all: Vec<(&Caller, KeyHash)> =
            meant.flat_map(|caller| caller.keys.iter().map(|key| (&**caller, *key))).collect();
        let told: Vec<KeyHash> = all.iter().skip(offset).take(limit).map(|(_, key)| *key).collect();
        let uses = desk.usage.last_uses(&told).map_err(|error| unreadable(&error))?;
        let entry = |(caller, key): (&Caller, KeyHash)| KeyEntry {
            caller: caller.name.to_string(),
            key: key.to_string(),
            last_used: uses.get(&key).copied(),
        };
        Ok(json(StatusCode::OK, &Part::of(all.into_iter().map(entry), offset, limit)))
    })
    .await
}

/// What a caller used up of its quota and its budget in the windows that it is in now: to the request, once it was let in
/// since the gateway started. Before that, and where nothing is left, what it was granted counts: that may be more than the
/// limit, if that was lowered meanwhile.
fn spent(in_force: &InForce, caller: &Caller) -> Option<Spent> {
    let CallerReport { quota, budget, .. } = in_force.caller(&caller.name)?;
    let used = |account: AccountReport| {
        let left = account.left.filter(|left| *left > 0)?;
        Some(account.limit.saturating_sub(left))
    };
    Some(Spent { quota: quota.and_then(used), budget: budget.and_then(used).map(Money) })
}

fn as_csv(page: &UsagePage, asked: &UsageQuery) -> Response<Full<Bytes>> {
    let text = csv::HEADER.to_owned() + &csv::lines(&page.usage);
    let mut response = Response::new(Full::new(text.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    let after = page.next.as_deref().and_then(|next| next.parse().ok());
    if let Some(after) = after {
        // As of RFC 8288: CSV has no room for it.
        let next = UsageQuery { after: Some(after), ..asked.clone() }.encode();
        if let Ok(link) = HeaderValue::try_from(format!("</v1/usage?{next}&format=csv>; rel=\"next\"")) {
            headers.insert(LINK, link);
        }
    }
    response
}

/// CSV where it is asked for by name.
fn accepted(headers: &HeaderMap) -> Format {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds =
        texts.flat_map(|text| text.split(',')).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let first =
        kinds.find(|kind| ["text/csv", "application/json", "*/*"].iter().any(|known| kind.eq_ignore_ascii_case(known)));
    if first.is_some_and(|kind| kind.eq_ignore_ascii_case("text/csv")) { Format::Csv } else { Format::Json }
}

fn unreadable(error: &NotRead) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
