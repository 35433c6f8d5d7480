//! The admin API: what can be asked, and who answers it. `docs/reference/admin-api.json` describes it.
//!
//! It is served on the control thread, which others wait for: what goes through much is done beside it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::parse;
use gatepost_gateway::{DecisionFilter, Reason};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::admin::problem::Problem;
use crate::admin::view::{
    AddressSetView, DecisionView, DecisionsView, MeterView, OnRecord, Part, SnapshotView, TargetView,
};
use crate::admin::{Desk, ReloadEnd, json, usage};
use crate::exit::Failure;
use crate::why::report::{Report, SnapshotReport};
use crate::why::{Asked, explain_live};

/// Everything that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    OpenApi,
    Snapshot,
    Reload,
    Decisions,
    Decision(String),
    AddressSets,
    Throttles,
    Upstreams,
    Usage,
    Keys,
    Why,
}

/// A path, its method, and what that asks; `{id}` is one segment.
type Route = (&'static str, Method, fn(&str) -> Operation);

const ROUTES: [Route; 11] = [
    ("/openapi.json", Method::GET, |_| Operation::OpenApi),
    ("/v1/snapshot", Method::GET, |_| Operation::Snapshot),
    ("/v1/reload", Method::POST, |_| Operation::Reload),
    ("/v1/decisions", Method::GET, |_| Operation::Decisions),
    ("/v1/decisions/{id}", Method::GET, |id| Operation::Decision(id.to_owned())),
    ("/v1/address-sets", Method::GET, |_| Operation::AddressSets),
    ("/v1/throttles", Method::GET, |_| Operation::Throttles),
    ("/v1/upstreams", Method::GET, |_| Operation::Upstreams),
    ("/v1/usage", Method::GET, |_| Operation::Usage),
    ("/v1/keys", Method::GET, |_| Operation::Keys),
    ("/v1/why", Method::POST, |_| Operation::Why),
];

/// The description of all of it.
const DOCUMENT: &str = include_str!("../../../../docs/reference/admin-api.json");

/// The longest body of a request, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take to be found. What a reload needs to read a large configuration and its files.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Entries of a list in one answer, at most, and unless something else is asked for.
pub(super) const LONGEST_LIST: usize = 1000;
pub(super) const USUAL_LIST: usize = 100;

/// How long a decision that was made just now may take to be on record, and how often that is looked at.
const ON_RECORD: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(10);

pub(super) type Answer = Result<Response<Full<Bytes>>, Problem>;

/// Whether this is a path of the API.
pub(super) fn has(path: &str) -> bool {
    path == "/openapi.json" || path == "/v1" || path.starts_with("/v1/")
}

/// Answers a request that may be answered.
pub(super) async fn answer(desk: &Arc<Desk>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let operation = match find(request.method(), request.uri().path()) {
        Ok(operation) => operation,
        Err(response) => return *response,
    };
    match timeout(ANSWER_TIMEOUT, obey(desk, operation, request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.answer(),
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it takes too long; ask again later").answer(),
    }
}

/// The operation, or what to answer instead.
fn find(method: &Method, path: &str) -> Result<Operation, Box<Response<Full<Bytes>>>> {
    let matching: Vec<(&Route, &str)> =
        ROUTES.iter().filter_map(|route| matched(route.0, path).map(|id| (route, id))).collect();
    // Who answers GET answers HEAD.
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    if let Some(((_, _, operation), id)) = matching.iter().find(|((_, method, _), _)| method == wanted) {
        return Ok(operation(id));
    }
    let Some(((_, known, _), _)) = matching.first() else {
        let detail = "there is no such path; /openapi.json describes those that there are";
        return Err(Box::new(Problem::new(StatusCode::NOT_FOUND, detail).answer()));
    };
    let allow = if *known == Method::GET { "GET, HEAD" } else { "POST" };
    let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("ask with {allow}")).answer();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    Err(Box::new(response))
}

/// What stands for `{id}`, of a path that matches.
fn matched<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    match template.strip_suffix("{id}") {
        Some(before) => path.strip_prefix(before).filter(|id| !id.is_empty() && !id.contains('/')),
        None => (path == template).then_some(""),
    }
}

