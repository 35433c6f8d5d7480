//! Why: what would become of a request, told by what decides it.
//!
//! A gateway is compiled as for serving, without its sockets, and asked once. The functions that read, route and admit
//! requests are those of the pipeline, and tell what they decide ([`Trace`]); nothing is worked out a second time. What
//! they tell is then read against the [`Model`], which knows where each rule was written (`explain/told.rs`). If what
//! was decided and what was written ever disagree, that is said instead of an explanation.
//!
//! [`Trace`]: crate::trace::Trace

pub(crate) mod told;

pub(crate) use self::told::rate_text;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatepost_config::Place;
use gatepost_config::model::{self, Model};
use gatepost_net::Peer;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use ipnet::IpNet;
use thiserror::Error;

use crate::admission::{Entered, Meters, Times};
use crate::clock::Clock;
use crate::compat;
use crate::compile::Lasting;
use crate::decision::{Decision, Outcome};
use crate::decisions::Kept;
use crate::explain::told::{End, Teller};
use crate::host::host_name;
use crate::rejection::{Reason, Rejection};
use crate::request::{Assumed, Entrance, Facts};
use crate::snapshot::{ListenKey, Listener, Sender, Snapshot};
use crate::stats::Stats;
use crate::trace::Notes;
use crate::wall::WallClock;

/// Says what would become of a request and why, if it were the first one that a gateway with this configuration gets:
/// every meter full, nothing under way. A body counts as its declared length, and as signed as it claims to be. Address
/// sets that are fetched are what their last good copies in the state directory say; one without a copy was never loaded.
///
/// # Errors
/// There is no such listener; or the gateway contradicts its own configuration, which would be a mistake in it.
pub fn explain(model: &Model, inquiry: &Inquiry<'_>) -> Result<Explanation, ExplainError> {
    known(model, inquiry.listener)?;
    let clock = Clock::start();
    let mut lasting = Lasting::for_one_client(model);
    let snapshot = Snapshot::compile(model, None, &mut lasting, &Stats::default(), clock.now());
    // Nothing was taken from its meters, and nothing needs to be.
    let times = Times { clock, wall: WallClock::System.moment() };
    explain_by(&snapshot, model, inquiry, Meters::Observed(&times), Gateway::New)
}

/// Which gateway judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// One that nobody has asked for anything yet.
    New,
    /// One that runs.
    Running,
}

/// Says what would become of a request that is judged by `snapshot`, which was compiled from `model`, and `meters`.
pub(crate) fn explain_by(
    snapshot: &Snapshot,
    model: &Model,
    inquiry: &Inquiry<'_>,
    meters: Meters<'_>,
    gateway: Gateway,
) -> Result<Explanation, ExplainError> {
    let listener = known(model, inquiry.listener)?;
    if let Some(name) = inquiry.caller.filter(|name| snapshot.callers.named(name).is_none()) {
        return Err(ExplainError::NoCaller(name.to_owned()));
    }
    let compiled = ListenKey::of(listener).next().and_then(|key| snapshot.listeners.get(&key));
    let compiled = compiled.ok_or_else(|| ExplainError::contradiction("the listener is not among the compiled"))?;
    let mut notes = Notes::new();
    let peer = Peer { socket: inquiry.from, proxied: None };
    let Sender { client, lacking } = compiled.sender(peer, &inquiry.headers, &mut notes);
    let client = client.address;
    let mut asked = Asked::default();
    let outcome = match lacking {
        None => judge(client, inquiry, compiled, meters, &mut asked, &mut notes),
        Some(set) => Err(Rejection::AddressesUnknown { set }.into()),
    };
    let end = match &outcome {
        Ok(route) => *route,
        Err(Refusal::Unreadable(why)) => End::Unreadable(why),
        Err(Refusal::Rejected(rejection, answer)) => End::Rejected(rejection, Some(answer)),
    };
    let feeds = Some(&snapshot.feeds);
    Teller { model, listener, client, gateway, feeds, host: &asked.host, path: &asked.path }.tell(&notes, end)
}

/// Says what became of a request, and why, as it was decided then. `model` is what it was judged by.
pub(crate) fn explain_kept(model: &Model, kept: &Kept) -> Result<Explanation, ExplainError> {
    let rejection = kept.rejection.as_ref();
    let rejection = rejection.ok_or_else(|| ExplainError::contradiction("a request is refused without a rejection"))?;
    if matches!(rejection, Rejection::ListenerGone) {
        return Ok(told::listener_gone(&kept.listener, rejection));
    }
    let listener = known(model, &kept.listener)?;
    let answer = kept.answer.as_deref();
    let end = if kept.admitted { End::Failed(rejection, answer) } else { End::Rejected(rejection, answer) };
    // What the sets hold now says nothing of what they held then.
    let Kept { client, host, path, .. } = kept;
    Teller { model, listener, client: *client, gateway: Gateway::Running, feeds: None, host, path }
        .tell(&kept.notes, end)
}

