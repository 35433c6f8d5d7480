//! What is counted of upstreams and their targets. They count for themselves: a target that is gone takes its series
//! with it, so there are never more of them than the configuration names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::upstream::{Common, Target, TargetState};

/// What the targets of one upstream with one URL come to: there are several if they differ in what no label tells.
#[derive(Debug, Default)]
struct Sums {
    requests: usize,
    ejections: u64,
    unfit: bool,
}

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, targets: &[Arc<Target>]) -> fmt::Result {
    let mut upstreams: BTreeMap<&str, &Common> = BTreeMap::new();
    let mut sums: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    for target in targets {
        upstreams.insert(&target.upstream.name, &target.upstream);
        let sum = sums.entry((&target.upstream.name, &target.url)).or_default();
        sum.requests += target.under_way.taken();
        sum.ejections += target.condition.ejections.load(Ordering::Relaxed);
        sum.unfit |= !matches!(target.condition.state().0, TargetState::Unchecked | TargetState::Healthy);
    }
    encode_targets(encoder, &sums)?;
    encode_retries(encoder, &upstreams)
}

fn encode_targets(encoder: &mut DescriptorEncoder<'_>, sums: &BTreeMap<(&str, &str), Sums>) -> fmt::Result {
    let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
    let help = "1 if the target is sent requests; 0 if its probes failed or have not told yet, or if it is ejected";
    let mut family = encoder.encode_descriptor("target_healthy", help, None, MetricType::Gauge)?;
    for (&(upstream, target), sum) in sums {
        let labels = [("upstream", upstream), ("target", target)];
        gauge(usize::from(!sum.unfit)).encode(family.encode_family(&labels)?)?;
    }
    let help = "Requests under way by target, to the last byte of their answers";
    let mut family = encoder.encode_descriptor("target_requests", help, None, MetricType::Gauge)?;
    for (&(upstream, target), sum) in sums {
        let labels = [("upstream", upstream), ("target", target)];
        gauge(sum.requests).encode(family.encode_family(&labels)?)?;
    }
    let help = "Times that a target was left alone for a while because requests sent to it failed";
    let mut family = encoder.encode_descriptor("target_ejections", help, None, MetricType::Counter)?;
    for (&(upstream, target), sum) in sums {
        let labels = [("upstream", upstream), ("target", target)];
        ConstCounter::new(sum.ejections).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_retries(encoder: &mut DescriptorEncoder<'_>, upstreams: &BTreeMap<&str, &Common>) -> fmt::Result {
    let help = "Requests tried again by upstream, and those that were not because too many had been";
    let mut family = encoder.encode_descriptor("retries", help, None, MetricType::Counter)?;
    for (&upstream, common) in upstreams {
        for (outcome, counter) in [("tried", &common.retries), ("refused", &common.retries_refused)] {
            let labels = [("upstream", upstream), ("outcome", outcome)];
            ConstCounter::new(counter.load(Ordering::Relaxed)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
