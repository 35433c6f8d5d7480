//! Whole numbers with a range, and yes or no.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::decode::{Decode, Decoder, Item};

/// Reads a whole number within `range`; `why` says what is wrong with one outside of it.
fn whole(item: Item<'_>, decoder: &mut Decoder<'_>, range: std::ops::RangeInclusive<u64>, why: &str) -> Option<u64> {
    let (least, most) = range.clone().into_inner();
    let DeValue::Integer(number) = item.value else {
        decoder.wrong_kind(item, &format!("a whole number from {least} to {most}"));
        return None;
    };
    let read = u64::from_str_radix(number.as_str(), number.radix()).ok();
    if let Some(value) = read.filter(|value| range.contains(value)) {
        return Some(value);
    }
    let message = format!("`{number}` is out of range: {why}");
    let help = format!("write a whole number from {least} to {most}");
    decoder.report(decoder.error(item.span, message).with_help(help));
    None
}

/// What can hold a whole number.
trait Holds: Sized {
    fn hold(number: u64) -> Option<Self>;
}

macro_rules! holds {
    ($($plain:ty),+; $($non_zero:ty),+) => {
        $(impl Holds for $plain {
            fn hold(number: u64) -> Option<Self> {
                number.try_into().ok()
            }
        })+
        $(impl Holds for $non_zero {
            fn hold(number: u64) -> Option<Self> {
                number.try_into().ok().and_then(Self::new)
            }
        })+
    };
}

holds!(u16, u32, usize; NonZeroU32, NonZeroU64, NonZeroUsize);

/// Declares whole numbers: a name, a type to hold it, the range, and why there is one.
macro_rules! whole_numbers {
    ($( $(#[doc = $about:literal])+ $name:ident: $kind:ty = $least:literal..=$most:literal, $why:literal; )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub(crate) struct $name(pub(crate) $kind);

            impl Decode for $name {
                fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
                    let number = whole(item, decoder, $least..=$most, $why)?;
                    Holds::hold(number).map(Self)
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "integer", "minimum": $least as u64, "maximum": $most as u64 })
                }
            }
        )+
    };
}

whole_numbers! {
    /// How many tokens a bucket holds.
    Burst: NonZeroU32 = 1..=4_294_967_295, "a bucket that holds nothing lets nobody through";
    /// How many requests may be under way at once.
    Parallel: NonZeroUsize = 1..=1_000_000, "there must be room for one request, and nobody needs room for more than a million";
    /// How many requests in a window of time.
    QuotaLimit: NonZeroU64 = 1..=1_000_000_000_000_000, "a quota of nothing lets nobody through, and a larger one stops nobody";
    /// How many threads.
    Workers: NonZeroUsize = 1..=1_024, "somebody has to do the work, and no machine has more cores";
    /// How many connections.
    Connections: usize = 1..=10_000_000, "a listener without room for one connection serves nobody";
    /// How many header fields.
    HeaderCount: usize = 1..=1_000, "every request has a header, and none needs more than a thousand";
    /// How many requests at once on one connection.
    Streams: u32 = 1..=1_000, "a connection without room for one request serves nobody, and none needs room for more than a thousand";
    /// How many probes in a row change what is thought of a target.
    Probes: NonZeroU32 = 1..=10, "one probe is the least that can tell, and more than ten tell it too late";
    /// How many failures in a row have a target left alone.
    Failures: NonZeroU32 = 1..=1_000, "one failure is the least that can tell, and more than a thousand tell it too late";
    /// How often another target is tried.
    Retries: u32 = 0..=10, "trying more often only adds to what is wrong";
    /// The status of an answer.
    AnswerStatus: u16 = 200..=599, "an answer has a status from 200 to 599";
}

/// Reads a number within `range`, with or without a fraction; `why` says what is wrong with one outside of it.
fn number(item: Item<'_>, decoder: &mut Decoder<'_>, range: std::ops::RangeInclusive<f64>, why: &str) -> Option<f64> {
    let (least, most) = range.clone().into_inner();
    let read = match item.value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok().map(|whole| whole as f64),
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            decoder.wrong_kind(item, &format!("a number from {least} to {most}"));
            return None;
        }
    };
    if let Some(value) = read.filter(|value| range.contains(value)) {
        return Some(value);
    }
    let error = decoder.error(item.span, format!("this is out of range: {why}"));
    decoder.report(error.with_help(format!("write a number from {least} to {most}")));
    None
}

/// Declares numbers that may have a fraction: a name, the range, and why there is one.
macro_rules! numbers {
    ($( $(#[doc = $about:literal])+ $name:ident = $least:literal..=$most:literal, $why:literal; )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, Copy, PartialEq)]
            pub(crate) struct $name(pub(crate) f64);

            impl Decode for $name {
                fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
                    number(item, decoder, $least..=$most, $why).map(Self)
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "number", "minimum": $least, "maximum": $most })
                }
            }
        )+
    };
}

numbers! {
    /// A share of a whole.
    Share = 0.0..=1.0, "a share is a part of the whole, such as 0.5 for half of it";
    /// How many times as many.
    Factor = 1.0..=1_000_000.0, "less than 1 would hold an update that changes nothing";
}

impl Decode for bool {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        match item.value {
            DeValue::Boolean(value) => Some(*value),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                decoder.wrong_kind(item, "`true` or `false`");
                None
            }
        }
    }
}
