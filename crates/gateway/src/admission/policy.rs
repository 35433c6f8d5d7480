//! Whether policies allow a request.
//!
//! Every document that applies must allow it, and a Deny of any of them is final. For a route without an authorizer that
//! is also what API Gateway does with the one document that it knows of (developer guide,
//! apigateway-authorization-flow); a second document, a route's own, counts as another resource policy. Where AWS is
//! imitated, the policy of a caller who signed the request is combined with them as AWS does: within an account either
//! may allow.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use gatepost_config::model::{Compat, PolicyDocument, Private};
use gatepost_iam::{
    Authorization, Caller as From, Context, Decision, Document, Key, Principal, Request, Resource, Value, Values,
    Verdict, all_must_allow, combine,
};
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use smallvec::SmallVec;

use super::Meters;
use crate::caller::Caller;
use crate::rejection::{Denial, Rejection};
use crate::request::{Assumed, Facts, Received};
use crate::snapshot::{ApiNames, Route, below_base};
use crate::trace::{Note, Said, Trace};

/// Asks each document about a request of `caller`; absent: of nobody known.
///
/// # Errors
/// One denies, or does not allow. What is denied explicitly is told before what merely nobody allows.
pub(super) fn allow(
    facts: &Facts<'_>,
    route: &Route,
    caller: Option<&Arc<Caller>>,
    meters: Meters<'_>,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let documents = route.entry.policies();
    let own = caller.and_then(|caller| caller.written.policy.as_ref());
    let is_imitated = route.api.compat == Some(Compat::AwsRest);
    let is_foreign = caller.is_some_and(|caller| account_of(route, caller) == From::OtherAccount);
    // To AWS, whoever signs for another account is allowed nothing that no policy allows.
    if documents.is_empty() && own.is_none() && !(is_imitated && is_foreign) {
        return Ok(());
    }
    let arn = RequestArn::of(facts, &route.api);
    // What a GET route does for HEAD is what it does for GET: who is denied the one is denied the other.
    let as_get = (*facts.method == Method::HEAD && !route.names(&Method::HEAD)).then(|| arn.as_get());
    if is_imitated && arn.length() > LONGEST_ARN {
        trace.note(|| Note::ArnTooLong);
        return Err(Rejection::ArnTooLong);
    }
    let circumstances = Circumstances::of(facts, caller, meters);
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
        principal: circumstances.principal,
        context: &circumstances,
    };
    let request = request_for(&tail[..]);
    let mut said: SmallVec<[(&Arc<PolicyDocument>, Decision); 4]> = SmallVec::new();
    for document in documents.iter().chain(own) {
        let decision = match (document.policy.decide(&request), &tail_as_get) {
            (decision, Some(tail)) if !decision.is_explicitly_denied() => {
                let as_get = document.policy.decide(&request_for(tail));
                if as_get.is_explicitly_denied() { as_get } else { decision }
            }
            (decision, _) => decision,
        };
        said.push((document, decision));
        if decision.is_explicitly_denied() {
            break;
        }
    }
    let verdict = match caller {
        Some(caller) if is_imitated => combined(route, caller, documents.len(), &said),
        Some(_) | None => all_must_allow(said.iter().copied()).map(|verdict| by_document(verdict, Some)),
    };
    let is_allowed = verdict.as_ref().is_none_or(Verdict::is_allowed);
    for (index, (document, decision)) in said.iter().enumerate() {
        let said = Said::of(*decision);
        let said = if is_allowed && said == Said::Nothing { Said::Abstains } else { said };
        trace.note(|| match (u32::try_from(index), caller) {
            (_, Some(caller)) if index >= documents.len() => Note::CallerPolicy { caller: caller.number, said },
            (index, _) => Note::Policy { index: index.unwrap_or(u32::MAX), said },
        });
        if said == Said::Nothing
            && let Some(near) = document.policy.near_miss(&request)
        {
            trace.note(|| Note::NearMiss(Box::new(near)));
        }
    }
    let (by, statement) = match verdict {
        None | Some(Verdict::Allowed { .. }) => return Ok(()),
        Some(Verdict::ImplicitlyDenied { by }) => (by, None),
        Some(Verdict::ExplicitlyDenied { by, statement }) => (by, Some(statement)),
    };
    let denial = match (by, caller) {
        (None, Some(user)) => {
            trace.note(|| Note::PolicyLacking);
            Denial::Lacking { user: Arc::clone(user) }
        }
        // Without a caller a denial is always that of a document.
        (None, None) => return Ok(()),
        (Some(document), user) => Denial::By { document: Arc::clone(document), statement, user: user.cloned() },
    };
    Err(Rejection::PolicyDenied(denial))
}

