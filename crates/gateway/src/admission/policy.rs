//! Whether policies allow a request.
//!
//! Every document that applies must allow it, and a Deny of any of them is final. For a route without an authorizer that
//! is also what API Gateway does with the one document that it knows of (developer guide,
//! apigateway-authorization-flow); a second document, a route's own, counts as another resource policy.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use gatepost_config::model::{Compat, PolicyDocument};
use gatepost_iam::{Context, Decision, Key, Principal, Request, Resource, Value, Values, Verdict, all_must_allow};
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::rejection::{Denial, Rejection};
use crate::request::Facts;
use crate::snapshot::{ApiNames, Route, below_base};
use crate::trace::{Note, Said, Trace};

/// Asks each document. Nobody is known by name yet, so everybody is anonymous.
///
/// # Errors
/// One denies, or does not allow. What is denied explicitly is told before what merely nobody allows.
pub(super) fn allow(
    facts: &Facts<'_>,
    route: &Route,
    documents: &[Arc<PolicyDocument>],
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let arn = RequestArn::of(facts, &route.api);
    // What a GET route does for HEAD is what it does for GET: who is denied the one is denied the other.
    let as_get = (*facts.method == Method::HEAD && !route.names(&Method::HEAD)).then(|| arn.as_get());
    if route.api.compat == Some(Compat::AwsRest) && arn.length() > LONGEST_ARN {
        trace.note(|| Note::ArnTooLong);
        return Err(Rejection::ArnTooLong);
    }
    let circumstances = Circumstances::of(facts);
    let (tail, tail_as_get) = (arn.tail(), as_get.as_ref().map(RequestArn::tail));
    let request_for = |tail| Request {
        action: "execute-api:Invoke",
        resource: Resource {
            partition: PARTITION,
            service: SERVICE,
            region: &route.api.region,
            account: &route.api.account,
            tail,
        },
        principal: Principal::Anonymous,
        context: &circumstances,
    };
    let request = request_for(&tail[..]);
    let decisions = documents.iter().zip(0..).map(|(document, index)| {
        let decision = match (document.policy.decide(&request), &tail_as_get) {
            (decision, Some(tail)) if !decision.is_explicitly_denied() => {
                let as_get = document.policy.decide(&request_for(tail));
                if as_get.is_explicitly_denied() { as_get } else { decision }
            }
            (decision, _) => decision,
        };
        trace.note(|| Note::Policy { index, said: Said::of(decision) });
        if decision == Decision::ImplicitlyDenied
            && let Some(near) = document.policy.near_miss(&request)
        {
            trace.note(|| Note::NearMiss(Box::new(near)));
        }
        (document, decision)
    });
    let (by, statement) = match all_must_allow(decisions) {
        None | Some(Verdict::Allowed { .. }) => return Ok(()),
        Some(Verdict::ImplicitlyDenied { by }) => (by, None),
        Some(Verdict::ExplicitlyDenied { by, statement }) => (by, Some(statement)),
    };
    Err(Rejection::PolicyDenied(Denial::By { document: Arc::clone(by), statement }))
}

impl Said {
    fn of(decision: Decision) -> Self {
        // A document has less than a million statements: it would not fit into a file that is read.
        let number = |statement: usize| u32::try_from(statement).unwrap_or(u32::MAX);
        match decision {
            Decision::Allowed { statement } => Self::Allows(number(statement)),
            Decision::ExplicitlyDenied { statement } => Self::Denies(number(statement)),
            Decision::ImplicitlyDenied => Self::Nothing,
        }
    }
}

const PARTITION: &str = "aws";

const SERVICE: &str = "execute-api";

/// The longest ARN that API Gateway authorizes, in bytes (developer guide, limits).
const LONGEST_ARN: usize = 1600;

/// What a request asks for: `arn:aws:execute-api:region:account:api/stage/METHOD/path`.
///
/// The path is the one that routes and backends see, without the API's base path, and not decoded: `%2F` is no slash.
pub(crate) struct RequestArn<'r> {
    api: &'r ApiNames,
    method: Cow<'r, str>,
    /// With its slash.
    path: &'r str,
}

impl<'r> RequestArn<'r> {
    pub(crate) fn of(facts: &'r Facts<'_>, api: &'r ApiNames) -> Self {
        let path = below_base(&api.base, &facts.path).unwrap_or(&facts.path);
        Self { api, method: in_capitals(facts.method), path }
    }

    /// The same for GET.
    fn as_get(&self) -> Self {
        Self { method: Cow::Borrowed("GET"), ..*self }
    }

    /// What follows the fifth colon, in pieces.
    fn tail(&self) -> [&str; 6] {
        [&self.api.id, "/", &self.api.stage, "/", &self.method, self.path]
    }

