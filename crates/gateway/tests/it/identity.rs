//! Callers: how they prove who they are, and what becomes of those who do not.

mod agreement;
mod bodies;
mod keys;
mod policies;
mod questions;
mod signatures;
pub(crate) mod world;
