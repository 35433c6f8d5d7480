//! What was decided, told with the rules that decided it and the places where they were written.

mod addresses;
mod identity;
mod limits;

use std::cmp::Reverse;
use std::fmt::Write;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use gatepost_config::model::{self, Action, HostPattern, Model, Rate, Scheme, ThrottleBy};
use gatepost_config::{Place, Secret};
use gatepost_net::Stop;
use gatepost_ranges::Feeds;
use http::{HeaderMap, Response, StatusCode};
use ipnet::IpNet;

use crate::compile::host_text;
use crate::explain::{Check, ExplainError, Explanation, Gateway, Rule, Step, Verdict};
use crate::rejection::{Reason, Rejection};
use crate::router::Router;
use crate::signature::Flaw;
use crate::snapshot::{HostMatch, RouteNumber, below_base};
use crate::trace::{Note, Said};

/// Reads notes against the model that they come from.
pub(super) struct Teller<'m> {
    pub(super) model: &'m Model,
    pub(super) listener: &'m model::Listener,
    pub(super) client: IpAddr,
    pub(super) gateway: Gateway,
    /// What address sets that are fetched hold; absent: what they held then is not known any more.
    pub(super) feeds: Option<&'m Feeds>,
    /// As routing saw it, if it came to that.
    pub(super) host: &'m str,
    /// The path in the one form, perhaps cut.
    pub(super) path: &'m str,
}

/// What it came to.
#[derive(Clone, Copy)]
pub(super) enum End<'r> {
    /// It is let in.
    Admitted(RouteNumber),
    /// The client is sent to `https`.
    Elsewhere,
    /// It is no HTTP.
    Unreadable(&'static str),
    /// It is refused; with the answer where its API answers in words of its own.
    Rejected(&'r Rejection, Option<&'r Response<Bytes>>),
    /// It was let in, and failed.
    Failed(&'r Rejection, Option<&'r Response<Bytes>>),
}

/// A route as it was written.
#[derive(Clone, Copy)]
struct Written<'m> {
    api: &'m model::Api,
    route: &'m model::Route,
}

impl<'m> Teller<'m> {
    /// The whole explanation.
    pub(super) fn tell(&self, notes: &[Note], end: End<'_>) -> Result<Explanation, ExplainError> {
        let listener = Rule::new(&*self.listener.name, &self.listener.place);
        let mut steps = vec![Step::pass(Check::Listener, &*self.listener.name).by(vec![listener])];
        let mut written = None;
        for note in notes {
            if let Note::Route(route) = note {
                written = Some(self.written(*route)?);
            }
            self.take(note, written, &mut steps)?;
        }
        let verdict = match end {
            End::Admitted(route) => {
                steps.push(action(self.written(route)?.route));
                Verdict::Admitted
            }
            // Its step says so already.
            End::Elsewhere => Verdict::Admitted,
            End::Unreadable(why) => {
                steps.push(Step::refuse(Check::Request, why));
                unreadable(why)
            }
            End::Rejected(rejection, answer) => {
                if matches!(rejection, Rejection::Throttled(_)) {
                    last_token_gone(&mut steps);
                }
                tell_flaw(rejection, &mut steps);
                steps.extend(written.and_then(|written| written.unproven(rejection, &steps)));
                verdict(rejection, answer)
            }
            End::Failed(rejection, answer) => {
                let route =
                    written.ok_or_else(|| ExplainError::contradiction("a request is let in without a route"))?;
                let Step { check, text, rules, .. } = action(route.route);
                steps.push(Step::refuse(check, format!("{text}: {rejection}")).by(rules));
                verdict(rejection, answer)
            }
        };
        let refuses = steps.iter().any(|step| !step.passed);
        if refuses == matches!(verdict, Verdict::Admitted) {
            return Err(ExplainError::contradiction("the steps and the verdict disagree"));
        }
        Ok(Explanation { steps, verdict })
    }

