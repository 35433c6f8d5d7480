//! Several documents, one verdict.

use crate::policy::Decision;

/// Which of the two documents that AWS combines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Document {
    /// The policy of the API.
    Resource,
    /// The policy of the caller, or the one that a Lambda authorizer returned.
    Identity,
}

/// How a method of a REST API knows its callers, and what was said of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// `NONE`
    None {
        /// Whether the API is a private one, which nobody may call without a policy.
        private: bool,
    },
    /// `AWS_IAM`
    Iam {
        /// What the caller's identity policy says.
        identity: Decision,
        /// Where the caller is from.
        caller: Caller,
    },
    /// `CUSTOM`
    Lambda {
        /// What the policy says that the authorizer returned.
        authorizer: Decision,
    },
    /// `COGNITO_USER_POOLS`, and the token is good.
    Cognito,
}

/// Where a caller with an identity policy is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The account that the API is in: either document may allow.
    SameAccount,
    /// Another account: both must allow.
    OtherAccount,
}

/// What the documents together come to. `D` says which document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict<D> {
    /// It is let through.
    Allowed {
        /// The document and the number of its statement that allowed it. Absent: there is no document to ask.
        by: Option<(D, usize)>,
    },
    /// Nothing allows it.
    ImplicitlyDenied {
        /// The document that would have had to.
        by: D,
    },
    /// Something denies it.
    ExplicitlyDenied {
        /// The document.
        by: D,
        /// The number of its statement.
        statement: usize,
    },
}

impl<D> Verdict<D> {
    /// Whether it is an allow.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// What a single document says.
    fn of(by: D, decision: Decision) -> Self {
        match decision {
            Decision::Allowed { statement } => Self::Allowed { by: Some((by, statement)) },
            Decision::ImplicitlyDenied => Self::ImplicitlyDenied { by },
            Decision::ExplicitlyDenied { statement } => Self::ExplicitlyDenied { by, statement },
        }
    }
}

/// Combines documents as REST APIs do (API Gateway developer guide, apigateway-authorization-flow). `resource` is what
/// the API's policy says, if it has one.
///
/// With [`Authorization::Lambda`], an explicit denial by the API's policy is also a reason not to ask the authorizer at
/// all.
#[must_use]
pub fn combine(authorization: Authorization, resource: Option<Decision>) -> Verdict<Document> {
    match (authorization, resource) {
        (Authorization::None { private: false } | Authorization::Cognito, None) => Verdict::Allowed { by: None },
        (Authorization::None { private: true }, None) => Verdict::ImplicitlyDenied { by: Document::Resource },
        (Authorization::None { .. } | Authorization::Cognito, Some(resource)) => {
            Verdict::of(Document::Resource, resource)
        }
        (Authorization::Iam { identity, caller: Caller::OtherAccount }, resource) => {
            both(identity, resource.unwrap_or(Decision::ImplicitlyDenied))
        }
        (
            Authorization::Iam { identity, caller: Caller::SameAccount }
            | Authorization::Lambda { authorizer: identity },
            resource,
        ) => either(identity, resource.unwrap_or(Decision::ImplicitlyDenied)),
    }
}

/// Combines documents as Gatepost's own rule says: every document that applies must allow, and any denial wins. Absent:
/// there is none.
#[must_use]
pub fn all_must_allow<D>(decisions: impl IntoIterator<Item = (D, Decision)>) -> Option<Verdict<D>> {
    let mut verdict = None;
    for (by, decision) in decisions {
        let said = Verdict::of(by, decision);
        match (&verdict, &said) {
            (_, Verdict::ExplicitlyDenied { .. }) => return Some(said),
            (None, _) | (Some(Verdict::Allowed { .. }), Verdict::ImplicitlyDenied { .. }) => verdict = Some(said),
            (Some(_), _) => {}
        }
    }
    verdict
}

/// Table A: within an account, either document may allow.
fn either(identity: Decision, resource: Decision) -> Verdict<Document> {
    match (identity, resource) {
        (_, Decision::ExplicitlyDenied { .. }) => Verdict::of(Document::Resource, resource),
        (Decision::ImplicitlyDenied, Decision::Allowed { .. }) => Verdict::of(Document::Resource, resource),
        (Decision::Allowed { .. } | Decision::ImplicitlyDenied | Decision::ExplicitlyDenied { .. }, _) => {
            Verdict::of(Document::Identity, identity)
        }
    }
}

/// Table B: across accounts, both documents must allow.
fn both(identity: Decision, resource: Decision) -> Verdict<Document> {
    match (identity, resource) {
        (_, Decision::ExplicitlyDenied { .. }) => Verdict::of(Document::Resource, resource),
        (Decision::Allowed { .. }, _) => Verdict::of(Document::Resource, resource),
        (Decision::ImplicitlyDenied | Decision::ExplicitlyDenied { .. }, _) => {
            Verdict::of(Document::Identity, identity)
        }
    }
}
