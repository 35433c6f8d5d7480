//! Access keys for Signature Version 4, and what is derived from their secrets.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use gatepost_config::model::AccessKey;
use gatepost_sigv4::{BodyCheck, Known, Presented, Scope, SecretKey, SessionToken, SignatureError, SigningKey};

/// An access key, ready to verify with.
#[derive(Debug)]
pub(crate) struct Access {
    written: AccessKey,
    token: Option<SessionToken>,
    /// The key of the newest day that somebody asked with.
    of_day: ArcSwapOption<SigningKey>,
}

impl Access {
    pub(crate) fn new(written: &AccessKey) -> Self {
        let token = written.token.as_ref().map(|token| SessionToken::new(text(token.reveal())));
        Self { written: written.clone(), token, of_day: ArcSwapOption::empty() }
    }

    pub(crate) fn id(&self) -> &str {
        &self.written.id
    }

    /// Whether it was made of this one.
    pub(crate) fn is_of(&self, written: &AccessKey) -> bool {
        self.written == *written
    }

    /// Verifies as much as the head proves.
    ///
    /// # Errors
    /// It is not what this key signs.
    pub(super) fn verify(&self, presented: Presented) -> Result<BodyCheck, SignatureError> {
        let key = self.key_for(presented.scope());
        presented.verify_head(Known { key: &key, token: self.token.as_ref() })
    }

    /// Derived once a day. Strangers who ask with an older one have it derived anew, and displace nothing.
    fn key_for(&self, scope: &Scope) -> Arc<SigningKey> {
        let kept = self.of_day.load();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.scope() == scope) {
            return Arc::clone(kept);
        }
        let derived = Arc::new(SecretKey::new(text(self.written.secret.reveal())).signing_key(scope.clone()));
        let is_older = kept.as_ref().is_some_and(|kept| {
            let same_place = (kept.scope().region(), kept.scope().service()) == (scope.region(), scope.service());
            same_place && kept.scope().day() > scope.day()
        });
        if !is_older {
            self.of_day.store(Some(Arc::clone(&derived)));
        }
        derived
    }
}

/// Credentials of AWS are ASCII; one that is not verifies nothing.
fn text(secret: &[u8]) -> String {
    String::from_utf8_lossy(secret).into_owned()
}
