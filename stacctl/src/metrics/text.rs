//! OpenMetrics 1.0 text. node_exporter's collector, which reads Prometheus text, understands it, too.

use std::collections::BTreeSet;

use libstas::bus::metrics::{FAMILIES, Sample};

use super::visible;

/// Formats samples, grouped by family. Samples of an unknown family are left out, and those whose name and labels were
/// shown already: a collector refuses a text with two values of one series.
pub(super) fn text(samples: &[Sample]) -> String {
    let mut out = String::new();
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for family in FAMILIES {
        let names: Vec<String> =
            family.kind.suffixes().iter().map(|suffix| format!("{}{suffix}", family.name)).collect();
        let mut members = samples.iter().filter(|sample| names.contains(&sample.name)).peekable();
        if members.peek().is_none() {
            continue;
        }
        out += &format!("# TYPE {} {}\n", family.name, family.kind.word());
        if !family.unit.is_empty() {
            out += &format!("# UNIT {} {}\n", family.name, family.unit);
        }
        out += &format!("# HELP {} {}\n", family.name, family.help);
        for sample in members {
            let series = series(sample);
            if !shown.contains(&series) {
                out += &format!("{series} {}\n", number(sample.value));
                shown.insert(series);
            }
        }
    }
    out + "# EOF\n"
}

/// The name with the labels.
fn series(sample: &Sample) -> String {
    let label = |(name, value): (&String, &String)| format!("{}=\"{}\"", legal(name), escaped(&visible(value)));
    let labels: Vec<String> = sample.labels.iter().map(label).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    format!("{}{labels}", sample.name)
}

fn number(value: f64) -> String {
    match value {
        infinite if infinite.is_infinite() => if infinite > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value => value.to_string(),
    }
}

/// A name with letters, digits and underscores only.
fn legal(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use libstas::bus::metrics::{CONNECTED, PAGE_AGE};

    use super::*;

    #[test]
    fn a_family_is_described_once_and_a_name_cannot_leave_its_quotes() {
        let samples = [
            Sample::new(PAGE_AGE, &[("host-iface", "eth0"), ("traddr", "a\"\\\n")], 2.5),
            Sample::new("stas_connects_total", &[], 3.0),
            Sample::new(PAGE_AGE, &[("traddr", "b")], f64::NAN),
            Sample::new("stas_of_a_later_version", &[], 1.0),
        ];
        let text = text(&samples);
        assert!(
            text.starts_with(
                "# TYPE stas_connects counter\n# HELP stas_connects Connections that the daemon has made.\n\
                 stas_connects_total 3\n# TYPE stas_log_page_age_seconds gauge\n# UNIT stas_log_page_age_seconds seconds\n"
            ),
            "{text}"
        );
        let quoted = "{host_iface=\"eth0\",traddr=\"a\\\"\\\\\\\\n\"} 2.5\n";
        assert!(text.contains(quoted), "{text}");
        assert!(text.ends_with("{traddr=\"b\"} NaN\n# EOF\n") && !text.contains("later") && !text.contains(CONNECTED));
    }

    /// Names that differ may look the same: a secret is masked, and an invisible character is escaped.
    #[test]
    fn no_series_is_shown_twice() {
        let secret = |body: &str| format!("nqn.x:DHHC-1:00:{body}:");
        for (one, other) in [
            (secret("ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n"), secret("AAAA")),
            ("nqn.\u{202e}".to_owned(), "nqn.\\u{202e}".to_owned()),
            ("nqn.a".to_owned(), "nqn.a".to_owned()),
        ] {
            let text = text(&[&one, &other].map(|nqn| Sample::new(PAGE_AGE, &[("subsysnqn", nqn)], 2.0)));
            assert_eq!(text.lines().filter(|line| line.starts_with("stas_log_page_age_seconds{")).count(), 1, "{text}");
        }
    }
}
