//! What can be wrong with a document, and where.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::glob::{MOST_VARIABLES, PatternError};
use crate::statement::StatementName;

/// The most problems that are told of one document.
const MOST_PROBLEMS: usize = 20;

/// Why a document is no policy: everything that is wrong with it, up to twenty things, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PolicyError {
    /// Never empty.
    problems: Box<[Problem]>,
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    at: Range<usize>,
    line: usize,
    column: usize,
    statement: Option<StatementName>,
    element: Cow<'static, str>,
    mistake: Mistake,
}

/// What is wrong. Closed: nothing else is ever refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mistake {
    /// The text is no JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// An object names something twice, or a condition a key in two spellings.
    #[error("`{0}` is there twice")]
    Duplicate(String),
    /// A value of another type than the language has there.
    #[error("expected {expected}")]
    WrongType {
        /// What is expected.
        expected: &'static str,
    },
    /// An element that the language does not have there.
    #[error("`{name}` is no element here")]
    UnknownElement {
        /// As it is written.
        name: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// An element that must be there, or the other of its pair.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Both elements of a pair.
    #[error("`{0}` and `Not{0}` exclude each other")]
    Both(&'static str),
    /// A list or map without entries.
    #[error("there is nothing in it")]
    Empty,
    /// A version of the language that does not exist.
    #[error("there is no version {0:?} of the policy language")]
    Version(String),
    /// Neither `Allow` nor `Deny`.
    #[error("{0:?} is no effect")]
    Effect(String),
    /// A `Sid` of an identity policy with other characters than letters and digits.
    #[error("{0:?} holds more than letters and digits")]
    SidCharacters(String),
    /// Two statements with one `Sid`.
    #[error("two statements are called {0:?}")]
    SidTwice(String),
    /// A principal in an identity policy.
    #[error("an identity policy names no principal")]
    PrincipalInIdentity,
    /// A principal that is no account, no ARN of one, and not `*`.
    #[error("{0:?} is no principal")]
    Principal(String),
    /// A wildcard inside a principal.
    #[error("{0:?} holds a wildcard, which is none in a principal")]
    PrincipalWildcard(String),
    /// An action that is no `service:Operation`.
    #[error("{0:?} is no action")]
    Action(String),
    /// A wildcard in the service of an action or a resource.
    #[error("the service of {0:?} holds a wildcard")]
    ServiceWildcard(String),
    /// A resource that is no ARN, no short form and not `*`.
    #[error("{0:?} is no resource")]
    Resource(String),
    /// The short form of a resource where no API is given.
    #[error("{0:?} does not say of which API")]
    ShortForm(String),
    /// A variable in one of the first five parts of a resource.
    #[error("{0:?} holds a variable before its fifth colon")]
    VariableTooEarly(String),
    /// `${` without `}`.
    #[error("a variable is not closed")]
    VariableUnclosed,
    /// What stands in `${…}` is no variable.
    #[error("{0:?} is no variable")]
    Variable(String),
    /// More variables in one text than are evaluated.
    #[error("more than {MOST_VARIABLES} variables in one text")]
    TooManyVariables,
    /// A variable where an operator takes none.
    #[error("`{operator}` takes no variables")]
    VariableHere {
        /// The operator as it is written.
        operator: String,
    },
    /// An operator that does not exist.
    #[error("there is no operator `{name}`")]
    Operator {
        /// As it is written.
        name: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// A value that its operator cannot read.
    #[error("{text:?} is no {wanted}")]
    Value {
        /// As it is written.
        text: String,
        /// What the operator compares.
        wanted: ValueKind,
    },
}

/// What an operator compares, where that is not just text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ValueKind {
    /// `Numeric…`
    #[error("number")]
    Number,
    /// `Date…`
    #[error("date")]
    Date,
    /// `Bool` and `Null`
    #[error("truth value")]
    Bool,
    /// `BinaryEquals`
    #[error("base64")]
    Base64,
    /// `IpAddress`
    #[error("address or CIDR")]
    Network,
}

impl Mistake {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Cow<'static, str> {
        let did_you_mean = |nearest: &Option<&'static str>, otherwise: &'static str| match nearest {
            Some(nearest) => Cow::from(format!("did you mean `{nearest}`?")),
            None => Cow::from(otherwise),
        };
        Cow::from(match self {
            Self::Syntax(_) => "a policy is one JSON object, without comments and trailing commas",
            Self::Duplicate(_) => "which of the two is meant? Keep that one, or put the values of both in one list",
            Self::WrongType { .. } => "see the grammar of the policy language for what stands here",
            Self::UnknownElement { nearest, .. } => {
                return did_you_mean(nearest, "remove it: what is not understood would not be enforced");
            }
            Self::Missing(element) => match *element {
                "Principal" => "a resource policy says who: `\"Principal\": \"*\"` for everyone",
                "Effect" => "write `\"Effect\": \"Allow\"` or `\"Effect\": \"Deny\"`",
                "Action" => "write `\"Action\": \"execute-api:Invoke\"`",
                "Resource" => "write `\"Resource\": \"execute-api:/*\"` for the whole API",
                _ => "write `\"Statement\": [{…}]`",
            },
            Self::Both(_) => "keep one of them",
            Self::Empty => "name at least one, or remove the element",
            Self::Version(_) => "write \"2012-10-17\"",
            Self::Effect(_) => "an effect is `Allow` or `Deny`, in this letter case",
            Self::SidCharacters(_) => "remove blanks and punctuation: `AllowOffice`",
            Self::SidTwice(_) => "call one of them something else",
            Self::PrincipalInIdentity => "remove it: the policy belongs to a caller, and that is whom it speaks of",
            Self::Principal(_) => {
                "write \"*\", or {\"AWS\": …} with an account id, or the ARN of an account, user, role or session"
            }
            Self::PrincipalWildcard(_) => {
                "only a lone \"*\" stands for everyone; for some, add a condition: ArnLike on aws:PrincipalArn"
            }
            Self::Action(_) => "write `execute-api:Invoke`, `execute-api:*`, or `*`",
            Self::ServiceWildcard(_) => "name the service: `execute-api`",
            Self::Resource(_) => {
                "write `execute-api:/stage/METHOD/path`, `arn:partition:execute-api:region:account:api/…`, or `*`"
            }
            Self::ShortForm(_) => {
                "the short form is for the policy of an API; write `arn:aws:execute-api:*:*:API/STAGE/METHOD/PATH`"
            }
            Self::VariableTooEarly(_) => "variables may stand behind the fifth colon only",
            Self::VariableUnclosed => "close it with `}`; a plain dollar sign is `${$}`",
            Self::Variable(_) => {
                "write `${key}` or `${key, 'default'}`; the characters themselves are `${*}` `${?}` `${$}`"
            }
            Self::TooManyVariables => "split it into several",
            Self::VariableHere { .. } => "variables may stand in values of String, Arn and Bool operators",
            Self::Operator { nearest, .. } => {
                return did_you_mean(
                    nearest,
                    "see the IAM user guide, reference_policies_elements_condition_operators",
                );
            }
            Self::Value { wanted, .. } => wanted.help(),
        })
    }
}

