//! Compares JSON with what nvme-stas-json(5) says.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// The tables of the manual page: the type of each attribute, by heading and name.
pub(crate) struct Documented(BTreeMap<String, BTreeMap<String, String>>);

impl Documented {
    pub(crate) fn read() -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/man/nvme-stas-json.5");
        let page = std::fs::read_to_string(page).unwrap().replace("\\-", "-");
        let (_, page) = page.split_once(".Sh ATTRIBUTES\n").unwrap();
        let (page, _) = page.split_once("\n.Sh ").unwrap();
        let tables = page.split(".Ss ").skip(1).map(|table| {
            let (heading, items) = table.split_once('\n').unwrap();
            let items = items.split(".It Li ").skip(1).map(|item| {
                let mut lines = item.lines();
                (lines.next().unwrap().to_owned(), lines.next().unwrap().trim_end_matches('.').to_owned())
            });
            (heading.to_owned(), items.collect())
        });
        Self(tables.collect())
    }

    /// Panics unless the object has each attribute of the tables, with its type, and no attribute beside them and
    /// `more`.
    pub(crate) fn check(&self, object: &Value, headings: &[&str], more: &[&str]) {
        let mut known: Vec<&str> = more.to_vec();
        for heading in headings {
            for (name, types) in &self.0[*heading] {
                let pointer = format!("/{}", name.replace('.', "/"));
                let value =
                    object.pointer(&pointer).unwrap_or_else(|| panic!("{heading}: {name} is missing: {object:#}"));
                assert!(types.replace(" or ", ", ").split(", ").any(|kind| kind == kind_of(value)), "{name}: {value}");
                known.push(name.split('.').next().unwrap());
            }
        }
        for name in object.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "{name} is not documented");
        }
    }

    /// As [`Documented::check`], for each object of an array that is not empty.
    pub(crate) fn check_each(&self, objects: &Value, headings: &[&str], more: &[&str]) {
        let objects = objects.as_array().unwrap();
        assert!(!objects.is_empty());
        objects.iter().for_each(|object| self.check(object, headings, more));
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
