//! The metrics that both daemons have.

use std::collections::BTreeMap;

use stas_bus::metrics::{
    ADOPTED, CONNECTED, CONNECTS, CONTROLLERS, DISCONNECTS, FAILURES, LOST_EVENTS, QUEUE_WAIT, RECONNECTS, Sample,
    WANTED,
};
use stas_core::counters::{Counters, End, WAIT_BOUNDS};
use stas_core::fleet::{Listed, Status};
use stas_nvme::Tid;

/// The numbers of controllers, and the counters. `reason` is the kind of reason for not being connected.
pub fn samples<'a>(
    listed: impl Iterator<Item = Listed<'a>>,
    reason: impl Fn(&Tid) -> Option<String>,
    counters: &Counters,
) -> Vec<Sample> {
    // Each state has a value, so that a rule may rely on it.
    let mut numbers: BTreeMap<(String, String), u64> =
        Status::ALL.map(|state| ((state.to_string(), String::new()), 0)).into();
    let (mut wanted, mut connected) = (0, 0);
    for Listed { tid, status, .. } in listed {
        let reason = match status {
            Status::Waiting | Status::GivenUp | Status::Queued | Status::Connecting => reason(tid).unwrap_or_default(),
            _ => String::new(),
        };
        *numbers.entry((status.to_string(), reason)).or_default() += 1;
        wanted += u64::from(status.is_wanted());
        connected += u64::from(status == Status::Connected);
    }
    let states = numbers.iter().map(|((state, reason), count)| {
        Sample::new(CONTROLLERS, &[("state", state.as_str()), ("reason", reason.as_str())], number(*count))
    });
    let mut samples: Vec<Sample> = states.collect();
    samples.push(Sample::new(WANTED, &[], number(wanted)));
    samples.push(Sample::new(CONNECTED, &[], number(connected)));
    let mut count = |name: &str, labels: &[(&str, &str)], value: u64| {
        samples.push(Sample::new(format!("{name}_total"), labels, number(value)));
    };
    count(CONNECTS, &[], counters.connects);
    count(ADOPTED, &[], counters.found);
    counters.failures.iter().for_each(|(reason, value)| count(FAILURES, &[("reason", reason)], *value));
    for end in End::ALL {
        count(DISCONNECTS, &[("cause", end.label())], counters.ends.get(&end).copied().unwrap_or_default());
    }
    count(RECONNECTS, &[], counters.reconnects);
    count(LOST_EVENTS, &[], counters.overruns);
    samples.extend(queue_wait(counters));
    samples
}

fn queue_wait(counters: &Counters) -> impl Iterator<Item = Sample> {
    let waits = &counters.waits;
    let mut up_to = 0;
    let classes = WAIT_BOUNDS.iter().zip(waits.classes).map(move |(bound, count)| {
        up_to += count;
        (format!("{bound:?}"), up_to)
    });
    let classes = classes.chain([("+Inf".to_owned(), waits.count)]);
    let buckets =
        classes.map(|(bound, count)| Sample::new(format!("{QUEUE_WAIT}_bucket"), &[("le", &bound)], number(count)));
    let count = Sample::new(format!("{QUEUE_WAIT}_count"), &[], number(waits.count));
    buckets.chain([count, Sample::new(format!("{QUEUE_WAIT}_sum"), &[], waits.sum.as_secs_f64())])
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use stas_nvme::{TidParts, Transport};

    #[test]
    fn controllers_are_counted_by_state_and_reason() {
        let tid = Tid::new(TidParts {
            traddr: "192.0.2.1".into(),
            trsvcid: "4420".into(),
            subsysnqn: "nqn.a".into(),
            ..TidParts::none(Transport::Tcp)
        });
        let listed = [Status::Connected, Status::Waiting, Status::Waiting, Status::Kept, Status::Excluded];
        let listed = listed.map(|status| Listed { tid: &tid, status, ctrl: None, announced_only: false });
        let mut counters = Counters::default();
        (counters.connects, counters.waits.count) = (5, 4);
        (counters.waits.classes[0], counters.waits.classes[3]) = (2, 1);
        let samples = samples(listed.into_iter(), |_| Some("unreachable".to_owned()), &counters);
        let value = |name: &str, labels: &[(&str, &str)]| {
            let wanted = Sample::new(name, labels, 0.0);
            samples
                .iter()
                .find(|sample| sample.name == name && sample.labels == wanted.labels)
                .map(|sample| sample.value)
        };
        assert_eq!(value(CONTROLLERS, &[("state", "waiting"), ("reason", "unreachable")]), Some(2.0));
        assert_eq!(value(CONTROLLERS, &[("state", "waiting"), ("reason", "")]), Some(0.0));
        assert_eq!((value(WANTED, &[]), value(CONNECTED, &[])), (Some(3.0), Some(1.0)));
        assert_eq!(value("stas_connects_total", &[]), Some(5.0));
        assert_eq!(value("stas_disconnects_total", &[("cause", "lost")]), Some(0.0));
        let bucket = |bound: &str| value("stas_queue_wait_seconds_bucket", &[("le", bound)]);
        assert_eq!([bucket("0.1"), bucket("1.0"), bucket("5.0"), bucket("+Inf")], [2.0, 2.0, 3.0, 4.0].map(Some));
    }
}