async fn obey(desk: &Arc<Desk>, operation: Operation, request: Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default().to_owned();
    match operation {
        Operation::OpenApi => {
            let mut response = Response::new(Full::new(Bytes::from_static(DOCUMENT.as_bytes())));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
        Operation::Snapshot => Ok(snapshot(desk)),
        Operation::Reload => {
            drop(body(request).await?);
            reload(desk).await
        }
        Operation::Decisions => decisions(desk, &query).await,
        Operation::Decision(id) => decision(desk, id).await,
        Operation::AddressSets => {
            list(desk, &query, |desk, offset, limit| {
                let sets = desk.observer.in_force().address_sets();
                json(StatusCode::OK, &Part::of(sets.into_iter().map(AddressSetView::of), offset, limit))
            })
            .await
        }
        Operation::Throttles => {
            list(desk, &query, |desk, offset, limit| {
                let in_force = desk.observer.in_force();
                json(StatusCode::OK, &Part::of(in_force.meters().map(MeterView::of), offset, limit))
            })
            .await
        }
        Operation::Upstreams => {
            list(desk, &query, |desk, offset, limit| {
                let targets = desk.observer.targets();
                json(StatusCode::OK, &Part::of(targets.into_iter().map(TargetView::of), offset, limit))
            })
            .await
        }
        Operation::Usage => usage::usage(desk, &query, request.headers()).await,
        Operation::Keys => usage::keys(desk, &query).await,
        Operation::Why => {
            let asked: Asked = read(&body(request).await?)?;
            beside(desk, |desk| why(&desk, asked)).await
        }
    }
}

/// Does what takes long beside the control thread.
pub(super) async fn beside(desk: &Arc<Desk>, answer: impl FnOnce(Arc<Desk>) -> Answer + Send + 'static) -> Answer {
    let desk = Arc::clone(desk);
    let answered = spawn_blocking(move || answer(desk)).await;
    answered.unwrap_or_else(|_| {
        let detail = "this is a mistake in gatepost, please report it: the answer could not be made";
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
    })
}

/// Answers with a part of a list.
async fn list(
    desk: &Arc<Desk>,
    query: &str,
    part: impl FnOnce(Arc<Desk>, usize, usize) -> Response<Full<Bytes>> + Send + 'static,
) -> Answer {
    let (mut offset, mut limit) = (0, USUAL_LIST);
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "offset" => offset = number(&name, &value, usize::MAX)?,
            "limit" => limit = number(&name, &value, LONGEST_LIST)?,
            _ => return Err(unknown(&name, "`offset` and `limit`")),
        }
    }
    beside(desk, move |desk| Ok(part(desk, offset, limit))).await
}

async fn decisions(desk: &Arc<Desk>, query: &str) -> Answer {
    let mut filter = DecisionFilter { limit: USUAL_LIST, ..DecisionFilter::default() };
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "limit" => filter.limit = number(&name, &value, LONGEST_LIST)?,
            "reason" => {
                let known = Reason::ALL.into_iter().find(|reason| reason.name() == value);
                filter.reason = Some(known.ok_or_else(|| bad(format!("{value:?} is no reason")))?);
            }
            "client" => {
                let address = value.parse().map_err(|_| bad(format!("{value:?} is no address")))?;
                filter.client = Some(std::net::IpAddr::to_canonical(&address));
            }
            "before" => filter.before = Some(value.into_owned()),
            _ => return Err(unknown(&name, "`limit`, `reason`, `client` and `before`")),
        }
    }
    // What was refused before this was asked is on record, unless very much is.
    desk.observer.hurry();
    sleep(LOOK).await;
    beside(desk, move |desk| {
        let page = desk.observer.decisions(&filter);
        Ok(json(StatusCode::OK, &DecisionsView::of(page, &desk.observer)))
    })
    .await
}