    fn take(&self, note: &Note, written: Option<Written<'m>>, steps: &mut Vec<Step>) -> Result<(), ExplainError> {
        let written = || written.ok_or_else(|| ExplainError::contradiction("a request is judged without a route"));
        steps.push(match note.clone() {
            Note::Sender { address, source, believed } => self.sender(address, source, believed)?,
            Note::LastSender(stop) => {
                if let (Some(last), true) = (steps.last_mut(), stop != Stop::NotBelieved) {
                    last.text += &format!("; {stop}");
                }
                return Ok(());
            }
            Note::SenderUnknown { set } => self.sender_unknown(&set)?,
            Note::Read => Step::pass(Check::Request, format!("host {}, path {}", self.host, self.path)),
            Note::Malformed(malformed) => Step::refuse(Check::Request, malformed.to_string()),
            Note::Misdirected => {
                Step::refuse(Check::Request, "the host is none that the connection's certificate stands for")
            }
            Note::ToHttps(status) => {
                let rule = Rule::new(&*self.listener.name, &self.listener.place);
                Step::pass(Check::Redirect, format!("to https with {}", status.as_u16())).by(vec![rule])
            }
            Note::Api { number, host } => self.api(number, host)?,
            Note::NoApi { host } => self.no_api(host),
            Note::Route(route) => {
                let written = self.written(route)?;
                Step::pass(Check::Route, &*written.route.key).by(vec![written.rule()])
            }
            Note::NoPath => Step::refuse(Check::Route, "no route of the API has this path"),
            Note::NoMethod => self.no_method(steps)?,
            Note::Open => {
                let rule = Rule::new("open", &written()?.route.places.entry);
                Step::pass(Check::Open, "everyone may enter").by(vec![rule])
            }
            Note::From { listed } => self.from(written()?, listed)?,
            Note::Except { listed } => self.except(written()?, listed)?,
            Note::ArnTooLong => written()?.arn_too_long()?,
            Note::Policy { index, said } => written()?.policy(index, said)?,
            Note::NearMiss(near) => return self.add_near_miss(written()?, &near, steps.last_mut()),
            Note::PolicyLacking => {
                let text = "the API has no policy, and only one of its own lets in callers of another account";
                Step::refuse(Check::Policy, text).by(vec![Rule::new("api", &written()?.api.place)])
            }
            Note::CallerPolicy { caller, said } => self.caller_policy(caller, said)?,
            Note::Proof { kind, caller } => self.proof(kind, caller, "")?,
            Note::Assumed { kind, caller } => self.proof(kind, caller, ", taken to be given")?,
            Note::Claimed { kind, caller } => self.proof(kind, caller, ": taken to be good, the body decides")?,
            Note::Signers => Step::pass(Check::Credentials, "signed: the body decides by which caller"),
            Note::ProofMissing(kinds) => self.proof_missing(written()?, kinds),
            Note::BadProof(kind) => {
                Step::refuse(Check::Credentials, kind.name()).by(identity::rules_of_credentials(written()?))
            }
            Note::ProofsDisagree { kind, caller } => self.proofs_disagree(kind, caller)?,
            Note::CallerFrom { caller, listed } => self.caller_from(caller, listed)?,
            Note::Caller { caller, proofs, listed } => self.caller_listed(written()?, caller, proofs, listed)?,
            Note::Token(flaw) => written()?.token(flaw)?,
            Note::TokenAssumed => written()?.token_assumed()?,
            Note::Signed(flaw) => written()?.signed(flaw)?,
            Note::Length { told } => written()?.max_body(told),
            Note::CallerParallel { caller, under_way } => self.caller_parallel(caller, under_way)?,
            Note::PlanBucket { caller, of_route, left } => self.plan_bucket(written()?, caller, of_route, left)?,
            Note::Account { of, found } => self.account(written()?, of, found)?,
            Note::Parallel { under_way } => written()?.parallel(under_way),
            Note::Bucket { by, index, left } => written()?.bucket(by, index, left)?,
        });
        Ok(())
    }

