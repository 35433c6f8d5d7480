//! What happens to an admitted request: `forward`, `respond` or `redirect`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::collections::{List, Named};
use crate::decode::{Field, nearest};
use crate::file::{ForwardHeadersTable, ForwardTable, RedirectTable, RespondTable, RouteTable};
use crate::model::{Action, Forward, HostHeader, Redirect, Respond, Template, TemplatePart, Upstream};
use crate::reading::Reading;
use crate::resolve::Scope;
use crate::resolve::upstream::{allowed, check_target};
use crate::source::Span;
use crate::text::{Destination, FieldName, FieldValue, RawPart, Timeout};

/// What the route whose key is at `key` does. `parameters` are those of the key, unless it is broken.
pub(super) fn action(
    table: &RouteTable,
    key: Span,
    parameters: Option<&[String]>,
    scope: &Scope,
    reading: &mut Reading,
) -> Option<Action> {
    let is_single = check_single(table, key, reading);
    let forward = table.forward.value().map(|table| forward(table, parameters, scope, reading).map(Action::Forward));
    let respond = table.respond.value().map(|table| respond(table, reading).map(Action::Respond));
    let redirect = table.redirect.value().map(|table| redirect(table, parameters, reading).map(Action::Redirect));
    forward.or(respond).or(redirect).flatten().filter(|_| is_single)
}

/// Reports a route that does nothing, or more than one thing.
fn check_single(table: &RouteTable, key: Span, reading: &mut Reading) -> bool {
    let fields = [
        (table.forward.is_absent(), table.forward.given().map(|given| given.key)),
        (table.respond.is_absent(), table.respond.given().map(|given| given.key)),
        (table.redirect.is_absent(), table.redirect.given().map(|given| given.key)),
    ];
    if fields.iter().all(|(is_absent, _)| *is_absent) {
        if table.unknown.is_empty() {
            let error = reading.error(key, "this route does not say what happens to a request");
            reading.report(error.with_help("give it one of `forward`, `respond` and `redirect`"));
        }
        return false;
    }
    let mut given: Vec<Span> = fields.iter().filter_map(|(_, key)| *key).collect();
    given.sort_by_key(|key| key.range().start);
    let [first, others @ ..] = given.as_slice() else { return false };
    for other in others {
        let place = reading.place(*first);
        let error = reading.error(*other, "a route does one thing, and this one does another already");
        reading.report(error.with_related(&place, "it does this"));
    }
    others.is_empty()
}