fn known<'m>(model: &'m Model, name: &str) -> Result<&'m model::Listener, ExplainError> {
    let found = model.listeners.iter().find(|listener| *listener.name == *name);
    found.ok_or_else(|| ExplainError::NoListener(name.to_owned()))
}

/// A request as a client would send it, up to the end of its head.
#[derive(Debug, Clone)]
pub struct Inquiry<'i> {
    /// The peer of the connection.
    pub from: IpAddr,
    /// The name of the listener that it comes in on.
    pub listener: &'i str,
    /// The method.
    pub method: Method,
    /// The path with its query, as the request line has it.
    pub target: &'i str,
    /// The headers, `Host` among them.
    pub headers: HeaderMap,
    /// The name of the caller who is taken to have sent it, with every proof that the route asks for. What it gives in
    /// its headers is judged as it is.
    pub caller: Option<&'i str>,
}

/// What would become of a request, step by step.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What was asked, in the order in which it was, up to the refusal.
    pub steps: Vec<Step>,
    /// What came of it.
    pub verdict: Verdict,
}

/// One question that a request passed, or was refused by.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was asked.
    pub check: Check,
    /// Whether it passed.
    pub passed: bool,
    /// What was found, in words for people.
    pub text: String,
    /// What was written that made it so. None where it follows from no rule.
    pub rules: Vec<Rule>,
}

/// What is asked about a request. A closed list with stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Where it comes in.
    Listener,
    /// Who the client is: a step for each sender on the way to it, the last one is the client.
    Client,
    /// Whether the head can be read in one way only.
    Request,
    /// Which API answers.
    Api,
    /// Which route matches.
    Route,
    /// Whether everyone may enter.
    Open,
    /// Whether `from` lists the client.
    From,
    /// Whether `except` takes it out again.
    Except,
    /// What proves who it is from: a step for each proof.
    Credentials,
    /// Whether the `from` of its caller lists the client.
    CallerFrom,
    /// Who it is from, and whether `callers` lists that one.
    Callers,
    /// Whether a policy allows it.
    Policy,
    /// Whether its token is good for the route.
    Jwt,
    /// Whether the body is signed, as far as the head tells.
    Signed,
    /// Whether the body is short enough.
    MaxBody,
    /// Whether there is room among those under way.
    Parallel,
    /// Whether a bucket has a token.
    Throttle,
    /// Whether a quota has a request left.
    Quota,
    /// Whether a budget has enough left.
    Budget,
    /// That it is sent to a backend.
    Forward,
    /// That it is answered here.
    Respond,
    /// That the client is sent elsewhere.
    Redirect,
}

/// Something that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it is called: a key of the configuration, a name, or an address as it counts.
    pub name: String,
    /// Of an address set, the narrowest of its networks that holds the client; of one that is fetched, after
    /// neighbouring ones were merged.
    pub network: Option<IpNet>,
    /// Of an address set that is fetched, how long ago its copy came or was confirmed.
    pub age: Option<Duration>,
    /// Where it was written.
    pub place: Place,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is not refused, and what the last step says happens.
    Admitted,
    /// It does not.
    Refused {
        /// The status that the client sees.
        status: StatusCode,
        /// The headers that the client sees besides those of every answer and `x-gatepost-decision`.
        headers: HeaderMap,
        /// The body that the client sees.
        body: Bytes,
        /// Why, as the access log has it.
        reason: Reason,
        /// What the reason leaves open, as the access log has it.
        detail: Option<String>,
    },
}

/// Why there is no explanation.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The inquiry names a listener that is not there.
    #[error("there is no listener `{0}`")]
    NoListener(String),
    /// The inquiry names a caller that is not there.
    #[error("there is no caller `{0}`")]
    NoCaller(String),
    /// What was decided is not what was written.
    #[error("this is a mistake in gatepost, please report it: {0}")]
    Contradiction(String),
}

impl Explanation {
    /// The rules that the verdict rests on: without them it would be another. None for a request that cannot be read,
    /// and none where no rule matches.
    #[must_use]
    pub fn decided_by(&self) -> Vec<&Rule> {
        let lets_in = |step: &&Step| {
            matches!(
                step.check,
                Check::Open | Check::From | Check::Callers | Check::Jwt | Check::Policy | Check::Signed
            )
        };
        let decisive: Vec<&Step> = match self.verdict {
            // A listener that sends everyone elsewhere asks nobody in.
            Verdict::Admitted if !self.steps.iter().any(|step| lets_in(&step)) => {
                self.steps.last().into_iter().collect()
            }
            Verdict::Admitted => self.steps.iter().filter(lets_in).collect(),
            Verdict::Refused { .. } => self.steps.iter().filter(|step| !step.passed).collect(),
        };
        decisive.into_iter().flat_map(|step| &step.rules).collect()
    }
}

