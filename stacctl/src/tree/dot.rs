//! The picture in the language of Graphviz.

use stas_cli::table::Tone;

use super::graph::{EdgeKind, Graph};

pub(super) fn dot(graph: &Graph) -> String {
    let mut out = "digraph nvme {\n  rankdir=LR;\n  node [shape=box, fontname=monospace];\n".to_owned();
    for (index, node) in graph.nodes.iter().enumerate() {
        let color = node.tone.map_or("black", color);
        // `\n` breaks the line; it is not part of either text.
        let label = format!("{}\\n{}", escaped(&node.title), escaped(&node.detail));
        out += &format!("  n{index} [label=\"{label}\", color={color}];\n");
    }
    for edge in &graph.edges {
        let style = match edge.kind {
            EdgeKind::Part => "dir=none".to_owned(),
            EdgeKind::Connection(tone) => format!("dir=none, color={}", color(tone)),
            EdgeKind::Lists => "style=dashed, color=gray, tooltip=\"lists\"".to_owned(),
        };
        out += &format!("  n{} -> n{} [{style}];\n", edge.from, edge.to);
    }
    out + "}\n"
}

fn color(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "darkgreen",
        Tone::Underway => "darkorange",
        Tone::Bad => "red",
    }
}

/// Graphviz reads the entities of HTML also in a quoted text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::super::topology::Topology;
    use super::super::topology::tests::example;
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_label() {
        let text = dot(&Graph::of(&Topology::of(example())));
        assert!(text.contains(r#"[label="nqn.\"b\"<&amp;\\u{1b}\n0 of 1 path connected", color=red];"#), "{text}");
        assert!(text.starts_with("digraph nvme {\n") && text.ends_with("}\n"));
        assert_eq!(text.matches("style=dashed").count(), 1);
    }
}
