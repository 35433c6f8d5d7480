//! What becomes of a request once its head is understood: the one order in which questions are asked, for requests that
//! are served, for `why`, and for `example`s.

use std::sync::Arc;

use http::StatusCode;

use crate::admission::{Meters, Permit, admit};
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::snapshot::{Listener, Route};
use crate::trace::{Note, Trace};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) struct Decision<'l> {
    /// The route that matches, if it came to that.
    pub(crate) route: Option<&'l Arc<Route>>,
    pub(crate) outcome: Result<Outcome, Rejection>,
}

/// What becomes of a request that is not refused.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is let in.
    Admitted(Permit),
    /// Its listener only sends clients to `https`, with this status.
    ToHttps(StatusCode),
}

impl Listener {
    /// Decides about a request that came in here. `is_served` tells whether its host is one that the connection's
    /// certificate stands for. Takes from no meter that is shared before everything else has been passed.
    pub(crate) fn decide(
        &self,
        facts: &Facts<'_>,
        is_served: bool,
        meters: Meters,
        trace: &mut impl Trace,
    ) -> Decision<'_> {
        if !is_served {
            trace.note(|| Note::Misdirected);
            return Decision { route: None, outcome: Err(Rejection::Misdirected) };
        }
        if let Some(status) = self.redirect {
            trace.note(|| Note::ToHttps(status));
            return Decision { route: None, outcome: Ok(Outcome::ToHttps(status)) };
        }
        match self.route(facts, trace) {
            Ok(route) => {
                Decision { route: Some(route), outcome: admit(facts, route, meters, trace).map(Outcome::Admitted) }
            }
            Err(rejection) => Decision { route: None, outcome: Err(rejection) },
        }
    }
}