/// Whoever has seen the id in an answer finds the decision: it may still be on its way to the record.
async fn decision(desk: &Arc<Desk>, id: String) -> Answer {
    let look = |desk: Arc<Desk>, id: String| {
        let found = desk.observer.decision(&id);
        found.map(|decision| json(StatusCode::OK, &DecisionView::of(decision, &desk.observer.in_force())))
    };
    for _ in 0..ON_RECORD.as_millis() / LOOK.as_millis() {
        let id = id.clone();
        let absent = || Problem::new(StatusCode::NOT_FOUND, "");
        if let Ok(response) = beside(desk, move |desk| look(desk, id).ok_or_else(absent)).await {
            return Ok(response);
        }
        desk.observer.hurry();
        sleep(LOOK).await;
    }
    let on_record = OnRecord::of(desk.observer.decisions_kept(), &desk.observer);
    let detail = "no decision on record has this id: only the last refused requests are kept, and a request that was \
                  served has none";
    Err(Problem::new(StatusCode::NOT_FOUND, detail).with("on_record", on_record))
}

fn snapshot(desk: &Desk) -> Response<Full<Bytes>> {
    let last = desk.last_reload();
    json(StatusCode::OK, &SnapshotView::of(&desk.observer.in_force(), desk.file.as_deref(), last.as_ref()))
}

/// Has the control thread reload, and answers when that is done.
async fn reload(desk: &Desk) -> Answer {
    let (told, end) = oneshot::channel();
    if desk.reloads.try_send(told).is_err() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it is stopping, or too many wait for a reload"));
    }
    match end.await {
        Ok(Some(ReloadEnd::Applied)) => Ok(snapshot(desk)),
        Ok(Some(ReloadEnd::Mistaken { report, diagnostics })) => {
            let detail = "the configuration has mistakes, and nothing has changed";
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
            Err(problem.with("diagnostics", diagnostics).with("report", report))
        }
        Ok(Some(ReloadEnd::Impossible(why))) => {
            Err(Problem::new(StatusCode::CONFLICT, format!("nothing has changed: {why}")))
        }
        Ok(None) => Err(Problem::new(StatusCode::CONFLICT, "this gateway was started without a file")),
        Err(_) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it is stopping")),
    }
}

fn why(desk: &Desk, asked: Asked) -> Answer {
    let in_force = desk.observer.in_force();
    let explained = explain_live(&in_force, asked).map_err(|failure| match failure {
        Failure::Usage(detail) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
        Failure::CannotRun(_) | Failure::Configuration(_) | Failure::Input(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, failure.render(false))
        }
    })?;
    let snapshot = SnapshotReport::in_force(in_force.number(), in_force.since());
    Ok(json(StatusCode::OK, &Report::of(&explained).by(snapshot)))
}

#[expect(clippy::disallowed_methods, reason = "it is capped")]
async fn body(request: Request<Incoming>) -> Result<Bytes, Problem> {
    let reading = Limited::new(request.into_body(), LONGEST_BODY).collect();
    match timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("a body has at most {LONGEST_BODY} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Ok(Err(_)) => Err(bad("the body ended early")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the body is not what is expected: {error}")))
}

pub(super) fn number(name: &str, value: &str, most: usize) -> Result<usize, Problem> {
    let number = value.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| bad(format!("`{name}` is a number up to {most}")))
}

pub(super) fn unknown(name: &str, known: &str) -> Problem {
    bad(format!("there is no parameter {name:?}; there are {known}"))
}

pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_description_is_of_all_that_can_be_asked_and_of_nothing_else() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .filter(|(path, _)| has(path))
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (path, method)))
            .filter(|(_, method)| *method != "parameters")
            .map(|(path, method)| (path.clone(), method.clone()))
            .collect();
        let served: BTreeSet<(String, String)> =
            ROUTES.iter().map(|(path, method, _)| ((*path).to_owned(), method.as_str().to_lowercase())).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn a_path_asks_one_thing_by_its_method() {
        let found = |method: &Method, path: &str| find(method, path).map_err(|response| response.status().as_u16());
        assert_eq!(found(&Method::HEAD, "/v1/decisions"), Ok(Operation::Decisions));
        assert_eq!(found(&Method::GET, "/v1/decisions/0a"), Ok(Operation::Decision("0a".to_owned())));
        assert_eq!(found(&Method::GET, "/v1/decisions/"), Err(404));
        assert_eq!(found(&Method::GET, "/v1/decisions/a/b"), Err(404));
        assert_eq!(found(&Method::GET, "/v1/reload"), Err(405));
        assert_eq!(found(&Method::POST, "/v1/snapshot"), Err(405));
    }
}