/// The verdict about a caller who signed the request, as AWS has it: of the API's documents, the first so many of `said`,
/// and the caller's own. One who has none is allowed nothing by it.
fn combined<'d>(
    route: &Route,
    caller: &Caller,
    resource: usize,
    said: &[(&'d Arc<PolicyDocument>, Decision)],
) -> Option<Verdict<Option<&'d Arc<PolicyDocument>>>> {
    let (of_api, own) = said.split_at(resource.min(said.len()));
    let of_api = all_must_allow(of_api.iter().copied());
    let identity = own.first().map_or(Decision::ImplicitlyDenied, |(_, decision)| *decision);
    let authorization = Authorization::Iam { identity, caller: account_of(route, caller) };
    let verdict = combine(authorization, of_api.as_ref().map(decision_of));
    let by_api = of_api.and_then(|verdict| match verdict {
        Verdict::Allowed { by } => by.map(|(by, _)| by),
        Verdict::ImplicitlyDenied { by } | Verdict::ExplicitlyDenied { by, .. } => Some(by),
    });
    let own = own.first().map(|(document, _)| *document);
    Some(by_document(verdict, |by| match by {
        Document::Resource => by_api,
        Document::Identity => own.or(by_api),
    }))
}

/// Whose account the caller is of, as the API sees it.
fn account_of(route: &Route, caller: &Caller) -> From {
    match caller.written.arn.principal().account() {
        Some(account) if account == &*route.api.account => From::SameAccount,
        Some(_) | None => From::OtherAccount,
    }
}

fn decision_of<D>(verdict: &Verdict<D>) -> Decision {
    match verdict {
        Verdict::Allowed { by } => Decision::Allowed { statement: by.as_ref().map_or(0, |(_, statement)| *statement) },
        Verdict::ImplicitlyDenied { .. } => Decision::ImplicitlyDenied,
        Verdict::ExplicitlyDenied { statement, .. } => Decision::ExplicitlyDenied { statement: *statement },
    }
}

/// The same verdict of other names.
fn by_document<D, E>(verdict: Verdict<D>, name: impl Fn(D) -> E) -> Verdict<E> {
    match verdict {
        Verdict::Allowed { by } => Verdict::Allowed { by: by.map(|(by, statement)| (name(by), statement)) },
        Verdict::ImplicitlyDenied { by } => Verdict::ImplicitlyDenied { by: name(by) },
        Verdict::ExplicitlyDenied { by, statement } => Verdict::ExplicitlyDenied { by: name(by), statement },
    }
}

/// What policies are asked about a request whose body tells who it is from: kept meanwhile.
#[derive(Debug)]
pub(super) struct Later {
    client: IpAddr,
    is_secure: bool,
    private: Option<Private>,
    method: Method,
    host: Arc<str>,
    path: String,
    /// Those that policies look at.
    headers: HeaderMap,
}

impl Later {
    /// Nothing if no policy can apply.
    pub(super) fn of(facts: &Facts<'_>, route: &Route) -> Option<Box<Self>> {
        let have_policies = route.entry.callers().is_some_and(|rule| rule.known.have_policies);
        if route.entry.policies().is_empty() && !have_policies {
            return None;
        }
        let is_asked = |name: &HeaderName| *name == USER_AGENT || *name == REFERER;
        let headers = facts.headers.iter().filter(|(name, _)| is_asked(name));
        let mut kept = HeaderMap::new();
        for (name, value) in headers {
            kept.append(name, value.clone());
        }
        Some(Box::new(Self {
            client: facts.client,
            is_secure: facts.is_secure,
            private: facts.private.cloned(),
            method: facts.method.clone(),
            host: Arc::clone(&facts.host),
            path: facts.path.clone().into_owned(),
            headers: kept,
        }))
    }

