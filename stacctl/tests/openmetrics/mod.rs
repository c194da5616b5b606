//! Checks a text by the rules of OpenMetrics 1.0, as far as they concern gauges, counters and histograms.

use std::collections::{BTreeMap, BTreeSet};

/// The values of a valid text, by their names with labels.
pub(crate) fn check(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the last line is # EOF");
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let (mut values, mut current, mut described) = (BTreeMap::new(), String::new(), BTreeSet::new());
    for line in body.lines() {
        assert!(!line.is_empty() && !line.starts_with("# EOF"), "{line:?}");
        if let Some(description) = line.strip_prefix("# ") {
            let mut words = description.splitn(3, ' ');
            let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            assert!(described.insert((keyword.to_owned(), name.to_owned())), "{line}: twice");
            match keyword {
                "TYPE" => {
                    assert!(["gauge", "counter", "histogram"].contains(&rest), "{line}");
                    assert!(
                        kinds.insert(name.to_owned(), rest.to_owned()).is_none(),
                        "{line}: a family is interrupted"
                    );
                    current = name.to_owned();
                }
                "UNIT" => assert!(name == current && name.ends_with(&format!("_{rest}")), "{line}"),
                "HELP" => assert!(name == current && !rest.is_empty(), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels));
        let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line}: not of the family {current}"));
        let suffixes: &[&str] = match kinds[&current].as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            _ => &["_bucket", "_count", "_sum"],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        check_labels(labels, line);
        let value: f64 = value.replace("Inf", "inf").parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(kinds[&current] == "gauge" || value >= 0.0, "{line}");
        assert!(values.insert(series.to_owned(), value).is_none(), "{line}: twice");
    }
    check_buckets(&values);
    values
}

/// `name="value",name="value"}`
fn check_labels(labels: &str, line: &str) {
    let mut rest = labels;
    let mut names = BTreeSet::new();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        assert!(!name.starts_with(|c: char| c.is_ascii_digit()) && names.insert(name), "{line}");
        let mut escaped = false;
        let end = value.find(|c: char| {
            if escaped {
                assert!(['\\', '"', 'n'].contains(&c), "{line}: \\{c}");
                escaped = false;
                return false;
            }
            escaped = c == '\\';
            c == '"'
        });
        rest = &value[end.unwrap_or_else(|| panic!("{line}")) + 1..];
        rest = match rest {
            "}" => "",
            more => more.strip_prefix(',').unwrap_or_else(|| panic!("{line}")),
        };
    }
}

/// The classes of a histogram grow, and the last one has all.
fn check_buckets(values: &BTreeMap<String, f64>) {
    for (series, all) in values.iter().filter(|(series, _)| series.contains("le=\"+Inf\"")) {
        let of_same = |other: &str| {
            let bound = other.split("le=\"").nth(1)?.split('"').next()?;
            (other.replace(&format!("le=\"{bound}\""), "") == series.replace("le=\"+Inf\"", ""))
                .then_some(bound.to_owned())
        };
        let mut classes: Vec<(f64, f64)> = values
            .iter()
            .filter_map(|(other, count)| Some((of_same(other)?.replace("Inf", "inf").parse().unwrap(), *count)))
            .collect();
        classes.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(classes.len() > 1 && classes.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{series}: {classes:?}");
        let count = series.replace("_bucket", "_count").replace(",le=\"+Inf\"", "").replace("le=\"+Inf\"", "");
        assert_eq!(values.get(&count.replace("{}", "")), Some(all), "{series}");
    }
}
