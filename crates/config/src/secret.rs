//! Values that are never shown.

use std::fmt;
use std::sync::Arc;

/// A secret and where it came from. What it holds is never printed: `Debug` and `Display` show the source and the
/// length.
///
/// Two secrets are equal when they hold the same; that tells a changed configuration from an unchanged one. It takes
/// a time that depends on what they hold, so it is no way to check what a stranger sent.
#[derive(Clone)]
pub struct Secret {
    source: Arc<str>,
    value: Arc<[u8]>,
}

impl Secret {
    pub(crate) fn new(source: &str, value: &[u8]) -> Self {
        Self { source: source.into(), value: value.into() }
    }

    /// Where it came from, as it was written: `env:NAME` or `file:PATH`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The same without what it holds: where it came from is all that is left.
    #[must_use]
    pub fn forgotten(&self) -> Self {
        Self { source: Arc::clone(&self.source), value: Arc::default() }
    }

    /// What it holds, never empty unless it was [forgotten](Self::forgotten). Not to be logged, printed or kept longer than needed.
    pub fn reveal(&self) -> &[u8] {
        &self.value
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({} bytes)", self.source, self.value.len())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_source_and_length_only() {
        let secret = Secret::new("env:TOKEN", b"hunter2");
        assert_eq!(secret.to_string(), "env:TOKEN (7 bytes)");
        assert_eq!(format!("{secret:?}"), "Secret(env:TOKEN (7 bytes))");
    }
}
