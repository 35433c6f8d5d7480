//! Tokens that were verified before with the keys that are good now: a signature of RSA costs tens of microseconds, a
//! digest one.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::Claims;

/// What a token is remembered by: its SHA-256, signature and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

/// A bounded number of tokens. Who forgets keys forgets with them what they verified.
#[derive(Debug)]
pub(super) struct Cache {
    sets: Box<[Mutex<Set>]>,
}

/// Those that share a lock, and drive each other out.
type Set = [Option<(Digest, Arc<Claims>)>; WAYS];

const SETS: usize = 512;
const WAYS: usize = 8;

/// What a token may say at most to be remembered, in bytes: so that all of them take 8 MiB at most.
const LARGEST: usize = 2 * 1024;

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        let mut own = [0; 32];
        own.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(own)
    }
}

impl Cache {
    /// What this token says, if it is remembered. Whether that is still true is for the caller to ask.
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Claims>> {
        let set = self.set(digest).lock().unwrap_or_else(PoisonError::into_inner);
        set.iter().flatten().find(|(known, _)| known == digest).map(|(_, claims)| Arc::clone(claims))
    }

    /// Remembers what a token says that was verified, in place of the one that is over first.
    pub(super) fn insert(&self, digest: Digest, claims: &Arc<Claims>) {
        if claims.size() > LARGEST {
            return;
        }
        let mut set = self.set(&digest).lock().unwrap_or_else(PoisonError::into_inner);
        let rank = |slot: &Option<(Digest, Arc<Claims>)>| match slot {
            Some((known, _)) if *known == digest => f64::NEG_INFINITY,
            Some((_, claims)) => claims.expires(),
            None => f64::MIN,
        };
        if let Some(slot) = set.iter_mut().min_by(|one, other| rank(one).total_cmp(&rank(other))) {
            *slot = Some((digest, Arc::clone(claims)));
        }
    }

    fn set(&self, digest: &Digest) -> &Mutex<Set> {
        let [first, second, ..] = digest.0;
        &self.sets[usize::from(u16::from_le_bytes([first, second])) % SETS]
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::claims_until;

    #[test]
    fn a_bounded_number_is_remembered_and_those_that_last_longest_stay() {
        let cache = Cache::default();
        let lasting: Vec<Digest> = (0..64).map(|number| Digest::of(&format!("lasting {number}"))).collect();
        for digest in &lasting {
            cache.insert(*digest, &Arc::new(claims_until(2e9)));
        }
        for number in 0..100_000 {
            cache.insert(Digest::of(&format!("{number}")), &Arc::new(claims_until(1e9)));
        }
        assert!(lasting.iter().all(|digest| cache.get(digest).is_some()));
        let kept = (0..100_000).filter(|number| cache.get(&Digest::of(&format!("{number}"))).is_some()).count();
        assert!(kept <= SETS * WAYS && kept > SETS, "{kept}");
    }

    #[test]
    fn the_same_token_takes_one_place() {
        let (cache, digest) = (Cache::default(), Digest::of("token"));
        (0..100).for_each(|_| cache.insert(digest, &Arc::new(claims_until(1e9))));
        assert_eq!(cache.set(&digest).lock().unwrap().iter().flatten().count(), 1);
    }
}
