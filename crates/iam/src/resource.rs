//! Resources: ARNs with wildcards, short forms, or `*`.

use crate::arn::{ApiArn, ArnPattern, Resource, split_pattern};
use crate::error::Mistake;
use crate::form::may_be_of_a_path;
use crate::glob::{Case, Pattern, PatternError, Token};
use crate::key::Key;
use crate::value::Context;

/// Some resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResourcePattern {
    /// `*`
    Any,
    /// All that the pattern describes.
    Like(Box<ArnPattern>),
}

/// Why a text is no resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResourceError {
    Mistake(Mistake),
    Pattern(PatternError),
}

/// How surely a segment is the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MethodPlace {
    /// It can be nothing else.
    Certain,
    /// It is meant, but the `*` before it takes slashes too.
    Meant,
}

/// The segment that is meant as the method.
struct Method {
    text: String,
    place: MethodPlace,
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const SHORT: &str = "execute-api:/";

impl ResourcePattern {
    /// `api` is what the short form stands for; where there is none, it is refused.
    pub(crate) fn parse(text: &str, api: Option<&ApiArn>, variables: bool) -> Result<Self, ResourceError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let refused = |mistake: fn(String) -> Mistake| Err(ResourceError::Mistake(mistake(text.to_owned())));
        let expanded: String;
        let whole = match (text.strip_prefix(SHORT), api) {
            (Some(rest), Some(ApiArn { partition, region, account, api })) => {
                expanded = format!("arn:{partition}:execute-api:{region}:{account}:{api}/{rest}");
                &expanded
            }
            (Some(_), None) => return refused(Mistake::ShortForm),
            (None, _) => text,
        };
        let Some(parts) = split_pattern(whole, variables).filter(|[arn, ..]| *arn == "arn") else {
            return refused(Mistake::Resource);
        };
        let [_, _, service, _, _, rest] = parts;
        if service.contains(['*', '?']) {
            return refused(Mistake::ServiceWildcard);
        }
        if service.is_empty() || rest.is_empty() {
            return refused(Mistake::Resource);
        }
        if variables && parts.iter().take(5).any(|part| part.contains("${")) {
            return refused(Mistake::VariableTooEarly);
        }
        let pattern = ArnPattern::compile(parts, variables).map_err(ResourceError::Pattern)?;
        Ok(Self::Like(Box::new(pattern)))
    }

    pub(crate) fn matches(&self, resource: &Resource<'_>, context: &impl Context) -> bool {
        match self {
            Self::Any => true,
            Self::Like(pattern) => pattern.matches(resource, context),
        }
    }

    /// Whether the request has a value for every variable, or there is a default.
    pub(crate) fn is_resolved(&self, context: &impl Context) -> bool {
        match self {
            Self::Any => true,
            Self::Like(pattern) => pattern.rest.is_resolved(context),
        }
    }

    /// Whether it is something of an API at all, and of this one if it is known.
    pub(crate) fn may_be_of(&self, api: Option<&ApiArn>) -> bool {
        let Self::Like(pattern) = self else { return true };
        let [_, partition, service, region, account] = &pattern.parts;
        let fits = |pattern: &Pattern, part: &str| pattern.matches_plain(part, Case::Matters);
        let of_api = |api: &ApiArn| {
            fits(partition, &api.partition)
                && fits(region, &api.region)
                && fits(account, &api.account)
                && may_begin_with(&pattern.rest, &api.api)
        };
        fits(service, "execute-api") && api.is_none_or(of_api)
    }

    /// Whether the pattern ends in the `/` behind the API's id.
    pub(crate) fn ends_behind_the_api(&self) -> bool {
        !self.has_runs() && self.last_segments().is_some_and(|(count, last)| count == 2 && last.is_empty())
    }

    /// Whether the pattern ends with the stage or the method, where the ARN of every request goes on.
    pub(crate) fn ends_before_the_path(&self) -> bool {
        let count = self.last_segments().map_or(0, |(count, _)| count);
        (1..=3).contains(&count) && !self.has_runs() && !self.ends_behind_the_api()
    }

    /// Whether the pattern ends with what looks like the method, but is the end of a path, since the run before it takes
    /// slashes too.
    pub(crate) fn ends_with_a_method(&self) -> bool {
        let Some((3, last)) = self.last_segments() else { return false };
        self.has_runs() && !last.is_empty() && last.iter().all(char::is_ascii_uppercase)
    }