    fn written(&self, number: RouteNumber) -> Result<Written<'m>, ExplainError> {
        let api = self.api_at(number.api)?;
        let route = api.routes.get(number.route as usize);
        let route = route.ok_or_else(|| ExplainError::contradiction("a route was never written"))?;
        Ok(Written { api, route })
    }

    fn api_at(&self, number: u32) -> Result<&'m model::Api, ExplainError> {
        let api = self.model.apis.get(number as usize);
        api.ok_or_else(|| ExplainError::contradiction("an API was never written"))
    }

    fn api(&self, number: u32, host: HostMatch) -> Result<Step, ExplainError> {
        let api = self.api_at(number)?;
        let mut text = format!("{}, {}", api.name, self.for_host(host));
        if !api.base.is_empty() {
            text += &format!(", below {}", api.base);
        }
        Ok(Step::pass(Check::Api, text).by(vec![Rule::new(&*api.name, &api.place)]))
    }

    fn no_api(&self, host: HostMatch) -> Step {
        let suffix = self.suffix(host);
        let is_matched = |pattern: &HostPattern| match (host, pattern) {
            (HostMatch::Exact, HostPattern::Exact(name)) => **name == *self.host,
            (HostMatch::Below(_), HostPattern::Below(name)) => suffix.strip_prefix('.') == Some(name),
            _ => false,
        };
        let answers = |api: &&model::Api| {
            let for_host = if host == HostMatch::Any { api.hosts.is_empty() } else { api.hosts.iter().any(is_matched) };
            for_host && api.listeners.contains(&self.listener.name)
        };
        let mut bases: Vec<&str> = self.model.apis.iter().filter(answers).map(|api| &*api.base).collect();
        bases.sort_by_key(|base| Reverse(base.len()));
        if bases.is_empty() {
            return Step::refuse(Check::Api, "none on this listener answers for this host");
        }
        Step::refuse(Check::Api, format!("those {} answer below {} only", self.for_host(host), bases.join(" and ")))
    }

    fn suffix(&self, host: HostMatch) -> &'m str {
        match host {
            HostMatch::Below(length) => {
                let start = self.host.len().saturating_sub(length.into());
                self.host.get(start..).unwrap_or_default()
            }
            HostMatch::Exact | HostMatch::Any => "",
        }
    }

    fn for_host(&self, host: HostMatch) -> String {
        match host {
            HostMatch::Exact => "for this host".to_owned(),
            HostMatch::Below(_) => format!("for the hosts *{}", self.suffix(host)),
            HostMatch::Any => "for any host".to_owned(),
        }
    }

    /// The routes that have the path, found as routing finds them, but without looking at methods. Of a path that was cut
    /// none may be found.
    fn no_method(&self, steps: &[Step]) -> Result<Step, ExplainError> {
        let chosen = steps.iter().rev().find(|step| step.check == Check::Api).and_then(|step| step.rules.first());
        let api = self.model.apis.iter().find(|api| chosen.is_some_and(|rule| rule.place == api.place));
        let api = api.ok_or_else(|| ExplainError::contradiction("a route was looked for in no API"))?;
        let router = Router::new(api.routes.iter().map(|route| (&route.matcher, route)));
        let routes = below_base(&api.base, self.path).map(|rest| router.on_path(rest)).unwrap_or_default();
        let mut rules: Vec<Rule> = routes.into_iter().map(|route| Written { api, route }.rule()).collect();
        // A route of several methods stands there once for each.
        rules.dedup();
        let text = format!("the path is known with other methods only: {}", names(&rules));
        Ok(Step::refuse(Check::Route, text).by(rules))
    }
}

