//! Principals: who asks, and whom a statement speaks of.

use thiserror::Error;

use crate::arn;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// Nobody known by a signature: also who was let in by a Lambda authorizer or a token.
    Anonymous,
    /// A service, such as `apigateway.amazonaws.com`.
    Service(&'a str),
    /// The owner of an account.
    Root {
        /// Twelve digits.
        account: &'a str,
    },
    /// An IAM user.
    User {
        /// `arn:aws:iam::123456789012:user/path/name`
        arn: &'a str,
        /// Twelve digits.
        account: &'a str,
    },
    /// A session of a role.
    RoleSession {
        /// `arn:aws:sts::123456789012:assumed-role/name/session`, or the ARN of the role if the session has no name.
        arn: &'a str,
        /// `arn:aws:iam::123456789012:role/path/name`, if it is known. Without it the role is known by its name, which
        /// is unique in its account.
        role: Option<&'a str>,
        /// Twelve digits.
        account: &'a str,
    },
    /// A user of a federation.
    FederatedUser {
        /// `arn:aws:sts::123456789012:federated-user/name`
        arn: &'a str,
        /// Twelve digits.
        account: &'a str,
    },
}

/// A text names no principal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no principal; write \"*\" for anonymous, an account id, an ARN, or the name of a service")]
pub struct NotAPrincipal(pub String);

impl<'a> Principal<'a> {
    /// Reads `*` for anonymous, an account id, the ARN of an account, user, role, session or federated user, or the
    /// name of a service.
    ///
    /// # Errors
    ///
    /// The text is none of these.
    pub fn parse(text: &'a str) -> Result<Self, NotAPrincipal> {
        if text == "*" {
            return Ok(Self::Anonymous);
        }
        if is_account(text) {
            return Ok(Self::Root { account: text });
        }
        if is_service(text) {
            return Ok(Self::Service(text));
        }
        let (account, kind) = read_arn(text).ok_or_else(|| NotAPrincipal(text.to_owned()))?;
        Ok(match kind {
            ArnKind::Root => Self::Root { account },
            ArnKind::User => Self::User { arn: text, account },
            ArnKind::Role => Self::RoleSession { arn: text, role: Some(text), account },
            ArnKind::Session => Self::RoleSession { arn: text, role: None, account },
            ArnKind::FederatedUser => Self::FederatedUser { arn: text, account },
        })
    }

    /// The account that it belongs to; services and anonymous callers belong to none.
    #[must_use]
    pub fn account(&self) -> Option<&'a str> {
        match self {
            Self::Anonymous | Self::Service(_) => None,
            Self::Root { account }
            | Self::User { account, .. }
            | Self::RoleSession { account, .. }
            | Self::FederatedUser { account, .. } => Some(account),
        }
    }

    /// What `aws:PrincipalType` says of it (IAM user guide, reference_policies_variables).
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Anonymous => Some("Anonymous"),
            Self::Service(_) => None,
            Self::Root { .. } => Some("Account"),
            Self::User { .. } => Some("User"),
            Self::RoleSession { .. } => Some("AssumedRole"),
            Self::FederatedUser { .. } => Some("FederatedUser"),
        }
    }

    /// What `aws:username` says of it: users alone have one.
    #[must_use]
    pub fn username(&self) -> Option<&'a str> {
        match self {
            Self::User { arn, .. } => last_segment(arn),
            Self::Anonymous
            | Self::Service(_)
            | Self::Root { .. }
            | Self::RoleSession { .. }
            | Self::FederatedUser { .. } => None,
        }
    }

    /// The role's name. Absent: it is no session of a role.
    #[must_use]
    pub fn role_name(&self) -> Option<&'a str> {
        match self {
            Self::RoleSession { role: Some(role), .. } => last_segment(role),
            Self::RoleSession { role: None, arn, .. } => arn.split('/').nth(1),
            Self::Anonymous | Self::Service(_) | Self::Root { .. } | Self::User { .. } | Self::FederatedUser { .. } => {
                None
            }
        }
    }
}

/// Whom a statement speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalRule {
    /// `Principal`: who is listed.
    Listed(Box<[PrincipalPattern]>),
    /// `NotPrincipal`: who is not.
    NotListed(Box<[PrincipalPattern]>),
}

/// An entry of a list of principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalPattern {
    /// Everyone, known or not.
    Everyone,
    /// An account and everyone in it.
    Account(Box<str>),
    /// Exactly this user, session or federated user.
    Exactly(Box<str>),
    /// Every session of this role.
    Role { arn: Box<str>, account: Box<str> },
    /// A service.
    Service(Box<str>),
    /// Who never calls an API: an identity provider, an owner of buckets.
    Nobody,
}

/// Why a text is no entry of such a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrincipalError {
    Malformed,
    Wildcard,
}

