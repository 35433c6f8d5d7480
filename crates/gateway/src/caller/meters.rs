//! What a caller has of limits that are its own. It lives on from one snapshot to the next.

/// What one caller has of its limits.
#[derive(Debug, Default)]
pub(crate) struct CallerMeters {}
