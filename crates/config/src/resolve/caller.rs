//! `[caller.…]`.

use std::sync::Arc;

use crate::collections::Boxed;
use crate::decode::{Field, Given};
use crate::file::{AccessKeyTable, CallerTable};
use crate::model::{AccessKey, Caller, CallerArn};
use crate::reading::Reading;
use crate::resolve::addresses::Sets;
use crate::resolve::credentials::Credentials;
use crate::resolve::names::{Known, Namespace};
use crate::resolve::policy::Documents;
use crate::resolve::secret::secret;
use crate::resolve::{budget, entry, plan, signed, token};
use crate::source::Span;
use crate::text::{Name, quoted};
use crate::value::Discreet;

/// What callers refer to by name.
pub(super) struct Context<'a> {
    pub(super) plans: &'a Known<plan::Written>,
    pub(super) sets: &'a Sets,
    pub(super) policies: &'a Documents,
}

/// Resolves every caller.
pub(super) fn callers(
    callers: Namespace<Name, Boxed<CallerTable>>,
    context: &Context<'_>,
    reading: &mut Reading,
) -> Known<Arc<Caller>> {
    let mut credentials = Credentials::default();
    callers.resolve(|name, span, table| caller(name, span, &table, context, &mut credentials, reading).map(Arc::new))
}

fn caller(
    name: Name,
    span: Span,
    table: &CallerTable,
    context: &Context<'_>,
    credentials: &mut Credentials,
    reading: &mut Reading,
) -> Option<Caller> {
    credentials.check_keys(&table.keys, reading);
    credentials.check_access_keys(&table.sigv4, reading);
    credentials.check_token(&table.jwt, reading);
    let plan = match &table.plan {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(plan) => context.plans.look_up(&plan.value.0, plan.span, reading).map(|plan| Some(plan.plan)),
    };
    let from = match &table.from {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(from) => entry::entries(&from.value, context.sets, reading).map(|from| Some(from.into())),
    };
    let access_keys = access_keys(table, reading);
    let token = match &table.jwt {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(jwt) => token::subject(&jwt.value.0, reading).map(|token| Some(Box::new(token))),
    };
    let signed = match &table.signed {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(signed) => signed::signed(&signed.value, signed.key, reading).map(Some),
    };
    let policy = match &table.policy {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(policy) => context.policies.identity(policy, reading).map(Some),
    };
    let budget = match &table.budget {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(budget) => budget::budget(&budget.value, budget.key, reading).map(|budget| Some(Box::new(budget))),
    };
    let arn = arn(&table.arn, &name, span, context.policies, reading);
    check_proof(table, span, reading);
    Some(Caller {
        name: name.0,
        plan: plan?,
        from: from?,
        keys: keys(table)?,
        access_keys: access_keys?,
        token: token?,
        signed: signed?,
        policy: policy?,
        arn: arn?,
        parallel: table.parallel.value().map(|parallel| parallel.0),
        budget: budget?,
        place: reading.place(span),
    })
}

/// Reports a caller that can prove nothing.
fn check_proof(table: &CallerTable, span: Span, reading: &mut Reading) {
    let CallerTable { keys, sigv4, jwt, signed, unknown, .. } = table;
    if keys.is_absent() && sigv4.is_absent() && jwt.is_absent() && signed.is_absent() && unknown.is_empty() {
        let error = reading.error(span, "this caller has nothing to prove who it is by");
        let help = "give it `keys = [\"sha256:…\"]` (`gatepost key new NAME` makes one), `sigv4`, `jwt` or `signed`";
        reading.report(error.with_help(help));
    }
}

fn keys(table: &CallerTable) -> Option<Box<[crate::model::KeyHash]>> {
    match &table.keys {
        Field::Absent => Some(Box::default()),
        Field::Broken => None,
        Field::Given(keys) => (!keys.value.broken).then(|| keys.value.values().map(|key| key.0).collect()),
    }
}

fn access_keys(table: &CallerTable, reading: &mut Reading) -> Option<Box<[AccessKey]>> {
    let list = match &table.sigv4 {
        Field::Absent => return Some(Box::default()),
        Field::Broken => return None,
        Field::Given(list) => &list.value,
    };
    let read = |Discreet(table): &Discreet<AccessKeyTable>| access_key(table, reading);
    let keys: Vec<Option<AccessKey>> = list.values().map(read).collect();
    if list.broken { None } else { keys.into_iter().collect() }
}

fn access_key(table: &AccessKeyTable, reading: &mut Reading) -> Option<AccessKey> {
    let secret_key = table.secret.given().and_then(|reference| secret(reference, reading));
    let token = match &table.token {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(reference) => secret(reference, reading).map(Some),
    };
    let id = table.access_key.given()?;
    if id.value.0.starts_with("ASIA") && table.token.is_absent() && table.unknown.is_empty() {
        let error = reading.error(id.span, "credentials that begin with `ASIA` are temporary and come with a token");
        reading.report(error.with_help("add `token = \"env:NAME\"`"));
        return None;
    }
    Some(AccessKey { id: id.value.0.clone(), secret: secret_key?, token: token? })
}

/// What policies call the caller.
fn arn(
    field: &Field<crate::text::Arn>,
    name: &Name,
    span: Span,
    policies: &Documents,
    reading: &mut Reading,
) -> Option<CallerArn> {
    match field {
        Field::Broken => None,
        Field::Given(Given { value, .. }) => Some(value.0.clone()),
        Field::Absent => {
            let text = policies.user(&name.0);
            let arn = CallerArn::new(&text);
            if arn.is_err() {
                let error = reading.error(span, format!("{} is not the ARN of a caller", quoted(&text)));
                reading.report(error.with_help("give it an `arn`"));
            }
            arn.ok()
        }
    }
}
