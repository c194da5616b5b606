//! What a configuration would list if it were in force, given the addresses of its host names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{ConfigView, Configured, Defaults, Progress};
use crate::context::{Context, Supply};
use crate::effect::HostEffect;
use crate::{ResolveError, Time};
use stas_nvme::{Parameters, Tid};

/// A `controller=` that would not be connected because of the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutLine {
    /// The line of the `controller=`.
    pub line: usize,
    /// Why it is not connected.
    pub reason: String,
}

/// The result of [`Review::of`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// The controllers that the configuration lists, each with its parameters and the first line that lists it.
    pub controllers: BTreeMap<Tid, (Parameters, usize)>,
    /// The entries that would not be connected, in the order of the lines.
    pub left_out: Vec<LeftOutLine>,
}

impl Review {
    /// Decides like a daemon that starts with these settings. `addresses` are the answers to the look-ups of
    /// [`Review::names`].
    #[must_use]
    pub fn of(
        view: &ConfigView<'_>,
        defaults: &Defaults<'_>,
        addresses: &BTreeMap<String, Result<Vec<IpAddr>, ResolveError>>,
    ) -> Self {
        let (mut supply, mut effects) = (Supply::default(), Vec::<HostEffect>::new());
        let mut configured = Configured::default();
        let mut ctx = Context::new(Time::default(), &mut supply, &mut effects);
        configured.set(&mut ctx, view);
        let due = ctx.timers.due(ctx.now);
        configured.tick(&mut ctx, &due);
        let asked: Vec<HostEffect> = std::mem::take(&mut effects);
        let mut ctx = Context::new(Time::default(), &mut supply, &mut effects);
        for effect in asked {
            if let HostEffect::Resolve { op, name } = effect
                && let Some(answer) = addresses.get(&name)
            {
                configured.resolved(&mut ctx, op, answer);
            }
        }
        let listed = configured.controllers(
            &mut ctx,
            defaults,
            &Progress { live: &|_| false, arrived: &|_| false, held: &|_| false, attempts: &|_| 0 },
        );
        let lines = configured.config_lines(defaults).lines;
        // An excluded controller is listed, and left out of what is connected.
        let is_used = |tid: &Tid| configured.allows(tid) && !configured.excludes(tid, &tid.host_iface);
        let listed = listed.into_iter().filter(|(tid, _)| is_used(tid));
        let controllers = listed.map(|(tid, parameters)| {
            let line = lines.get(&tid).copied().unwrap_or_default();
            (tid, (parameters, line))
        });
        let controllers = controllers.collect();
        let left_out = configured.left_out.iter();
        let left_out = left_out.map(|left_out| LeftOutLine { line: left_out.line, reason: left_out.reason.clone() });
        let mut left_out: Vec<LeftOutLine> = left_out.collect();
        left_out.sort_by_key(|left_out| left_out.line);
        Self { controllers, left_out }
    }

    /// The host names in `controller=` and `exclude=`.
    #[must_use]
    pub fn names<'a>(view: &ConfigView<'a>) -> BTreeSet<&'a str> {
        let controllers = view.controllers.iter().filter(|entry| entry.is_name).map(|entry| entry.traddr.as_str());
        let exclusions = view.exclusions.iter().filter(|exclusion| exclusion.is_name);
        controllers.chain(exclusions.filter_map(|exclusion| exclusion.traddr.as_deref())).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::conf::stacd;

    const CONF: &str = "[Global]
ip-family=ipv4
[Controllers]
controller=transport=tcp;traddr=array;trsvcid=4420;nqn=nqn.a
controller=transport=tcp;traddr=nowhere;trsvcid=4420;nqn=nqn.b
controller=transport=tcp;traddr=2001:db8::1;trsvcid=4420;nqn=nqn.c
controller=transport=tcp;traddr=192.0.2.3;trsvcid=4420;nqn=nqn.d
exclude=traddr=spare
";

    #[test]
    fn what_is_listed_and_what_is_left_out_is_what_a_daemon_would_decide() {
        let conf = stacd::parse(CONF.as_bytes(), "stacd.conf").0;
        let view = ConfigView::from(&conf);
        assert_eq!(Review::names(&view), BTreeSet::from(["array", "nowhere", "spare"]));
        let defaults = Defaults { parameters: &conf.parameters, host_nqn: "nqn.host", subsysnqn: "" };
        let addresses = BTreeMap::from([
            ("array".to_owned(), Ok(vec!["192.0.2.1".parse().unwrap()])),
            ("nowhere".to_owned(), Err(ResolveError::NoAddress("nowhere".to_owned()))),
            ("spare".to_owned(), Ok(vec!["192.0.2.3".parse().unwrap()])),
        ]);
        let review = Review::of(&view, &defaults, &addresses);
        let listed: Vec<(&str, &str, usize)> = review
            .controllers
            .iter()
            .map(|(tid, (_, line))| (tid.traddr.as_str(), tid.subsysnqn.as_str(), *line))
            .collect();
        assert_eq!(listed, [("192.0.2.1", "nqn.a", 4)]);
        let reasons: Vec<String> =
            review.left_out.iter().map(|left| format!("{}: {}", left.line, left.reason)).collect();
        assert_eq!(
            reasons,
            [
                "5: host name nowhere cannot be resolved: nowhere has no address",
                "6: outside ip-family=ipv4",
                "7: excluded by exclude= in stacd.conf:8",
            ]
        );
    }
}