    /// Whether the method is written as `ANY`.
    pub(crate) fn method_is_any(&self) -> bool {
        self.method().is_some_and(|method| method.text == "ANY")
    }

    /// Whether the method is certainly not in capitals.
    pub(crate) fn method_in_small_letters(&self) -> bool {
        let Some(Method { text, place: MethodPlace::Certain }) = self.method() else { return false };
        text.split('*').next().is_some_and(|known| known.contains(|letter: char| letter.is_ascii_lowercase()))
    }

    /// Whether a word that is a method in small letters follows a `*` that may be meant as the stage.
    pub(crate) fn method_is_a_word(&self) -> bool {
        let Some(Method { text, place: MethodPlace::Meant }) = self.method() else { return false };
        !METHODS.contains(&text.as_str()) && METHODS.contains(&text.to_ascii_uppercase().as_str())
    }

    /// What is meant as the method, each wildcard and variable as `*`.
    fn method(&self) -> Option<Method> {
        let Self::Like(pattern) = self else { return None };
        let mut written = String::new();
        for token in pattern.rest.tokens() {
            match token {
                Token::Literal(text) => written += text,
                Token::AnyRun | Token::AnyOne | Token::Variable { .. } => written.push('*'),
            }
        }
        let mut segments = written.split('/');
        let before = [segments.next()?, segments.next()?];
        let text = segments.next()?.to_owned();
        if before.iter().all(|segment| !segment.contains('*')) {
            return Some(Method { text, place: MethodPlace::Certain });
        }
        // A run that is all of the stage is meant as one stage.
        let plain = before.iter().all(|segment| *segment == "*" || !segment.contains('*'));
        plain.then_some(Method { text, place: MethodPlace::Meant })
    }

    /// Whether the path is spelled as no request's is. Behind the third slash all is path, for a run only adds slashes;
    /// and so is the end.
    pub(crate) fn path_has_another_form(&self) -> bool {
        let Self::Like(pattern) = self else { return false };
        let tokens = pattern.rest.tokens();
        let mut slashes = 0;
        for (index, token) in tokens.iter().enumerate() {
            let Token::Literal(text) = token else { continue };
            let path = match text.match_indices('/').nth(3_usize.saturating_sub(slashes + 1)) {
                _ if slashes >= 3 => Some(&**text),
                Some((at, _)) => text.get(at..),
                None if index + 1 == tokens.len() => text.rsplit('/').next(),
                None => None,
            };
            if path.is_some_and(|path| !may_be_of_a_path(path)) {
                return true;
            }
            slashes += text.matches('/').count();
        }
        false
    }

    /// The keys of the variables without default.
    pub(crate) fn needed_keys(&self) -> impl Iterator<Item = &Key> {
        let pattern = if let Self::Like(pattern) = self { Some(pattern) } else { None };
        pattern.into_iter().flat_map(|pattern| pattern.rest.needed_keys())
    }

    fn has_runs(&self) -> bool {
        let Self::Like(pattern) = self else { return true };
        pattern.rest.tokens().iter().any(|token| matches!(token, Token::AnyRun | Token::Variable { .. }))
    }

    /// How many segments between slashes there are behind the fifth colon, and the last one of them.
    fn last_segments(&self) -> Option<(usize, Vec<char>)> {
        let Self::Like(pattern) = self else { return None };
        let mut count = 1;
        let mut last = Vec::new();
        for token in pattern.rest.tokens() {
            match token {
                Token::Literal(text) => {
                    count += text.matches('/').count();
                    if let Some((_, behind)) = text.rsplit_once('/') {
                        last = behind.chars().collect();
                    } else {
                        last.extend(text.chars());
                    }
                }
                Token::AnyOne => last.push('?'),
                // What a variable ends with is not known, as with a run.
                Token::AnyRun | Token::Variable { .. } => last.push('*'),
            }
        }
        Some((count, last))
    }
}

/// Whether something that begins with the id and a slash can match.
fn may_begin_with(pattern: &Pattern, api: &str) -> bool {
    let Some(Token::Literal(start)) = pattern.tokens().first() else { return true };
    let is_all = pattern.tokens().len() == 1;
    match start.split_once('/') {
        Some((id, _)) => id == api,
        None => !is_all && api.starts_with(&**start) || is_all && &**start == api,
    }
}