impl Check {
    /// Its stable name; where it is about one key of the configuration, that.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Client => "client",
            Self::Request => "request",
            Self::Api => "api",
            Self::Route => "route",
            Self::Open => "open",
            Self::From => "from",
            Self::Except => "except",
            Self::Credentials => "credentials",
            Self::CallerFrom => "caller_from",
            Self::Callers => "callers",
            Self::Policy => "policy",
            Self::Jwt => "jwt",
            Self::Signed => "signed",
            Self::MaxBody => "max_body",
            Self::Parallel => "parallel",
            Self::Throttle => "throttle",
            Self::Quota => "quota",
            Self::Budget => "budget",
            Self::Forward => "forward",
            Self::Respond => "respond",
            Self::Redirect => "redirect",
        }
    }
}

impl ExplainError {
    fn contradiction(what: impl Into<String>) -> Self {
        Self::Contradiction(what.into())
    }
}

/// Why a request was not admitted.
#[derive(Debug)]
enum Refusal {
    /// It is no HTTP: the connection answers with an empty 400 before anything else sees it.
    Unreadable(&'static str),
    /// With what the client sees.
    Rejected(Rejection, Box<Response<Bytes>>),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::rejected(rejection, None)
    }
}

impl Refusal {
    /// With the answer that an API gives in its own words.
    fn rejected(rejection: Rejection, answer: Option<Response<Bytes>>) -> Self {
        let answer = answer.unwrap_or_else(|| rejection.answer(HeaderMap::new()));
        Self::Rejected(rejection, Box::new(answer))
    }
}

/// What was asked for, once that is understood.
#[derive(Default)]
struct Asked {
    host: Arc<str>,
    path: Box<str>,
}

/// What is decided about the request, by what decides about all of them. TLS is taken to be as it should.
fn judge(
    client: IpAddr,
    inquiry: &Inquiry<'_>,
    listener: &Listener,
    meters: Meters<'_>,
    asked: &mut Asked,
    notes: &mut Notes,
) -> Result<End<'static>, Refusal> {
    let Inquiry { method, target, headers, .. } = inquiry;
    let uri: Uri = target.parse().map_err(|_| Refusal::Unreadable("the path is not one that HTTP can carry"))?;
    let length = body_length(headers)?;
    let entrance = Entrance { client, is_secure: listener.is_secure, private: listener.private.as_ref() };
    let facts = Facts::read(entrance, method, &uri, headers, length, host_name, notes).map_err(Rejection::Malformed)?;
    let facts = facts.assuming(inquiry.caller.map_or(Assumed::Nobody, Assumed::Caller));
    *asked = Asked { host: Arc::clone(&facts.host), path: facts.path.as_ref().into() };
    let Decision { route, imitates, outcome } = listener.decide(&facts, true, meters, notes);
    let end = match outcome {
        Ok(Outcome::Admitted(permit)) => Ok(Entered::Permit(permit)),
        Ok(Outcome::Candidate(candidate)) => candidate.assume_verified(meters, notes),
        Ok(Outcome::Parked(parked)) => Ok(Entered::Parked(parked)),
        Ok(Outcome::ToHttps(_)) => return Ok(End::Elsewhere),
        Err(rejection) => Err(rejection),
    };
    let number = |entered: Entered| match entered {
        Entered::Permit(permit) => permit.route().number,
        Entered::Parked(parked) => parked.route().number,
    };
    end.map(|entered| End::Admitted(number(entered))).map_err(|rejection| {
        let route = route.map(|route| &**route);
        let imitated = imitates.map(|(compat, api)| compat::Asked { api, compat, route, facts: &facts });
        let answer = imitated.map(|asked| asked.answer(&rejection));
        Refusal::rejected(rejection, answer)
    })
}

/// The length of the body as hyper finds it (RFC 9112, 6.3): a transfer coding hides it; without either there is none.
fn body_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    const BAD_CODING: Refusal = Refusal::Unreadable("`Transfer-Encoding` does not end with `chunked`");
    const BAD_LENGTH: Refusal = Refusal::Unreadable("`Content-Length` is not one number");
    if let Some(codings) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        let last = codings.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
        let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return if chunked { Ok(None) } else { Err(BAD_CODING) };
    }
    let mut told = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(BAD_LENGTH)?;
        if told.is_some_and(|earlier| earlier != length) {
            return Err(BAD_LENGTH);
        }
        told = Some(length);
    }
    Ok(Some(told.unwrap_or(0)))
}

#[cfg(test)]
mod tests;
