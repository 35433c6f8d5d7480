//! The keys of conditions and variables.

use std::fmt;

/// What a condition or a variable asks of a request. Names are compared without regard to letter case.
///
/// The keys that API Gateway offers (API Gateway developer guide, apigateway-resource-policies-aws-condition-keys; IAM
/// user guide, reference_policies_condition-keys) have variants of their own, so that a [`Context`](crate::Context)
/// answers with a `match`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// `aws:CurrentTime`, a time: when the request came.
    CurrentTime,
    /// `aws:EpochTime`, a number: the same in seconds since 1970.
    EpochTime,
    /// `aws:SourceIp`, an address: who connected. Absent with calls through a VPC endpoint.
    SourceIp,
    /// `aws:VpcSourceIp`, an address. Only with calls through a VPC endpoint.
    VpcSourceIp,
    /// `aws:SourceVpc`, text. Private APIs only.
    SourceVpc,
    /// `aws:SourceVpce`, text. Private APIs only.
    SourceVpce,
    /// `aws:SecureTransport`, a truth value: whether the request came over TLS.
    SecureTransport,
    /// `aws:UserAgent`, text that the client chooses.
    UserAgent,
    /// `aws:Referer`, text that the client chooses.
    Referer,
    /// `aws:SourceArn`, an ARN. Only with calls from a service.
    SourceArn,
    /// `aws:PrincipalArn`: the ARN of the user or of the role, not of the session.
    PrincipalArn,
    /// `aws:PrincipalAccount`, text of twelve digits.
    PrincipalAccount,
    /// `aws:PrincipalType`: `Account`, `User`, `FederatedUser`, `AssumedRole` or `Anonymous`.
    PrincipalType,
    /// `aws:PrincipalOrgID`, text.
    PrincipalOrgId,
    /// `aws:PrincipalOrgPaths`, texts: the one known key with many values.
    PrincipalOrgPaths,
    /// `aws:PrincipalTag/…`, text. What follows the slash, in lower case.
    PrincipalTag(Box<str>),
    /// `aws:userid`, text.
    UserId,
    /// `aws:username`, text. IAM users only.
    UserName,
    /// `aws:TokenIssueTime`, a time. Temporary credentials only.
    TokenIssueTime,
    /// `aws:MultiFactorAuthPresent`, a truth value. Temporary credentials only.
    MultiFactorAuthPresent,
    /// `aws:MultiFactorAuthAge`, a number of seconds. Sessions with a second factor only.
    MultiFactorAuthAge,
    /// Any other, in lower case.
    Other(Box<str>),
}

const TAG: &str = "aws:principaltag/";

impl Key {
    /// The key of that name, in whatever letter case it is written.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "aws:currenttime" => Self::CurrentTime,
            "aws:epochtime" => Self::EpochTime,
            "aws:sourceip" => Self::SourceIp,
            "aws:vpcsourceip" => Self::VpcSourceIp,
            "aws:sourcevpc" => Self::SourceVpc,
            "aws:sourcevpce" => Self::SourceVpce,
            "aws:securetransport" => Self::SecureTransport,
            "aws:useragent" => Self::UserAgent,
            "aws:referer" => Self::Referer,
            "aws:sourcearn" => Self::SourceArn,
            "aws:principalarn" => Self::PrincipalArn,
            "aws:principalaccount" => Self::PrincipalAccount,
            "aws:principaltype" => Self::PrincipalType,
            "aws:principalorgid" => Self::PrincipalOrgId,
            "aws:principalorgpaths" => Self::PrincipalOrgPaths,
            "aws:userid" => Self::UserId,
            "aws:username" => Self::UserName,
            "aws:tokenissuetime" => Self::TokenIssueTime,
            "aws:multifactorauthpresent" => Self::MultiFactorAuthPresent,
            "aws:multifactorauthage" => Self::MultiFactorAuthAge,
            other => match other.strip_prefix(TAG) {
                Some(tag) if !tag.is_empty() => Self::PrincipalTag(tag.into()),
                Some(_) | None => Self::Other(other.into()),
            },
        }
    }

    /// Whether a request of nobody in particular may have it.
    pub(crate) fn may_be_of_anonymous(&self) -> bool {
        match self {
            Self::CurrentTime
            | Self::EpochTime
            | Self::SourceIp
            | Self::VpcSourceIp
            | Self::SourceVpc
            | Self::SourceVpce
            | Self::SecureTransport
            | Self::UserAgent
            | Self::Referer
            | Self::PrincipalType => true,
            Self::SourceArn
            | Self::PrincipalArn
            | Self::PrincipalAccount
            | Self::PrincipalOrgId
            | Self::PrincipalOrgPaths
            | Self::PrincipalTag(_)
            | Self::UserId
            | Self::UserName
            | Self::TokenIssueTime
            | Self::MultiFactorAuthPresent
            | Self::MultiFactorAuthAge
            | Self::Other(_) => false,
        }
    }

    /// Whether every request has it: no statement about its absence can be true.
    pub(crate) fn is_always_present(&self) -> bool {
        matches!(self, Self::CurrentTime | Self::EpochTime | Self::SecureTransport)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::CurrentTime => "aws:CurrentTime",
            Self::EpochTime => "aws:EpochTime",
            Self::SourceIp => "aws:SourceIp",
            Self::VpcSourceIp => "aws:VpcSourceIp",
            Self::SourceVpc => "aws:SourceVpc",
            Self::SourceVpce => "aws:SourceVpce",
            Self::SecureTransport => "aws:SecureTransport",
            Self::UserAgent => "aws:UserAgent",
            Self::Referer => "aws:Referer",
            Self::SourceArn => "aws:SourceArn",
            Self::PrincipalArn => "aws:PrincipalArn",
            Self::PrincipalAccount => "aws:PrincipalAccount",
            Self::PrincipalType => "aws:PrincipalType",
            Self::PrincipalOrgId => "aws:PrincipalOrgID",
            Self::PrincipalOrgPaths => "aws:PrincipalOrgPaths",
            Self::PrincipalTag(tag) => return write!(out, "aws:PrincipalTag/{tag}"),
            Self::UserId => "aws:userid",
            Self::UserName => "aws:username",
            Self::TokenIssueTime => "aws:TokenIssueTime",
            Self::MultiFactorAuthPresent => "aws:MultiFactorAuthPresent",
            Self::MultiFactorAuthAge => "aws:MultiFactorAuthAge",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_letter_case() {
        assert_eq!(Key::named("AWS:sourceip"), Key::SourceIp);
        assert_eq!(Key::named("aws:PrincipalTag/Team"), Key::PrincipalTag("team".into()));
        assert_eq!(Key::named("s3:Prefix"), Key::Other("s3:prefix".into()));
        assert_eq!(Key::named("aws:PrincipalTag/"), Key::Other("aws:principaltag/".into()));
        assert_eq!(Key::named(&Key::PrincipalOrgId.to_string()), Key::PrincipalOrgId);
    }
}