    fn length(&self) -> usize {
        let parts = ["arn", PARTITION, SERVICE, &self.api.region, &self.api.account];
        let before: usize = parts.iter().map(|part| part.len() + 1).sum();
        before + self.tail().iter().map(|piece| piece.len()).sum::<usize>()
    }

    /// As text, with all but the last four digits of the account masked, as API Gateway shows it to callers.
    pub(crate) fn masked(&self) -> String {
        let account = &self.api.account;
        let shown = account.get(account.len().saturating_sub(4)..).unwrap_or_default();
        let tail = self.tail().concat();
        format!("arn:{PARTITION}:{SERVICE}:{}:********{shown}:{tail}", self.api.region)
    }
}

/// A method that is spelled otherwise is another one to HTTP, and the same to many a backend: a Deny covers it.
fn in_capitals(method: &Method) -> Cow<'_, str> {
    let text = method.as_str();
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) { text.to_ascii_uppercase().into() } else { text.into() }
}

/// What a gateway knows of a request, by the names of AWS's global condition keys (API Gateway developer guide,
/// apigateway-resource-policies-aws-condition-keys). What it does not know is absent.
struct Circumstances<'r> {
    client: IpAddr,
    is_secure: bool,
    /// The endpoint and the network that the request came through.
    private: Option<(Option<&'r str>, Option<&'r str>)>,
    now: SystemTime,
    user_agent: Header<'r>,
    referer: Header<'r>,
}

impl<'r> Circumstances<'r> {
    fn of(facts: &Facts<'r>) -> Self {
        Self {
            client: facts.client,
            is_secure: facts.is_secure,
            private: facts.private.map(|private| (private.endpoint.as_deref(), private.network.as_deref())),
            now: SystemTime::now(),
            user_agent: Header::of(facts.headers, USER_AGENT),
            referer: Header::of(facts.headers, REFERER),
        }
    }
}

impl Context for Circumstances<'_> {
    fn value(&self, key: &Key) -> Values<'_> {
        match key {
            Key::CurrentTime => Values::One(Value::Time(self.now)),
            Key::EpochTime => Values::One(Value::Number(epoch_seconds(self.now))),
            Key::SourceIp if self.private.is_none() => Values::One(Value::Address(self.client)),
            Key::VpcSourceIp if self.private.is_some() => Values::One(Value::Address(self.client)),
            Key::SourceVpce => text(self.private.and_then(|(endpoint, _)| endpoint)),
            Key::SourceVpc => text(self.private.and_then(|(_, network)| network)),
            Key::SecureTransport => Values::One(Value::Bool(self.is_secure)),
            Key::UserAgent => text(self.user_agent.text()),
            Key::Referer => text(self.referer.text()),
            Key::PrincipalType => Values::One(Value::Text("Anonymous")),
            Key::SourceIp
            | Key::VpcSourceIp
            | Key::SourceArn
            | Key::PrincipalArn
            | Key::PrincipalAccount
            | Key::PrincipalOrgId
            | Key::PrincipalOrgPaths
            | Key::PrincipalTag(_)
            | Key::UserId
            | Key::UserName
            | Key::TokenIssueTime
            | Key::MultiFactorAuthPresent
            | Key::MultiFactorAuthAge
            | Key::Other(_) => Values::Absent,
        }
    }
}

fn text(text: Option<&str>) -> Values<'_> {
    text.map_or(Values::Absent, |text| Values::One(Value::Text(text)))
}

/// Whole ones, as AWS counts.
fn epoch_seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// A header as one text, read only if a policy asks for it.
struct Header<'r> {
    headers: &'r HeaderMap,
    name: HeaderName,
    joined: OnceCell<String>,
}

impl<'r> Header<'r> {
    fn of(headers: &'r HeaderMap, name: HeaderName) -> Self {
        Self { headers, name, joined: OnceCell::new() }
    }

    /// Several fields are one list (RFC 9110, 5.3), so that none of them hides another; and a field that was sent is
    /// never absent, whatever its bytes, so that no policy takes it for one that was not.
    fn text(&self) -> Option<&str> {
        let mut fields = self.headers.get_all(&self.name).iter();
        let first = fields.next()?;
        if fields.next().is_none()
            && let Ok(text) = str::from_utf8(first.as_bytes())
        {
            return Some(text);
        }
        Some(self.joined.get_or_init(|| {
            let fields = self.headers.get_all(&self.name).iter().map(HeaderValue::as_bytes);
            fields.map(String::from_utf8_lossy).collect::<Vec<_>>().join(", ")
        }))
    }
}

#[cfg(test)]
mod tests;
