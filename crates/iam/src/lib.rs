//! AWS policy documents.
#![forbid(unsafe_code)]

/// A policy document, parsed and compiled once.
#[derive(Debug)]
pub struct Policy(());