fn forward(
    table: &ForwardTable,
    parameters: Option<&[String]>,
    scope: &Scope,
    reading: &mut Reading,
) -> Option<Forward> {
    let upstream = upstream(table, scope, reading);
    let path = match table.path.given() {
        Some(path) => template(&path.value.0, path.span, parameters, reading).map(Some),
        None => Some(None),
    };
    let headers = table.headers.value();
    let set_headers = headers.map_or(Some(Vec::new()), |headers| set_headers(headers, reading));
    let remove_headers = headers.and_then(|headers| headers.remove.value());
    Some(Forward {
        upstream: upstream?,
        timeout: match table.timeout.value() {
            Some(Timeout(timeout)) => *timeout,
            None => Some(DEFAULT_TIMEOUT),
        },
        path: path?,
        host: table.host.value().map_or(HostHeader::Upstream, |host| host.0.clone()),
        set_headers: set_headers?,
        remove_headers: remove_headers
            .map_or(Vec::new(), |list| list.values().map(|FieldName(name)| name.clone()).collect()),
        retries: table.retries.value().map_or(0, |retries| retries.0),
    })
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

fn upstream(table: &ForwardTable, scope: &Scope, reading: &mut Reading) -> Option<Arc<Upstream>> {
    let to = table.to.given()?;
    match &to.value {
        Destination::Upstream(name) => {
            if let Some(networks) = table.networks.given() {
                let error = reading.error(networks.key, "`networks` belongs to the upstream that `to` names");
                let help = format!("write it in `[upstream.{name}]`");
                reading.report(error.with_help(help));
            }
            scope.upstreams.look_up(name, to.span, reading)
        }
        Destination::Target(target) => {
            let allowed = allowed(&table.networks)?;
            check_target(target, to.span, allowed.as_deref(), reading);
            let targets = vec![target.clone()];
            Some(Arc::new(Upstream { targets, networks: allowed, ..Upstream::DEFAULT }))
        }
    }
}

/// Looks up the parameters of a template.
fn template(parts: &[RawPart], span: Span, parameters: Option<&[String]>, reading: &mut Reading) -> Option<Template> {
    let parameters = parameters?;
    let parts: Vec<Option<TemplatePart>> = parts
        .iter()
        .map(|part| match part {
            RawPart::Text(text) => Some(TemplatePart::Text(text.clone())),
            RawPart::Parameter { name, part } => {
                let index = parameters.iter().position(|known| **known == **name);
                if index.is_none() {
                    let written = reading.part(span, part.start, &format!("{{{name}}}"));
                    report_parameter(name, written, parameters, reading);
                }
                index.map(TemplatePart::Parameter)
            }
        })
        .collect();
    parts.into_iter().collect::<Option<_>>().map(Template)
}

fn report_parameter(name: &str, span: Span, parameters: &[String], reading: &mut Reading) {
    let error = reading.error(span, format!("the key of this route has no parameter `{name}`"));
    let near = nearest(name, parameters.iter().map(String::as_str));
    reading.report(match (near, parameters) {
        (Some(near), _) => error.with_help(format!("did you mean `{{{near}}}`?")),
        (None, []) => error.with_help("it has none at all"),
        (None, _) => {
            let all: Vec<_> = parameters.iter().map(|name| format!("`{{{name}}}`")).collect();
            error.with_help(format!("it has {}", all.join(", ")))
        }
    });
}

fn set_headers(table: &ForwardHeadersTable, reading: &mut Reading) -> Option<Vec<(HeaderName, HeaderValue)>> {
    check_removed(&table.remove, reading);
    headers(&table.set, "`host = \"…\"` beside `to` says which host the backend sees", reading)
}

/// Reports headers that cannot be left out.
fn check_removed(remove: &Field<List<FieldName>>, reading: &mut Reading) {
    let Some(list) = remove.value() else { return };
    for item in &list.items {
        if matches!(item.value.0.as_str(), "host" | "content-length" | "transfer-encoding") {
            let message = format!("a request needs `{}`; it cannot be left out", item.value.0);
            reading.report(reading.error(item.span, message));
        }
    }
}

/// The headers that a table sets. `about_host` is what to do instead of setting `host`.
fn headers(
    field: &Field<Named<FieldName, FieldValue>>,
    about_host: &str,
    reading: &mut Reading,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let named = match field {
        Field::Absent => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(given) => &given.value,
    };
    let mut seen: HashMap<&FieldName, Span> = HashMap::new();
    let mut is_whole = true;
    let mut headers = Vec::new();
    for entry in named.entries.values() {
        let Some(name) = &entry.key else {
            is_whole = false;
            continue;
        };
        if let Some(first) = seen.insert(name, entry.span) {
            let first = reading.place(first);
            let message = format!("the header `{}` is set twice", name.0);
            let error = reading.error(entry.span, message);
            reading.report(error.with_related(&first, "first set here"));
        }
        check_settable(&name.0, entry.span, about_host, reading);
        match &entry.value {
            Some(FieldValue(value)) => headers.push((name.0.clone(), value.clone())),
            None => is_whole = false,
        }
    }
    is_whole.then_some(headers)
}

/// Reports headers that say how a message travels: the gateway writes them itself.
fn check_settable(name: &HeaderName, span: Span, about_host: &str, reading: &mut Reading) {
    let (message, help) = match name.as_str() {
        "host" => (format!("`{name}` cannot be set like other headers"), about_host),
        "content-length" | "transfer-encoding" | "trailer" | "te" => {
            let message = format!("`{name}` says how long a message is; the gateway writes it itself");
            (message, "remove it")
        }
        "connection" | "keep-alive" | "proxy-connection" | "upgrade" => {
            let message = format!("`{name}` is about one connection; the gateway writes it itself");
            (message, "remove it")
        }
        _ => return,
    };
    reading.report(reading.error(span, message).with_help(help));
}

fn respond(table: &RespondTable, reading: &mut Reading) -> Option<Respond> {
    let about_host = "an answer has no `host`; remove it";
    let headers = headers(&table.headers, about_host, reading);
    let status = table.status.value().map_or(Some(StatusCode::OK), |status| StatusCode::from_u16(status.0).ok());
    if let (Some(body), Some(json)) = (table.body.given(), table.json.given()) {
        let place = reading.place(body.key);
        let error = reading.error(json.key, "an answer has one body: `body` or `json`");
        reading.report(error.with_related(&place, "the other body is here"));
    }
    let (status, mut headers) = (status?, headers?);
    let (body, kind, key) = match (table.body.given(), table.json.given()) {
        (Some(body), _) => (body.value.clone(), "text/plain; charset=utf-8", body.key),
        (None, Some(json)) => (json.value.0.to_string(), "application/json", json.key),
        (None, None) => (String::new(), "", reading.start()),
    };
    if !body.is_empty() {
        check_bodiless(status, key, reading);
        if !headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            headers.push((CONTENT_TYPE, HeaderValue::from_static(kind)));
        }
    }
    Some(Respond { status, body: body.into_bytes().into(), headers })
}

fn check_bodiless(status: StatusCode, body: Span, reading: &mut Reading) {
    let code = status.as_u16();
    if matches!(code, 204 | 205 | 304) {
        let message = format!("an answer with status {code} has no body");
        reading.report(reading.error(body, message).with_help("remove the body, or use 200"));
    }
}

fn redirect(table: &RedirectTable, parameters: Option<&[String]>, reading: &mut Reading) -> Option<Redirect> {
    let to = table.to.given()?;
    let status = table.status.value().map_or(StatusCode::PERMANENT_REDIRECT, |status| status.0);
    Some(Redirect { to: template(&to.value.0, to.span, parameters, reading)?, status })
}
