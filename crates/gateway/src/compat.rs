//! Answers as AWS gives them, for APIs that imitate one of its (`compat`).
//!
//! What is refused, and why, is decided elsewhere and in one way for all; here it is only told in other words. Which of
//! AWS's words are known for certain, and from where, stands beside them.

mod authorization;
mod identity;
mod rest;

use bytes::Bytes;
use gatepost_config::model::Compat;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use self::rest::Words;
use crate::record::RequestId;
use crate::rejection::{Reason, Rejection};
use crate::request::Facts;
use crate::snapshot::{ApiNames, Route};

/// The longest body that API Gateway takes, in bytes (developer guide, limits), where no route says otherwise.
pub(crate) const LONGEST_BODY: u64 = 10 << 20;

/// What the answer to one request of such an API needs to know of it.
#[derive(Debug)]
pub(crate) struct Imitation {
    request_id: HeaderValue,
    gateway_id: HeaderValue,
    max_body: u64,
    /// What it is refused for by its head, and in which words: another reason may be found in its body.
    refusal: Option<(Reason, Words)>,
}

impl Imitation {
    /// For the request with this id, which was or was not refused.
    pub(crate) fn of(asked: &Asked<'_>, id: RequestId, rejection: Option<&Rejection>) -> Self {
        Self {
            request_id: identity::request_id(asked.facts.headers.get(REQUEST_ID), id),
            gateway_id: identity::gateway_id(id),
            max_body: asked.max_body(),
            refusal: rejection.map(|rejection| (rejection.reason(), asked.words(rejection))),
        }
    }

    /// The answer to a request that is refused, then or later. `headers` are overwritten; they spare an allocation.
    pub(crate) fn refuse(&mut self, rejection: &Rejection, headers: HeaderMap) -> Response<Bytes> {
        let by_head = self.refusal.take().filter(|(reason, _)| *reason == rejection.reason());
        let words = by_head.map_or_else(|| Words::of(rejection, self.max_body), |(_, words)| words);
        let by_the_front = words.is_by_the_front();
        let mut response = answer(words, rejection, headers);
        if !by_the_front {
            self.mark(response.headers_mut());
        }
        response
    }

    /// What goes on record of an answer: neither the names of its request, nor the credentials that it repeats.
    pub(crate) fn for_the_record(&self, response: &Response<Bytes>) -> Response<Bytes> {
        let mut response = response.clone();
        let kind = response.headers().get(ERROR_TYPE);
        if kind.is_some_and(|kind| kind == rest::INCOMPLETE_SIGNATURE) {
            *response.body_mut() = Bytes::from_static(
                br#"{"message":"(what is wrong with the Authorization header, which is not kept)"}"#,
            );
        } else if kind.is_some_and(|kind| kind == rest::INVALID_SIGNATURE) {
            *response.body_mut() = Bytes::from_static(
                br#"{"message":"(what is wrong with the signature, and what it should be of, which is not kept)"}"#,
            );
        }
        response.headers_mut().remove(REQUEST_ID);
        response.headers_mut().remove(GATEWAY_ID);
        response
    }

    /// Adds what every answer has.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request_id.clone());
        headers.insert(GATEWAY_ID, self.gateway_id.clone());
        headers.entry(CONTENT_TYPE).or_insert(JSON);
    }
}

/// A request to an API that imitates one of AWS's, for as long as its head is at hand.
pub(crate) struct Asked<'r> {
    pub(crate) api: &'r ApiNames,
    /// The kind of API.
    pub(crate) compat: Compat,
    pub(crate) route: Option<&'r Route>,
    pub(crate) facts: &'r Facts<'r>,
}

impl Asked<'_> {
    /// The answer to it if it is refused, without what every answer has.
    pub(crate) fn answer(&self, rejection: &Rejection) -> Response<Bytes> {
        answer(self.words(rejection), rejection, HeaderMap::new())
    }

    fn words(&self, rejection: &Rejection) -> Words {
        match self.compat {
            Compat::AwsRest => Words::of_decision(rejection, self.api, self.facts, self.max_body()),
        }
    }

    fn max_body(&self) -> u64 {
        self.route.map_or(LONGEST_BODY, |route| route.max_body)
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

const GATEWAY_ID: HeaderName = HeaderName::from_static("x-amz-apigw-id");

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Words as an answer. When to come again is told as ever: AWS does not, and it harms nobody.
fn answer(words: Words, rejection: &Rejection, mut headers: HeaderMap) -> Response<Bytes> {
    headers.clear();
    rejection.tell_when(&mut headers);
    if words.status != StatusCode::UNAUTHORIZED {
        headers.remove(WWW_AUTHENTICATE);
    }
    headers.insert(CONTENT_TYPE, words.content_type());
    if let Some(kind) = words.kind {
        headers.insert(ERROR_TYPE, HeaderValue::from_static(kind));
    }
    let mut response = Response::new(words.body);
    *response.status_mut() = words.status;
    *response.headers_mut() = headers;
    response
}
