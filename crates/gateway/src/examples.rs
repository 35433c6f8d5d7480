//! The `example`s of a configuration, judged by the admission function that judges requests.

use gatepost_config::Diagnostic;
use gatepost_config::model::{Api, Example, Expect, HostPattern, Model, Route};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::admission::Meters;
use crate::clock::Clock;
use crate::compile::Lasting;
use crate::decision::Decision;
use crate::host::host_name;
use crate::rejection::{Rejection, never_loaded};
use crate::request::{Assumed, Entrance, Facts};
use crate::snapshot::{ListenKey, Listener, Snapshot};
use crate::stats::Stats;
use crate::trace::NoTrace;

/// What became of the examples of a configuration, but for those that came out as they expect.
#[derive(Debug, Default)]
pub struct JudgedExamples {
    /// Those that came out otherwise.
    pub failed: Vec<Diagnostic>,
    /// Those that nobody can judge yet, for the lack of an address set, one sentence each.
    pub unjudged: Vec<String>,
}

/// Every example of `model` that does not come out as it expects.
#[must_use]
pub fn failed_examples(model: &Model) -> Vec<Diagnostic> {
    judge_examples(model).failed
}

/// Judges the examples of `model`.
///
/// Meters count as full and bodies as empty. An example is judged on the first listener of its API. Address sets that are
/// fetched are what their last good copies say; what depends on one that has no copy is not judged.
#[must_use]
pub fn judge_examples(model: &Model) -> JudgedExamples {
    if model.apis.iter().flat_map(|api| &api.routes).all(|route| route.examples.is_empty()) {
        return JudgedExamples::default();
    }
    // Compiled apart from the running gateway: no meter or counter of it is touched.
    let snapshot =
        Snapshot::compile(model, None, &mut Lasting::for_one_client(model), &Stats::default(), Clock::start().now());
    let mut judged = JudgedExamples::default();
    for api in &model.apis {
        let Some(listener) = first_listener(model, api, &snapshot) else { continue };
        for route in &api.routes {
            for example in &route.examples {
                let outcome = judge(example, api, route, listener);
                if let Outcome::Refused { rejection: Rejection::AddressesUnknown { set }, .. } = &outcome {
                    judged.unjudged.push(unjudged(example, route, set));
                } else {
                    judged.failed.extend(mismatch(example, route, &outcome));
                }
            }
        }
    }
    judged
}

/// What became of an example.
enum Outcome {
    Admitted,
    Refused {
        /// What the client sees.
        status: StatusCode,
        rejection: Rejection,
    },
    /// Another route serves it.
    Elsewhere(String),
    /// It cannot be made into a request.
    Unusable(String),
}

impl Outcome {
    /// Before it came to any API.
    fn refused(rejection: Rejection) -> Self {
        Self::Refused { status: rejection.status(), rejection }
    }
}

fn first_listener<'s>(model: &Model, api: &Api, snapshot: &'s Snapshot) -> Option<&'s Listener> {
    let name = api.listeners.first()?;
    let listener = model.listeners.iter().find(|listener| listener.name == *name)?;
    let key = ListenKey::of(listener).next()?;
    snapshot.listeners.get(&key).map(|listener| &**listener)
}

fn judge(example: &Example, api: &Api, route: &Route, listener: &Listener) -> Outcome {
    let mut headers: HeaderMap = example.headers.iter().cloned().collect();
    if !headers.contains_key(HOST) {
        headers.insert(HOST, some_host(api));
    }
    let uri = match example.path.parse::<Uri>() {
        Ok(uri) => uri,
        Err(error) => return Outcome::Unusable(error.to_string()),
    };
    let entrance = Entrance { client: example.from, is_secure: listener.is_secure, private: listener.private.as_ref() };
    let facts = match Facts::read(entrance, &example.method, &uri, &headers, None, host_name, &mut NoTrace) {
        Ok(facts) => facts,
        Err(malformed) => return Outcome::refused(Rejection::Malformed(malformed)),
    };
    let facts = facts.assuming(example.caller.as_deref().map_or(Assumed::Nobody, Assumed::Caller));
    let decision = listener.decide(&facts, true, Meters::Full, &mut NoTrace);
    let seen = decision.refusal(&facts).map(|answer| answer.status());
    let Decision { route: found, outcome, .. } = decision;
    match (found, outcome) {
        (Some(found), _) if found.key != route.key || found.api.id != api.id => {
            Outcome::Elsewhere(found.key.to_string())
        }
        (_, Ok(_)) => Outcome::Admitted,
        (_, Err(rejection)) => Outcome::Refused { status: seen.unwrap_or(rejection.status()), rejection },
    }
}

/// A host that the API answers for.
fn some_host(api: &Api) -> HeaderValue {
    let host = match api.hosts.first() {
        Some(HostPattern::Exact(name)) => name.to_string(),
        Some(HostPattern::Below(name)) => format!("example.{name}"),
        None => "localhost".to_owned(),
    };
    HeaderValue::try_from(host).unwrap_or(HeaderValue::from_static("localhost"))
}

fn unjudged(example: &Example, route: &Route, set: &str) -> String {
    let place = example.place.describe();
    format!("{place}: this example of `{}` is not judged: {}", route.key, never_loaded(set))
}

fn mismatch(example: &Example, route: &Route, outcome: &Outcome) -> Option<Diagnostic> {
    let became = match (outcome, example.expect) {
        (Outcome::Admitted, Expect::Admitted) => return None,
        (Outcome::Refused { status, .. }, Expect::Refused(expected)) if *status == expected => return None,
        (Outcome::Admitted, Expect::Refused(_)) => "it is admitted".to_owned(),
        (Outcome::Refused { status, rejection }, _) => {
            format!("it is refused with {} ({})", status.as_u16(), rejection.reason().name())
        }
        (Outcome::Elsewhere(key), _) => format!("it is served by the route `{key}`"),
        (Outcome::Unusable(error), _) => format!("its path is no request target: {error}"),
    };
    let expected = match example.expect {
        Expect::Admitted => "admitted".to_owned(),
        Expect::Refused(status) => format!("refused with {}", status.as_u16()),
    };
    let message = format!("this example of `{}` should be {expected}, but {became}", route.key);
    let by = example.caller.as_ref().map(|caller| format!(" by {caller}")).unwrap_or_default();
    let request = format!("{} {} from {}{by}", example.method, example.path, example.from);
    Some(Diagnostic::error(&example.place, message).with_label(request))
}
