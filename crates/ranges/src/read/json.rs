//! The strings that selections pick out of a JSON document, without keeping any other part of it: a document takes no
//! more memory than its own bytes and the networks in it.

use std::borrow::Cow;
use std::fmt;

use gatepost_config::model::Selection;
use ipnet::IpNet;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{ReadError, beginning, push};

/// What a visitor makes of values that are neither text nor made of others.
macro_rules! scalars_are {
    ($kind:ty, $value:expr) => {
        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<$kind, E> {
            Ok($value)
        }

        fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<$kind, E> {
            Ok($value)
        }

        fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<$kind, E> {
            Ok($value)
        }

        fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<$kind, E> {
            Ok($value)
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<$kind, E> {
            Ok($value)
        }
    };
}

/// Everything that the selections pick.
pub(super) fn select(bytes: &[u8], selections: &[Selection]) -> Result<Vec<IpNet>, ReadError> {
    let mut networks = Vec::new();
    for selection in selections {
        let tokens = tokens(&selection.array);
        let mut found = Found { networks: &mut networks, selection, seen: false, problem: None };
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let walked = Walk { tokens: &tokens, found: &mut found }.deserialize(&mut reader);
        let read = walked.and_then(|()| reader.end());
        if let Some(problem) = found.problem.take() {
            return Err(problem);
        }
        let seen = found.seen;
        read.map_err(|error| ReadError::NotJson(beginning(&error.to_string())))?;
        if !seen {
            return Err(no_array(selection));
        }
    }
    Ok(networks)
}

/// The parts of a JSON pointer, as they are to be found (RFC 6901, 4).
fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

fn no_array(selection: &Selection) -> ReadError {
    ReadError::NoArray { pointer: selection.array.clone() }
}

/// What was found on a walk.
struct Found<'a> {
    networks: &'a mut Vec<IpNet>,
    selection: &'a Selection,
    /// Whether the array was come by.
    seen: bool,
    /// Why the walk ended, when it was not for the JSON.
    problem: Option<ReadError>,
}

impl Found<'_> {
    fn give_up<E: serde::de::Error>(&mut self, problem: ReadError) -> E {
        self.problem = Some(problem);
        E::custom("")
    }
}

/// The way down to an array: the tokens that are left.
struct Walk<'w, 'a> {
    tokens: &'w [String],
    found: &'w mut Found<'a>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.tokens {
            [] => deserializer.deserialize_any(Items(self.found)),
            [_, ..] => deserializer.deserialize_any(self),
        }
    }
}

/// What can be stepped into. Whatever else stands there is not what the pointer means.
impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else { return Ok(()) };
        let mut met = false;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name != **token {
                map.next_value::<IgnoredAny>()?;
            } else if met {
                // Two readers could take two different ones for it.
                return Err(A::Error::custom("a name is there twice"));
            } else {
                met = true;
                map.next_value_seed(Walk { tokens: rest, found: &mut *self.found })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else { return Ok(()) };
        let wanted = token.parse::<usize>().ok().filter(|index| index.to_string() == *token);
        for index in 0_usize.. {
            let more = if Some(index) == wanted {
                sequence.next_element_seed(Walk { tokens: rest, found: &mut *self.found })?.is_some()
            } else {
                sequence.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    scalars_are!((), ());
}

/// The array itself.
struct Items<'w, 'a>(&'w mut Found<'a>);

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        self.0.seen = true;
        let mut number = 1;
        while sequence.next_element_seed(Item { found: &mut *self.0, number })?.is_some() {
            number += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    scalars_are!((), ());
}

/// One item of the array.
struct Item<'w, 'a> {
    found: &'w mut Found<'a>,
    number: usize,
}

impl Item<'_, '_> {
    fn push<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let Self { found, number } = self;
        push(found.networks, text, number).map_err(|problem| found.give_up(problem))
    }

    fn wrong<E: serde::de::Error>(self, what: &str) -> Result<(), E> {
        let problem = ReadError::Entry { number: self.number, text: what.into() };
        Err(self.found.give_up(problem))
    }
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an address")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if self.found.selection.members.is_empty() { self.push(text) } else { self.wrong("a string") }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Selection { members, only, .. } = self.found.selection;
        if members.is_empty() {
            return self.wrong("an object");
        }
        let mut address = None;
        let mut held = vec![false; only.len()];
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if members.iter().any(|member| **member == *name) {
                let text = map.next_value_seed(Text)?;
                if address.replace(text).is_some() {
                    return self.wrong("two addresses");
                }
            } else if let Some(place) = only.iter().position(|(member, _)| **member == *name) {
                held[place] = map.next_value_seed(Says(&only[place].1))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if held.contains(&false) {
            return Ok(());
        }
        match address.flatten() {
            Some(text) => self.push(&text),
            None => self.wrong("an object without an address"),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.wrong("an array")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.wrong("true or false")
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.wrong("a number")
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.wrong("a number")
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.wrong("a number")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.wrong("null")
    }
}

/// A string, if it is one.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    scalars_are!(Option<String>, None);
}

/// Whether a value is this string, or an array that has it.
struct Says<'s>(&'s str);

impl<'de> DeserializeSeed<'de> for Says<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Says<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<bool, A::Error> {
        let mut says = false;
        while let Some(item) = sequence.next_element_seed(Text)? {
            says |= item.is_some_and(|item| item == self.0);
        }
        Ok(says)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    scalars_are!(bool, false);
}
