//! Names that are defined in one place and used in another.

use std::collections::BTreeMap;
use std::collections::btree_map;

use crate::collections::{Entry, Named};
use crate::decode::{Field, nearest};
use crate::reading::Reading;
use crate::source::Span;
use crate::text::quoted;

/// The definitions of one kind, from all files.
pub(super) struct Namespace<K, T> {
    /// What is defined, for errors: "address set".
    kind: &'static str,
    pub(super) entries: BTreeMap<Box<str>, Entry<K, T>>,
    /// Whether `entries` has every name. If not, a name that is not there may still be defined.
    pub(super) is_complete: bool,
}

impl<K, T> Namespace<K, T> {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, entries: BTreeMap::new(), is_complete: true }
    }

    /// Takes over the definitions of a file; `may_lack` says that it has more under a misspelt name.
    pub(super) fn join(&mut self, definitions: Field<Named<K, T>>, may_lack: bool, reading: &mut Reading) {
        self.is_complete &= !may_lack;
        match definitions {
            Field::Absent => {}
            Field::Broken => self.is_complete = false,
            Field::Given(given) => {
                for (name, entry) in given.value.entries {
                    self.define(name, entry, reading);
                }
            }
        }
    }

    /// Takes over one definition, unless there is one of that name.
    pub(super) fn define(&mut self, name: Box<str>, entry: Entry<K, T>, reading: &mut Reading) {
        match self.entries.entry(name) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
            }
            btree_map::Entry::Occupied(first) => {
                let message = format!("the {} {} is defined twice", self.kind, quoted(first.key()));
                let place = reading.place(first.get().span);
                let error = reading.error(entry.span, message);
                reading.report(error.with_related(&place, "first defined here"));
            }
        }
    }

    /// Resolves every definition.
    pub(super) fn resolve<R>(self, mut resolve: impl FnMut(K, Span, T) -> Option<R>) -> Known<R> {
        let resolve = |(name, entry): (Box<str>, Entry<K, T>)| {
            let parts = entry.key.zip(entry.value);
            (name, parts.and_then(|(key, value)| resolve(key, entry.span, value)))
        };
        Known { kind: self.kind, items: self.entries.into_iter().map(resolve).collect(), is_complete: self.is_complete }
    }
}

/// What can be referred to by name.
pub(super) struct Known<T> {
    /// What it is, for errors: "address set".
    pub(super) kind: &'static str,
    /// What each name stands for; nothing if that is broken.
    pub(super) items: BTreeMap<Box<str>, Option<T>>,
    /// Whether `items` has every name.
    pub(super) is_complete: bool,
}

impl<T: Clone> Known<T> {
    /// What `name`, written at `span`, refers to.
    pub(super) fn look_up(&self, name: &str, span: Span, reading: &mut Reading) -> Option<T> {
        if let Some(item) = self.items.get(name) {
            return item.clone();
        }
        if self.is_complete {
            let error = reading.error(span, format!("there is no {} {}", self.kind, quoted(name)));
            reading.report(error.with_help(self.what_there_is(name)));
        }
        None
    }

    fn what_there_is(&self, name: &str) -> String {
        let names = || self.items.keys().map(AsRef::as_ref);
        if let Some(near) = nearest(name, names()) {
            return format!("did you mean `{near}`?");
        }
        match self.items.len() {
            0 => format!("no {} is defined", self.kind),
            count @ 1..=8 => {
                let all: Vec<_> = names().map(|name| format!("`{name}`")).collect();
                let (plural, are) = if count == 1 { ("", "is") } else { ("s", "are") };
                format!("the {}{plural} that there {are}: {}", self.kind, all.join(", "))
            }
            count => format!("none of the {count} {}s has a name like it", self.kind),
        }
    }
}
