//! Some ways to prove who one is.

use std::fmt;

use gatepost_config::model::ProofKind;

/// A set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ProofKinds(u8);

impl ProofKinds {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const ALL: Self = Self(15);

    /// Those that stand in the header `Authorization`, or instead of it.
    pub(crate) const BY_AUTHORIZATION: Self = Self(1 << ProofKind::SigV4 as u8 | 1 << ProofKind::Jwt as u8);

    pub(crate) const KEYS: Self = Self(1 << ProofKind::Key as u8);

    pub(crate) fn of(kind: ProofKind) -> Self {
        Self(1 << kind as u8)
    }

    pub(crate) fn has(self, kind: ProofKind) -> bool {
        self.0 & Self::of(kind).0 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// As logs name them: `sigv4+key`, the strongest first.
    pub(crate) fn name(self) -> &'static str {
        const NAMES: [&str; 16] = [
            "none",
            "key",
            "sigv4",
            "sigv4+key",
            "jwt",
            "jwt+key",
            "sigv4+jwt",
            "sigv4+jwt+key",
            "signed",
            "key+signed",
            "sigv4+signed",
            "sigv4+key+signed",
            "jwt+signed",
            "jwt+key+signed",
            "sigv4+jwt+signed",
            "sigv4+jwt+key+signed",
        ];
        NAMES[usize::from(self.0 & 15)]
    }
}

impl FromIterator<ProofKind> for ProofKinds {
    fn from_iter<I: IntoIterator<Item = ProofKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, |all, kind| all.and(Self::of(kind)))
    }
}

impl fmt::Display for ProofKinds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_named_by_what_is_in_it() {
        for bits in 1..16_u8 {
            let kinds: ProofKinds = ProofKind::ALL.into_iter().filter(|kind| bits & (1 << *kind as u8) != 0).collect();
            let named: ProofKinds = ProofKind::ALL
                .into_iter()
                .filter(|kind| kinds.name().split('+').any(|name| name == kind.name()))
                .collect();
            assert_eq!((kinds.0, named), (bits, kinds), "{kinds}");
        }
    }
}
