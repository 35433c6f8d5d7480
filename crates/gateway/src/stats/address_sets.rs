//! What is told of address sets that are fetched. They count for themselves: a set that is gone takes its series with it.

use std::fmt;
use std::sync::Arc;

use gatepost_ranges::{LiveSet, Outcome, SetReport};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, sets: &[Arc<LiveSet>]) -> fmt::Result {
    let mut sets: Vec<SetReport> = sets.iter().map(|set| set.report()).collect();
    sets.sort_by(|one, other| one.name.cmp(&other.name));
    encode_ages(encoder, &sets)?;
    let help = "Networks of an address set that is fetched, overlapping and neighbouring ones merged";
    encode_gauge(encoder, "address_set_prefixes", help, &sets, |set| set.networks)?;
    let help = "1 if an address set has a good copy; 0 if whoever depends on it is answered 503";
    encode_gauge(encoder, "address_set_loaded", help, &sets, |set| usize::from(set.age.is_some()))?;
    let help = "1 if an address set was not confirmed for longer than its `max_age`";
    encode_gauge(encoder, "address_set_stale", help, &sets, |set| usize::from(set.is_stale))?;
    let help = "1 if the last list of an address set changes more than it may, and is held";
    encode_gauge(encoder, "address_set_update_held", help, &sets, |set| usize::from(set.held.is_some()))?;
    encode_fetches(encoder, &sets)
}

fn encode_ages(encoder: &mut DescriptorEncoder<'_>, sets: &[SetReport]) -> fmt::Result {
    let help = "How long ago the copy of an address set came or was confirmed";
    let unit = Unit::Seconds;
    let mut family = encoder.encode_descriptor("address_set_age", help, Some(&unit), MetricType::Gauge)?;
    for set in sets {
        if let Some(age) = set.age {
            ConstGauge::new(age.as_secs_f64()).encode(family.encode_family(&[("set", &*set.name)])?)?;
        }
    }
    Ok(())
}

fn encode_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    sets: &[SetReport],
    value: impl Fn(&SetReport) -> usize,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for set in sets {
        let value = i64::try_from(value(set)).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(family.encode_family(&[("set", &*set.name)])?)?;
    }
    Ok(())
}

fn encode_fetches(encoder: &mut DescriptorEncoder<'_>, sets: &[SetReport]) -> fmt::Result {
    let help = "Fetches of the list of an address set, and what they came to";
    let mut family = encoder.encode_descriptor("address_set_fetches", help, None, MetricType::Counter)?;
    for set in sets {
        for (outcome, count) in Outcome::ALL.into_iter().zip(set.fetches) {
            let labels = [("set", &*set.name), ("outcome", outcome.name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