impl ValueKind {
    fn help(self) -> &'static str {
        match self {
            Self::Number => "write a decimal number, at most 20 digits before the point and 18 behind it",
            Self::Date => "write `2026-01-15T12:00:00Z`, `2026-01-15`, or seconds since 1970",
            Self::Bool => "write `true` or `false`",
            Self::Base64 => "write the bytes in base64, padded with `=`",
            Self::Network => "write `192.0.2.0/24`, `2001:db8::/32`, or one address",
        }
    }
}

impl Problem {
    /// Which bytes of the document are meant.
    #[must_use]
    pub fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// The line, counted from one.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, counted from one.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// The statement that it is in, unless it is about the whole document.
    #[must_use]
    pub fn statement(&self) -> Option<&StatementName> {
        self.statement.as_ref()
    }

    /// The element that it is in: `Principal`, `Condition.IpAddress.aws:SourceIp`. Empty: the document or the statement.
    #[must_use]
    pub fn element(&self) -> &str {
        &self.element
    }

    /// What is wrong.
    #[must_use]
    pub fn mistake(&self) -> &Mistake {
        &self.mistake
    }

    /// What is wrong, in a sentence without its place in the text.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = String::new();
        if let Some(statement) = &self.statement {
            message += &format!("statement {statement}, ");
        }
        if !self.element.is_empty() {
            message += &format!("`{}`: ", self.element);
        } else if self.statement.is_some() {
            message.truncate(message.len() - 2);
            message += ": ";
        }
        message + &self.mistake.to_string()
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Cow<'static, str> {
        self.mistake.help()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}: {}; {}", self.line, self.column, self.message(), self.help())
    }
}

impl PolicyError {
    /// Everything that is wrong, in the order of the text; never nothing.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// Which bytes of the document the first problem is about.
    #[must_use]
    pub fn at(&self) -> Option<Range<usize>> {
        self.problems.first().map(Problem::at)
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().enumerate().try_for_each(|(number, problem)| {
            let separator = if number == 0 { "" } else { "\n" };
            write!(out, "{separator}{problem}")
        })
    }
}

/// Collects what is wrong while a document is read.
#[derive(Debug)]
pub(crate) struct Reporter<'t> {
    text: &'t str,
    statement: Option<StatementName>,
    problems: Vec<Problem>,
}

impl<'t> Reporter<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, statement: None, problems: Vec::new() }
    }

    /// What is reported from now on is about this statement.
    pub(crate) fn enter(&mut self, statement: Option<StatementName>) {
        self.statement = statement;
    }

    /// Whether nothing more will be told: then looking for more is a waste.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() == MOST_PROBLEMS
    }

    pub(crate) fn report(&mut self, at: Range<usize>, element: impl Into<Cow<'static, str>>, mistake: Mistake) {
        if self.is_full() {
            return;
        }
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let statement = self.statement.clone();
        self.problems.push(Problem { at, line, column, statement, element: element.into(), mistake });
    }

    pub(crate) fn report_pattern(
        &mut self,
        at: Range<usize>,
        element: impl Into<Cow<'static, str>>,
        error: PatternError,
    ) {
        let mistake = match error {
            PatternError::Unclosed => Mistake::VariableUnclosed,
            PatternError::BadVariable(inside) => Mistake::Variable(inside),
            PatternError::TooManyVariables => Mistake::TooManyVariables,
        };
        self.report(at, element, mistake);
    }

    /// What was read, if nothing was wrong.
    pub(crate) fn finish<T>(mut self, read: Option<T>) -> Result<T, PolicyError> {
        if let Some(read) = read
            && self.problems.is_empty()
        {
            return Ok(read);
        }
        if self.problems.is_empty() {
            // Nothing is refused without a reason; if it were, this is what is left to say.
            self.report(0..self.text.len(), "", Mistake::WrongType { expected: "a policy document" });
        }
        self.problems.sort_by_key(|problem| (problem.at.start, problem.at.end));
        Err(PolicyError { problems: self.problems.into() })
    }
}
