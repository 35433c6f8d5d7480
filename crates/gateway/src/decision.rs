//! What becomes of a request once its head is understood: the one order in which questions are asked, for requests that
//! are served, for `why`, and for `example`s.

use std::sync::Arc;

use bytes::Bytes;
use gatepost_config::model::Compat;
use http::{HeaderMap, Response, StatusCode};

use crate::admission::{Admission, Candidate, Meters, Parked, Permit, admit};
use crate::compat::{Asked, LONGEST_BODY};
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::snapshot::{ApiNames, Listener, Route};
use crate::token::Keyring;
use crate::trace::{Note, Trace};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) struct Decision<'l> {
    /// The route that matches, if it came to that.
    pub(crate) route: Option<&'l Arc<Route>>,
    /// The API, if it is one that imitates AWS.
    pub(crate) imitates: Option<(Compat, &'l ApiNames)>,
    pub(crate) outcome: Result<Outcome, Rejection>,
}

/// What becomes of a request that is not refused.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is let in.
    Admitted(Permit),
    /// It is let in if its body is signed as it claims.
    Candidate(Candidate),
    /// It waits for the ledger of a quota or a budget.
    Parked(Box<Parked>),
    /// Its listener only sends clients to `https`, with this status.
    ToHttps(StatusCode),
}

/// What a request waits for before it is judged again.
#[derive(Debug)]
pub(crate) struct Lacking {
    pub(crate) keyring: Arc<Keyring>,
    /// The route at which its client has paid for it.
    pub(crate) paid: Option<Arc<Route>>,
}

impl Listener {
    /// Decides about a request that came in here. `is_served` tells whether its host is one that the connection's
    /// certificate stands for. Takes from no meter that is shared before everything else has been passed.
    pub(crate) fn decide(
        &self,
        facts: &Facts<'_>,
        is_served: bool,
        meters: Meters<'_>,
        trace: &mut impl Trace,
    ) -> Decision<'_> {
        if !is_served {
            trace.note(|| Note::Misdirected);
            return Decision::without_api(Err(Rejection::Misdirected));
        }
        if let Some(status) = self.redirect {
            trace.note(|| Note::ToHttps(status));
            return Decision::without_api(Ok(Outcome::ToHttps(status)));
        }
        let Some((api, rest)) = self.api(facts, trace) else {
            return Decision::without_api(Err(Rejection::NoRoute));
        };
        let imitates = api.names.compat.map(|compat| (compat, &*api.names));
        match api.route(facts.method, rest, trace) {
            Ok(route) => {
                let outcome = admit(facts, route, meters, trace).map(|admission| match admission {
                    Admission::Permit(permit) => Outcome::Admitted(permit),
                    Admission::Candidate(candidate) => Outcome::Candidate(candidate),
                    Admission::Parked(parked) => Outcome::Parked(parked),
                });
                Decision { route: Some(route), imitates, outcome }
            }
            Err(_) if imitates.is_some() && facts.length.is_some_and(|length| length > LONGEST_BODY) => {
                Decision { route: None, imitates, outcome: Err(Rejection::BodyTooLarge) }
            }
            Err(rejection) => Decision { route: None, imitates, outcome: Err(rejection) },
        }
    }
}

impl<'l> Decision<'l> {
    fn without_api(outcome: Result<Outcome, Rejection>) -> Self {
        Self { route: None, imitates: None, outcome }
    }

    /// Why it is refused, or will be unless its body is a worse reason.
    pub(crate) fn refusal_at_hand(&self) -> Option<&Rejection> {
        match &self.outcome {
            Err(rejection) => Some(rejection),
            Ok(Outcome::Candidate(candidate)) => candidate.held(),
            Ok(Outcome::Admitted(_) | Outcome::Parked(_) | Outcome::ToHttps(_)) => None,
        }
    }

    /// The keys without which nobody knows whether it should be refused, if they may come soon.
    pub(crate) fn keys_to_wait_for(&self, headers: &HeaderMap) -> Option<Lacking> {
        let rejection = self.outcome.as_ref().err()?;
        if !rejection.awaits_keys() {
            return None;
        }
        let route = self.route?;
        let keyring = route.entry.keyring_for(headers).filter(|keyring| keyring.may_come_soon())?;
        // Where AWS is imitated, tokens are judged before every throttle.
        let paid = self.imitates.is_none().then(|| Arc::clone(route));
        Some(Lacking { keyring: Arc::clone(keyring), paid })
    }

    /// The answer to a request that is refused.
    pub(crate) fn refusal(&self, facts: &Facts<'_>) -> Option<Response<Bytes>> {
        let rejection = self.outcome.as_ref().err()?;
        let asked = self.asked(facts);
        Some(asked.map_or_else(|| rejection.answer(HeaderMap::new()), |asked| asked.answer(rejection)))
    }

    /// How the API that imitates AWS was asked, to be answered in its words.
    pub(crate) fn asked<'r>(&'r self, facts: &'r Facts<'r>) -> Option<Asked<'r>> {
        let route = self.route.map(|route| &**route);
        self.imitates.map(|(compat, api)| Asked { api, compat, route, facts })
    }
}
