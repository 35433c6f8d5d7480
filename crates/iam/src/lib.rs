//! AWS's policy language: documents in, decisions out.
#![forbid(unsafe_code)]

mod action;
mod arn;
mod condition;
mod document;
mod error;
mod glob;
mod key;
mod number;
mod policy;
mod principal;
mod reading;
mod resource;
mod statement;
mod time;
mod value;

pub use arn::{ApiArn, NotAnArn, Resource, ResourceArn};
pub use error::{Mistake, PolicyError, Problem, ValueKind};
pub use key::Key;
pub use policy::{Decision, Policy, Request};
pub use principal::{NotAPrincipal, Principal};
pub use statement::{Effect, Statement, StatementName};
pub use value::{Context, Value, Values};