impl Written<'_> {
    fn rule(&self) -> Rule {
        Rule::new(&*self.route.key, &self.route.place)
    }

    fn rule_of_addresses(&self) -> Result<&model::AddressRule, ExplainError> {
        let rule = self.route.entry.rules().and_then(|rules| rules.from.as_ref());
        rule.ok_or_else(|| ExplainError::contradiction("a route without `from` was asked for its addresses"))
    }

    fn document(&self, index: u32) -> Result<&model::PolicyDocument, ExplainError> {
        let document = self.route.entry.rules().and_then(|rules| rules.policies.get(index as usize));
        document.map(|document| &**document).ok_or_else(|| ExplainError::contradiction("a policy was never written"))
    }

    fn arn_too_long(&self) -> Result<Step, ExplainError> {
        // Without one of the route's it was a caller's that was to be asked.
        let rules = self.document(0).map(|document| vec![Rule::new("policy", &document.place)]);
        Ok(Step::refuse(Check::Policy, "its ARN is longer than API Gateway authorizes").by(rules.unwrap_or_default()))
    }

    /// What the policy with this index says, among those that apply: the API's, then the route's.
    fn policy(&self, index: u32, said: Said) -> Result<Step, ExplainError> {
        policy_says(self.document(index)?, said)
    }

    fn rule_of_signatures(&self) -> Result<&model::Signed, ExplainError> {
        let signed = self.route.entry.rules().and_then(|rules| rules.signed.as_deref());
        signed.ok_or_else(|| ExplainError::contradiction("a route without `signed` was asked for its secrets"))
    }

    /// Of the secrets only where they are.
    fn signed(&self, flaw: Option<Flaw>) -> Result<Step, ExplainError> {
        let signed = self.rule_of_signatures()?;
        let sources: Vec<&str> = signed.secrets.iter().map(Secret::source).collect();
        let asked = format!("{}, with {}", scheme_text(&signed.scheme), sources.join(" or "));
        let step = match flaw {
            None => Step::pass(Check::Signed, format!("{asked}: taken to be good, the body decides")),
            Some(flaw) => Step::refuse(Check::Signed, format!("{asked}: {flaw}")),
        };
        Ok(step.by(vec![Rule::new("signed", &signed.place)]))
    }

    /// The step that a request was refused by when its head had passed everything, and its body was not what it claims,
    /// did not come, or came before.
    fn unproven(&self, rejection: &Rejection, steps: &[Step]) -> Option<Step> {
        let asks_who = self.route.entry.rules().and_then(|rules| rules.callers.as_ref());
        let is_told = steps.last().is_some_and(|step| !step.passed && step.check == Check::Credentials);
        if let (Rejection::BadCredentials(bad), Some(rule), false) = (rejection, asks_who, is_told) {
            let step = Step::refuse(Check::Credentials, format!("the body: {bad}"));
            return Some(step.by(vec![Rule::new("callers", &rule.place)]));
        }
        let is_about_the_body = matches!(
            rejection,
            Rejection::BadSignature(_)
                | Rejection::Replayed
                | Rejection::DeliveriesFull
                | Rejection::SpoolFull(_)
                | Rejection::BodyTooLarge
                | Rejection::BodyStalled
                | Rejection::BodyBroken
        );
        if !is_about_the_body {
            return None;
        }
        let passed = steps.iter().all(|step| step.passed);
        let (check, rule) = match (self.rule_of_signatures(), asks_who) {
            (Ok(signed), _) => (Check::Signed, Rule::new("signed", &signed.place)),
            (Err(_), Some(rule)) => (Check::Credentials, Rule::new("callers", &rule.place)),
            (Err(_), None) => return None,
        };
        passed.then(|| Step::refuse(check, format!("the body: {rejection}")).by(vec![rule]))
    }

    fn max_body(&self, told: Option<u64>) -> Step {
        let most = self.route.max_body;
        let (rule, from) = match &self.route.places.max_body {
            Some(place) => (Rule::new("max_body", place), ""),
            None => (self.rule(), ", the default"),
        };
        let text = match told {
            Some(0) => format!("no body, at most {most} bytes{from}"),
            Some(length) => format!("{length} bytes, at most {most}{from}"),
            None => format!("of unknown length, cut after {most} bytes{from}"),
        };
        let passed = told.is_none_or(|length| length <= most);
        Step { passed, ..Step::pass(Check::MaxBody, text).by(vec![rule]) }
    }

    fn parallel(&self, under_way: usize) -> Step {
        let cap = self.route.parallel.map_or(usize::MAX, NonZeroUsize::get);
        let place = self.route.places.parallel.as_ref().unwrap_or(&self.route.place);
        let step = Step::pass(Check::Parallel, format!("{under_way} of {cap} under way"));
        Step { passed: under_way < cap, ..step.by(vec![Rule::new("parallel", place)]) }
    }

    /// The buckets of a kind are those of the route's own throttles, then those of its API's.
    fn bucket(&self, by: ThrottleBy, index: u32, left: u32) -> Result<Step, ExplainError> {
        let own = self.route.throttles.iter().zip(&self.route.places.throttles).map(|written| (written, ""));
        let shared = self.api.throttles.iter().zip(&self.api.throttle_places).map(|written| (written, "of the API, "));
        let mut buckets = own.chain(shared).filter(|((throttle, _), _)| throttle.by == by);
        let missing = || ExplainError::contradiction("a bucket was never written");
        let ((throttle, place), whose) = buckets.nth(index as usize).ok_or_else(missing)?;
        let each = match by {
            ThrottleBy::Everyone => "",
            ThrottleBy::Client => "each client ",
            ThrottleBy::Caller => "each caller ",
        };
        let text = format!("{whose}{each}{}: {left} of {} tokens left", rate_text(throttle.rate), throttle.burst);
        let step = Step::pass(Check::Throttle, text).by(vec![Rule::new("throttle", place)]);
        Ok(Step { passed: left > 0, ..step })
    }
}

