//! Describes the schema of `-o json` by its tables.

use stas_cli::schema::{Attribute, TABLES, VERSION};

use crate::mdoc::{Page, literal, prose};

/// Describes each attribute: its name, its type and what it says. The rest of the page is written by hand.
pub(crate) fn page(mut page: Page) -> Page {
    page.section("DESCRIPTION");
    page.text(&format!(
        "This is version {VERSION} of the schema. \
         The version is raised when an attribute is removed, or changes its name, type or meaning. \
         Attributes may be added in the same version: a program must ignore those that it does not know."
    ));
    page.insert("ATTRIBUTES", |page| TABLES.iter().for_each(|(heading, attributes)| table(page, heading, attributes)));
    page
}

fn table(page: &mut Page, heading: &str, attributes: &[Attribute]) {
    page.line(format_args!(".Ss {}", literal(heading)));
    page.line(".Bl -tag -width Ds");
    for attribute in attributes {
        page.line(format_args!(".It Li {}", literal(attribute.name)));
        page.line(format_args!("{}.", attribute.kind.in_words()));
        page.line(prose(attribute.about));
    }
    page.line(".El");
}