    /// As far as policies go.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            client: self.client,
            is_secure: self.is_secure,
            private: self.private.as_ref(),
            method: &self.method,
            host: Arc::clone(&self.host),
            path: Cow::Borrowed(&self.path),
            headers: &self.headers,
            length: None,
            received: Received::default(),
            assumed: Assumed::Nobody,
            paid: &[],
        }
    }
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
    /// Whose time counts.
    meters: Meters<'r>,
    user_agent: Header<'r>,
    referer: Header<'r>,
    principal: Principal<'r>,
    /// The caller's ARN and its name; absent: it is anonymous.
    caller: Option<(&'r str, &'r str)>,
    /// What is put together of these, if a policy asks for it.
    arn: OnceCell<String>,
    user_id: OnceCell<String>,
}

impl<'r> Circumstances<'r> {
    fn of(facts: &'r Facts<'_>, caller: Option<&'r Arc<Caller>>, meters: Meters<'r>) -> Self {
        let written = caller.map(|caller| &caller.written);
        Self {
            principal: written.map_or(Principal::Anonymous, |written| written.arn.principal()),
            caller: written.map(|written| (written.arn.as_str(), &*written.name)),
            arn: OnceCell::new(),
            user_id: OnceCell::new(),
            client: facts.client,
            is_secure: facts.is_secure,
            private: facts.private.map(|private| (private.endpoint.as_deref(), private.network.as_deref())),
            meters,
            user_agent: Header::of(facts.headers, USER_AGENT),
            referer: Header::of(facts.headers, REFERER),
        }
    }
}

impl Circumstances<'_> {
    /// Of a session that of its role (IAM user guide, reference_policies_condition-keys). The path of a role is not known.
    fn principal_arn(&self) -> Option<&str> {
        let (arn, _) = self.caller?;
        match (self.principal.role_name(), self.principal.account()) {
            (Some(role), Some(account)) => {
                Some(self.arn.get_or_init(|| format!("arn:{PARTITION}:iam::{account}:role/{role}")))
            }
            (Some(_) | None, _) => Some(arn),
        }
    }

    /// The caller's name stands for the id that IAM would have made of it (reference_policies_variables).
    fn user_id(&self) -> Option<&str> {
        let (arn, name) = self.caller?;
        let last = arn.rsplit('/').next().unwrap_or_default();
        match self.principal {
            Principal::Anonymous | Principal::Service(_) => None,
            Principal::Root { account } => Some(account),
            Principal::User { .. } => Some(name),
            Principal::RoleSession { .. } => Some(self.user_id.get_or_init(|| format!("{name}:{last}"))),
            Principal::FederatedUser { account, .. } => Some(self.user_id.get_or_init(|| format!("{account}:{last}"))),
        }
    }
}

impl Context for Circumstances<'_> {
    fn value(&self, key: &Key) -> Values<'_> {
        match key {
            Key::CurrentTime => Values::One(Value::Time(self.meters.time())),
            Key::EpochTime => Values::One(Value::Number(epoch_seconds(self.meters.time()))),
            Key::SourceIp if self.private.is_none() => Values::One(Value::Address(self.client)),
            Key::VpcSourceIp if self.private.is_some() => Values::One(Value::Address(self.client)),
            Key::SourceVpce => text(self.private.and_then(|(endpoint, _)| endpoint)),
            Key::SourceVpc => text(self.private.and_then(|(_, network)| network)),
            Key::SecureTransport => Values::One(Value::Bool(self.is_secure)),
            Key::UserAgent => text(self.user_agent.text()),
            Key::Referer => text(self.referer.text()),
            Key::PrincipalType => text(self.principal.kind()),
            Key::PrincipalArn => text(self.principal_arn()),
            Key::PrincipalAccount => text(self.principal.account()),
            Key::UserName => text(self.principal.username()),
            Key::UserId => text(self.user_id()),
            Key::SourceIp
            | Key::VpcSourceIp
            | Key::SourceArn
            | Key::PrincipalOrgId
            | Key::PrincipalOrgPaths
            | Key::PrincipalTag(_)
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
