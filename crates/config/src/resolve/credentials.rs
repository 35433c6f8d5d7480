//! Credentials of all callers: each belongs to one of them, and to that one once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

use crate::collections::{Boxed, List};
use crate::decode::Field;
use crate::file::{AccessKeyTable, TokenSubjectTable};
use crate::model;
use crate::reading::Reading;
use crate::source::Span;
use crate::text::KeyHash;
use crate::value::Discreet;

/// The credentials so far, and where each was written.
#[derive(Default)]
pub(super) struct Credentials {
    keys: HashMap<model::KeyHash, Span>,
    access_keys: HashMap<Box<str>, Span>,
    tokens: HashMap<Token, Span>,
}

/// `sigv4` of a caller.
type AccessKeys = Boxed<List<Discreet<AccessKeyTable>>>;

/// What a token says of whom it is about: its issuer and its subject. It may be for several audiences at once, so they tell
/// nobody apart.
type Token = (Arc<str>, Box<str>);

impl Credentials {
    pub(super) fn check_keys(&mut self, keys: &Field<List<KeyHash>>, reading: &mut Reading) {
        for key in keys.value().into_iter().flat_map(|list| &list.items) {
            let help = "a key stands for one caller, and is written once; `gatepost key new NAME` makes another";
            take(&mut self.keys, key.value.0, key.span, "this API key is there already", help, reading);
        }
    }

    pub(super) fn check_access_keys(&mut self, keys: &Field<AccessKeys>, reading: &mut Reading) {
        for key in keys.value().into_iter().flat_map(|list| list.values()) {
            let Some(id) = key.0.access_key.given() else { continue };
            let help = "an access key stands for one caller, and is written once";
            take(&mut self.access_keys, id.value.0.clone(), id.span, "this access key is there already", help, reading);
        }
    }

    pub(super) fn check_token(&mut self, token: &Field<Boxed<Discreet<TokenSubjectTable>>>, reading: &mut Reading) {
        let Some(Discreet(TokenSubjectTable { issuer, subject, .. })) = token.value().map(|token| &**token) else {
            return;
        };
        let (Some(issuer), Some(subject)) = (issuer.value(), subject.given()) else { return };
        let id = (Arc::clone(&issuer.0), subject.value.0.clone());
        let message = "tokens about this subject stand for another caller already";
        let help =
            "a token must say of one caller only who it is, whatever audiences it is for: give them other subjects";
        take(&mut self.tokens, id, subject.span, message, help, reading);
    }
}

/// Takes in a credential that is written at `span`; reports one that was there, at the later of both places.
fn take<K: Eq + Hash>(
    known: &mut HashMap<K, Span>,
    key: K,
    span: Span,
    message: &str,
    help: &str,
    reading: &mut Reading,
) {
    let first = match known.entry(key) {
        Entry::Vacant(vacant) => {
            vacant.insert(span);
            return;
        }
        // What a caller says twice in one breath is reported as such.
        Entry::Occupied(first) if *first.get() == span => return,
        Entry::Occupied(first) => *first.get(),
    };
    let written = |span: Span| (span.file.index(), span.range().start);
    let (first, second) = if written(first) < written(span) { (first, span) } else { (span, first) };
    let place = reading.place(first);
    let error = reading.error(second, message).with_related(&place, "first written here");
    reading.report(error.with_help(help));
}