impl Step {
    fn pass(check: Check, text: impl Into<String>) -> Self {
        Self { check, passed: true, text: text.into(), rules: Vec::new() }
    }

    fn refuse(check: Check, text: impl Into<String>) -> Self {
        Self { passed: false, ..Self::pass(check, text) }
    }

    fn by(self, rules: Vec<Rule>) -> Self {
        Self { rules, ..self }
    }
}

impl Rule {
    fn new(name: impl Into<String>, place: &Place) -> Self {
        Self { name: name.into(), network: None, age: None, place: place.clone() }
    }
}

/// What a policy says of the request.
fn policy_says(document: &model::PolicyDocument, said: Said) -> Result<Step, ExplainError> {
    let file = document.file.display();
    let (passed, does, statement) = match said {
        Said::Allows(statement) => (true, "allows it", statement),
        Said::Denies(statement) => (false, "denies it", statement),
        Said::Nothing | Said::Abstains => {
            let passed = said == Said::Abstains;
            let rest = if passed { ", and none has to" } else { "" };
            let step = Step::pass(Check::Policy, format!("{file}: no statement allows it{rest}"));
            return Ok(Step { passed, ..step.by(vec![Rule::new("policy", &document.place)]) });
        }
    };
    let name = statement_name(document, statement as usize)?;
    let place = document.statements.get(statement as usize).ok_or_else(never_stated)?;
    let step = Step::pass(Check::Policy, format!("{file}: {name} {does}"));
    Ok(Step { passed, ..step.by(vec![Rule::new(name, place)]) })
}

/// Adds to the step that credentials were refused by what the owner is told of them.
fn tell_flaw(rejection: &Rejection, steps: &mut [Step]) {
    if let Rejection::BadCredentials(bad) = rejection
        && let Some(step) = steps.last_mut().filter(|step| step.check == Check::Credentials && !step.passed)
    {
        step.text = bad.to_string();
    }
}

fn statement_name(document: &model::PolicyDocument, number: usize) -> Result<String, ExplainError> {
    let statement = document.policy.statements().get(number).ok_or_else(never_stated)?;
    Ok(format!("statement {}", statement.name()))
}

fn never_stated() -> ExplainError {
    ExplainError::contradiction("a statement was never written")
}

