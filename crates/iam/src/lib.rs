//! AWS's policy language: documents in, decisions out.
//!
//! What it is: the documents of IAM and of API Gateway's resource policies, read strictly, compiled once, and asked for
//! every request. What it is not: a store of policies, or something that knows HTTP or a clock. No I/O; what a request
//! says of itself comes through a [`Context`], typed, and is made text only where a policy asks for text. A decision
//! allocates nothing, and takes time in proportion to the document and the request.
//!
//! - [`Policy`] is a document: [`Policy::resource`] of an API, [`Policy::identity`] of a caller. It refuses what it does
//!   not understand with a [`PolicyError`], which knows the places of all mistakes; [`Policy::lints`] tells what is
//!   allowed and hardly meant.
//! - [`Request`] is who ([`Principal`]) asks for what ([`Resource`]), and its [`Context`]: a [`Key`] has [`Values`].
//! - [`Decision`] is what one document says, with the number of the statement that made it.
//! - [`combine`] makes one [`Verdict`] of the two documents that AWS knows, [`all_must_allow`] of any number by
//!   Gatepost's own rule.
//! - [`simulate`](mod@simulate) does all of it for one line of JSON.
//!
//! ```text
//! text ─► document (JSON with places) ─► statements: principal, action, resource, conditions
//!                                           globs, ARNs, PrefixSets, decimals, Keys      ─► Decision ─► Verdict
//! ```
//!
//! ```
//! use gatepost_iam::{ApiArn, Context, Decision, Key, Policy, Principal, Request, ResourceArn, Value, Values};
//!
//! struct Caller;
//!
//! impl Context for Caller {
//!     fn value(&self, key: &Key) -> Values<'_> {
//!         if *key == Key::SourceIp { Values::One(Value::Address([192, 0, 2, 7].into())) } else { Values::Absent }
//!     }
//! }
//!
//! let api = ApiArn::new("aws", "us-east-1", "123456789012", "abc123");
//! let policy = Policy::resource(
//!     r#"{"Statement": [{
//!         "Sid": "Office", "Effect": "Allow", "Principal": "*",
//!         "Action": "execute-api:Invoke", "Resource": "execute-api:/prod/GET/*",
//!         "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
//!     }]}"#,
//!     &api,
//! )?;
//! let arn = ResourceArn::parse("arn:aws:execute-api:us-east-1:123456789012:abc123/prod/GET/pets")?;
//! let request = Request {
//!     action: "execute-api:Invoke",
//!     resource: arn.resource(),
//!     principal: Principal::Anonymous,
//!     context: &Caller,
//! };
//! assert_eq!(policy.decide(&request), Decision::Allowed { statement: 0 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: the IAM user guide (reference_policies_grammar, reference_policies_evaluation-logic,
//! reference_policies_elements_principal, reference_policies_elements_notprincipal,
//! reference_policies_elements_resource, reference_policies_elements_condition_operators,
//! reference_policies_multi-value-conditions, reference_policies_variables, reference_policies_condition-keys,
//! reference_iam-quotas) and the API Gateway developer guide (apigateway-authorization-flow,
//! apigateway-resource-policies-aws-condition-keys, api-gateway-control-access-using-iam-policies-to-invoke-api, limits).
//! Where they are silent:
//!
//! - Numbers and dates are compared exactly, as decimals with 18 places.
//! - A value of the request that cannot be read as what an operator compares is none of the values listed, so a positive
//!   operator does not hold. Under a negated one it is read to the caller's disadvantage: an Allow takes it for one of
//!   the values listed, a Deny for none of them.
//! - A key with several values under an operator without `ForAllValues` or `ForAnyValue`: a positive operator wants any of
//!   them, a negated one none.
//! - IPv4-mapped IPv6 is IPv4, in policies and in requests.
//! - `NotPrincipal` is read to the caller's disadvantage: to be spared by a Deny, all that the caller is must be listed;
//!   to be left out by an Allow, any of it.
//! - `NotResource` with a variable that the request has no value for is read to the caller's disadvantage, too: an Allow
//!   allows nothing; a Deny denies unless another entry of the list names the resource.
//! - Lists and maps without entries are refused, but `"Condition": {}`.

#![forbid(unsafe_code)]

mod action;
mod arn;
mod combine;
mod condition;
mod document;
mod error;
mod form;
mod glob;
mod key;
mod lint;
mod near;
mod number;
mod policy;
mod principal;
mod reading;
mod resource;
pub mod simulate;
mod statement;
mod time;
mod value;

pub use arn::{ApiArn, NotAnArn, Resource, ResourceArn};
pub use combine::{Authorization, Caller, Document, Verdict, all_must_allow, combine};
pub use error::{Mistake, PolicyError, Problem, ValueKind};
pub use key::Key;
pub use lint::{DeadResource, Lint, LintKind, Never, Standing};
pub use near::{NearMiss, Unmet};
pub use policy::{Decision, Policy, Request};
pub use principal::{NotAPrincipal, Principal};
pub use statement::{Effect, Statement, StatementName};
pub use value::{Context, Value, Values};
