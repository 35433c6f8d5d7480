//! The policy language, table by table: each row is a sentence of AWS's guides.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod combination;
mod errors;
mod lints;
mod operators;
mod principals;
mod properties;
mod resources;
mod simulator;
mod support;
mod variables;
mod worked;