/// As the key of `signed` has it, and where the signature is.
fn scheme_text(scheme: &Scheme) -> String {
    match scheme {
        Scheme::Github => "github (x-hub-signature-256)".to_owned(),
        Scheme::Stripe => "stripe (stripe-signature)".to_owned(),
        Scheme::Slack => "slack (x-slack-signature)".to_owned(),
        Scheme::StandardWebhooks => "standard-webhooks (webhook-signature)".to_owned(),
        Scheme::HmacSha256 { header, .. } => format!("hmac-sha256 ({header})"),
    }
}

/// A request to an address that was no longer listened on when it came.
pub(super) fn listener_gone(name: &str, rejection: &Rejection) -> Explanation {
    let step = Step::refuse(Check::Listener, format!("{name} is no longer listened on"));
    Explanation { steps: vec![step], verdict: verdict(rejection, None) }
}

/// Between the look at a bucket and the taking from it another request may have taken the last token.
fn last_token_gone(steps: &mut [Step]) {
    if steps.iter().all(|step| step.passed)
        && let Some(step) = steps.last_mut().filter(|step| step.check == Check::Throttle)
    {
        step.passed = false;
        step.text += ", and another request took the last one at the same moment";
    }
}

fn verdict(rejection: &Rejection, answer: Option<&Response<Bytes>>) -> Verdict {
    let answer = answer.cloned().unwrap_or_else(|| rejection.answer(HeaderMap::new()));
    let (head, body) = answer.into_parts();
    let (reason, detail) = (rejection.reason(), rejection.detail());
    Verdict::Refused { status: head.status, headers: head.headers, body, reason, detail }
}

/// What the connection says to what is no HTTP.
fn unreadable(why: &str) -> Verdict {
    Verdict::Refused {
        status: StatusCode::BAD_REQUEST,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        reason: Reason::Malformed,
        detail: Some(why.to_owned()),
    }
}

fn action(route: &model::Route) -> Step {
    let (check, text) = match &route.action {
        Action::Forward(forward) => (Check::Forward, forward_text(forward)),
        Action::Respond(respond) => {
            (Check::Respond, format!("with {} and {} bytes", respond.status.as_u16(), respond.body.len()))
        }
        Action::Redirect(redirect) => (Check::Redirect, format!("with {}", redirect.status.as_u16())),
    };
    Step::pass(check, text).by(vec![Rule::new(check.name(), &route.places.action)])
}

pub(crate) fn forward_text(forward: &model::Forward) -> String {
    let mut text = "to ".to_owned();
    if let Some(name) = &forward.upstream.name {
        text += &format!("{name}: ");
    }
    for (index, target) in forward.upstream.targets.iter().enumerate() {
        let scheme = if target.tls { "https" } else { "http" };
        let or = if index == 0 { "" } else { " or " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{or}{scheme}://{}:{}", host_text(target), target.port);
    }
    match forward.timeout {
        Some(timeout) => text + &format!(", over within {timeout:?}"),
        None => text + ", without a deadline",
    }
}

/// `office (192.0.2.0/24), 198.51.100.7`.
fn names(rules: &[Rule]) -> String {
    let name = |rule: &Rule| match &rule.network {
        Some(network) => match rule.age {
            Some(age) => format!("{} ({}, {} old)", rule.name, network_text(*network), age_text(age)),
            None => format!("{} ({})", rule.name, network_text(*network)),
        },
        None => rule.name.clone(),
    };
    rules.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// `3h`: in the greatest unit of which there is one.
fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(length, _)| seconds >= *length);
    unit.map_or_else(|| format!("{seconds}s"), |(length, unit)| format!("{}{unit}", seconds / length))
}

/// An address alone is written without its length.
pub(crate) fn network_text(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

pub(crate) fn rate_text(rate: Rate) -> String {
    const UNITS: [(u64, &str); 4] = [(1, "s"), (60, "m"), (3600, "h"), (86_400, "d")];
    let unit = UNITS.iter().find(|(seconds, _)| Duration::from_secs(*seconds) == rate.per);
    match unit {
        Some((_, unit)) => format!("{}/{unit}", rate.count),
        None => format!("{} in {:?}", rate.count, rate.per),
    }
}
