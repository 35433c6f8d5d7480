//! Actions: `service:Operation`, without regard to letter case.

use crate::glob::{Case, Pattern, Syntax};

/// The operations that an API's requests may be (API Gateway developer guide,
/// api-gateway-control-access-using-iam-policies-to-invoke-api).
const OPERATIONS: [&str; 3] = ["Invoke", "InvalidateCache", "ManageConnections"];

/// Some actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ActionPattern {
    /// `*`
    Any,
    /// Of one service.
    Of { service: Box<str>, operation: Pattern },
}

/// Why a text is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActionError {
    Malformed,
    ServiceWildcard,
}

impl ActionPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, ActionError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (service, operation) = text.split_once(':').ok_or(ActionError::Malformed)?;
        if service.contains(['*', '?']) {
            return Err(ActionError::ServiceWildcard);
        }
        let is_word = |word: &str, more: &[char]| {
            !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(&letter))
        };
        if !is_word(service, &['-']) || !is_word(operation, &['*', '?']) {
            return Err(ActionError::Malformed);
        }
        let syntax = Syntax { wildcards: true, variables: false };
        let operation = Pattern::parse(operation, syntax).map_err(|_| ActionError::Malformed)?;
        Ok(Self::Of { service: service.into(), operation })
    }

    pub(crate) fn matches(&self, action: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of { service, operation } => action.split_once(':').is_some_and(|(asked, rest)| {
                service.eq_ignore_ascii_case(asked) && operation.matches_plain(rest, Case::Ignored)
            }),
        }
    }

    /// Whether any request to an API is such an action.
    pub(crate) fn matches_an_api(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Of { service, operation } => {
                service.eq_ignore_ascii_case("execute-api")
                    && OPERATIONS.iter().any(|known| operation.matches_plain(known, Case::Ignored))
            }
        }
    }
}
