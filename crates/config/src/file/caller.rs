//! The tables of callers and plans.

use crate::choice::Period;
use crate::collections::{Boxed, List, Named};
use crate::decode::table;
use crate::number::{Burst, Parallel, QuotaLimit};
use crate::text::{
    AccessKeyId, AddressReference, Amount, Arn, Claim, FileReference, Issuer, KeyHash, Name, Rate, RouteKey, Scope,
    SecretReference,
};
use crate::value::{Discreet, Signed};

table! {
    /// How much each caller of a plan may call. At least one of `throttle`, `quota` and `routes` says it.
    PlanTable in "in a plan" {
        /// One bucket for each caller, over all routes of all APIs, but those in `routes`.
        throttle: PlanThrottleTable,

        /// How many requests each caller has in a day, a week or a month, over all routes of all APIs.
        quota: QuotaTable,

        /// Routes with a bucket of their own for each caller, instead of that of the plan, by key:
        /// `{ "POST /orders" = { rate = "5/s", burst = 5 } }`. A key stands for every route that has it,
        /// in whichever API.
        routes: Named<RouteKey, PlanThrottleTable>,
    }
}

table! {
    /// A token bucket that each caller of a plan has.
    PlanThrottleTable in "in a throttle of a plan" requires [rate] {
        /// How fast tokens come back: `"50/s"`, `"600/m"`, `"1/h"`, `"10000/d"`.
        rate: Rate,

        /// How many requests may come at once, at least 1. Default: one second's rate, at least 1.
        burst: Burst,
    }
}

table! {
    /// So many requests in each window of the calendar, in UTC.
    QuotaTable in "in `quota`" requires [limit, per] {
        /// How many requests.
        limit: QuotaLimit,

        /// In which windows: `"day"`, `"week"` (from Monday on) or `"month"`.
        per: Period,
    }
}

table! {
    /// Somebody who is known. At least one of `keys`, `sigv4`, `jwt` and `signed` says by what.
    CallerTable in "in a caller" {
        /// The plan that says how much it may call. Default: as much as routes let it.
        plan: Name,

        /// Where its proofs are good from: addresses, CIDRs, names of address sets, and built-in sets.
        /// Default: anywhere.
        from: List<AddressReference>,

        /// The SHA-256 of each of its API keys, `"sha256:…"`, as `gatepost key new NAME` prints it. Several
        /// are for while one is rotated.
        keys: List<KeyHash>,

        /// Its access keys for AWS Signature Version 4. Several are for while one is rotated.
        sigv4: List<Discreet<AccessKeyTable>>,

        /// The tokens that stand for it.
        jwt: Boxed<Discreet<TokenSubjectTable>>,

        /// How it signs the bodies of its requests: a webhook source as a caller.
        signed: Boxed<Signed>,

        /// An IAM identity policy, which says which routes it may call: `"file:policies/acme.json"`.
        /// Relative to this file, and watched. Default: whatever routes let it.
        policy: FileReference,

        /// What policies call it. Default: `"arn:aws:iam::ACCOUNT:user/NAME"`.
        arn: Arn,

        /// How many of its requests may be under way at once, 1 to 1000000; more are refused with 503.
        /// Default: no limit.
        parallel: Parallel,

        /// What its requests may cost, over all routes.
        budget: Boxed<BudgetTable>,
    }
}

table! {
    /// An access key for AWS Signature Version 4.
    AccessKeyTable in "in an access key" requires [access_key, secret] {
        /// Its id: `"AKIA…"`, 16 to 128 letters, digits and `_`.
        access_key: AccessKeyId,

        /// The secret access key: `"env:NAME"` or `"file:PATH"`.
        secret: SecretReference,

        /// The session token that temporary credentials (`"ASIA…"`) come with: `"env:NAME"` or `"file:PATH"`.
        token: SecretReference,
    }
}

table! {
    /// Tokens that stand for a caller: of an issuer, for an audience, about a subject.
    TokenSubjectTable in "in the `jwt` of a caller" requires [issuer, audience, subject] {
        /// Whose tokens: `iss`, to the byte. An `https://` URL; its keys are looked up below it.
        issuer: Issuer,

        /// For whom: `aud` (else `client_id`) is or has one of these.
        audience: List<Claim>,

        /// About whom: `sub`.
        subject: Claim,

        /// What for: `scope` or `scp` has one of these. Default: anything.
        scopes: List<Scope>,
    }
}

table! {
    /// Tokens of an issuer.
    TokenRuleTable in "in the `jwt` of a route" requires [issuer, audience] {
        /// Whose tokens: `iss`, to the byte. An `https://` URL; its keys are looked up below it.
        issuer: Issuer,

        /// For whom: `aud` (else `client_id`) is or has one of these.
        audience: List<Claim>,

        /// What for: `scope` or `scp` has one of these. Default: anything.
        scopes: List<Scope>,
    }
}

table! {
    /// What requests may cost in each window of the calendar, in UTC. When it is spent, requests are refused
    /// with 429, and answers under way are cut.
    BudgetTable in "in `budget`" requires [limit, per] {
        /// How much: `"10 USD"`, up to nine decimals and any currency of three capitals, the same in all three.
        limit: Amount,

        /// In which windows: `"day"`, `"week"` (from Monday on) or `"month"`.
        per: Period,

        /// What an admitted request costs: `"0.0001 USD"`. This or `per_gb` must be there.
        per_request: Amount,

        /// What a thousand million bytes of answers cost: `"0.09 USD"`.
        per_gb: Amount,
    }
}