impl PrincipalPattern {
    /// Reads an entry under `AWS`.
    pub(crate) fn parse_aws(text: &str) -> Result<Self, PrincipalError> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        if is_account(text) {
            return Ok(Self::Account(text.into()));
        }
        if text.contains(['*', '?']) {
            return Err(PrincipalError::Wildcard);
        }
        let (account, kind) = read_arn(text).ok_or(PrincipalError::Malformed)?;
        Ok(match kind {
            ArnKind::Root => Self::Account(account.into()),
            ArnKind::User | ArnKind::Session | ArnKind::FederatedUser => Self::Exactly(text.into()),
            ArnKind::Role => Self::Role { arn: text.into(), account: account.into() },
        })
    }

    /// Reads an entry under `Service`.
    pub(crate) fn parse_service(text: &str) -> Result<Self, PrincipalError> {
        if text.contains(['*', '?']) {
            return Err(PrincipalError::Wildcard);
        }
        if is_service(text) { Ok(Self::Service(text.into())) } else { Err(PrincipalError::Malformed) }
    }

    /// The account of the user, role or session that it names.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Exactly(arn) => read_arn(arn).map(|(account, _)| account),
            Self::Role { account, .. } => Some(account),
            Self::Everyone | Self::Account(_) | Self::Service(_) | Self::Nobody => None,
        }
    }

    fn matches(&self, principal: &Principal<'_>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Account(account) => principal.account() == Some(account),
            Self::Exactly(_) | Self::Role { .. } | Self::Service(_) => self.names(principal),
            Self::Nobody => false,
        }
    }

    /// Whether it names this caller or its role, not just its account.
    fn names(&self, principal: &Principal<'_>) -> bool {
        match self {
            Self::Exactly(_) => self.names_caller(principal),
            Self::Role { .. } => self.names_role(principal),
            Self::Service(name) => matches!(principal, Principal::Service(asked) if asked == &&**name),
            Self::Everyone | Self::Account(_) | Self::Nobody => false,
        }
    }

    fn names_caller(&self, principal: &Principal<'_>) -> bool {
        match (self, principal) {
            (
                Self::Exactly(named),
                Principal::User { arn, .. } | Principal::RoleSession { arn, .. } | Principal::FederatedUser { arn, .. },
            ) => arn == &&**named,
            _ => false,
        }
    }

    fn names_role(&self, principal: &Principal<'_>) -> bool {
        match (self, principal) {
            (Self::Role { arn, .. }, Principal::RoleSession { role: Some(role), .. }) => role == &&**arn,
            (Self::Role { arn, account }, Principal::RoleSession { role: None, account: asked, .. }) => {
                asked == &&**account && last_segment(arn) == principal.role_name()
            }
            _ => false,
        }
    }

    fn names_account(&self, principal: &Principal<'_>) -> bool {
        match self {
            Self::Account(account) => principal.account() == Some(account),
            Self::Everyone | Self::Exactly(_) | Self::Role { .. } | Self::Service(_) | Self::Nobody => false,
        }
    }
}

impl PrincipalRule {
    /// Whether a statement that allows speaks of this caller. Who is excluded together with an account, or as a role,
    /// is excluded.
    pub(crate) fn allows(&self, principal: &Principal<'_>) -> bool {
        match self {
            Self::Listed(list) => list.iter().any(|entry| entry.matches(principal)),
            Self::NotListed(list) => !list.iter().any(|entry| entry.matches(principal)),
        }
    }

    /// Whether a statement that denies speaks of this caller. To be spared, a caller is listed with all that it is: a
    /// session with its role and its account, a user with its account (IAM user guide,
    /// reference_policies_elements_notprincipal).
    pub(crate) fn denies(&self, principal: &Principal<'_>) -> bool {
        match self {
            Self::Listed(list) => list.iter().any(|entry| entry.matches(principal)),
            Self::NotListed(list) => !is_spared(list, principal),
        }
    }

    /// Whether it speaks of nobody at all.
    pub(crate) fn is_nobody(&self) -> bool {
        match self {
            Self::Listed(list) => list.iter().all(|entry| *entry == PrincipalPattern::Nobody),
            Self::NotListed(list) => list.contains(&PrincipalPattern::Everyone),
        }
    }
}

fn is_spared(list: &[PrincipalPattern], principal: &Principal<'_>) -> bool {
    let listed = |is: fn(&PrincipalPattern, &Principal<'_>) -> bool| list.iter().any(|entry| is(entry, principal));
    let account = || listed(PrincipalPattern::names_account);
    list.contains(&PrincipalPattern::Everyone)
        || match principal {
            Principal::Anonymous => false,
            Principal::Service(_) => listed(PrincipalPattern::names),
            Principal::Root { .. } => account(),
            Principal::User { .. } | Principal::FederatedUser { .. } => {
                listed(PrincipalPattern::names_caller) && account()
            }
            Principal::RoleSession { arn, role, .. } => {
                // A caller that is only known as a role has no session to be listed.
                let session = *role == Some(*arn) || listed(PrincipalPattern::names_caller);
                session && listed(PrincipalPattern::names_role) && account()
            }
        }
}

/// What an ARN of IAM or STS names.
enum ArnKind {
    Root,
    User,
    Role,
    Session,
    FederatedUser,
}

/// The account and the kind of what an ARN names. Absent: that is no principal.
fn read_arn(text: &str) -> Option<(&str, ArnKind)> {
    let ["arn", partition, service, "", account, rest] = arn::split(text)? else { return None };
    if partition.is_empty() || !is_account(account) || text.contains(['*', '?']) {
        return None;
    }
    let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
    let has_name = !name.is_empty() && !name.ends_with('/');
    let kind = match (service, kind) {
        ("iam", "root") if rest == "root" => ArnKind::Root,
        ("iam", "user") if has_name => ArnKind::User,
        ("iam", "role") if has_name => ArnKind::Role,
        ("sts", "assumed-role") if has_name && name.matches('/').count() == 1 => ArnKind::Session,
        ("sts", "federated-user") if has_name => ArnKind::FederatedUser,
        _ => return None,
    };
    Some((account, kind))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_service(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    text.contains('.') && text.bytes().all(is_plain)
}

fn last_segment(arn: &str) -> Option<&str> {
    arn.rsplit('/').next()
}
