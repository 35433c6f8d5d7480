//! AWS policy documents.
#![forbid(unsafe_code)]
