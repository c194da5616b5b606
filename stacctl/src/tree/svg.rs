//! The picture as SVG: a file without references to other files.

use std::fmt::Write as _;

use stas_cli::screen::Screen;
use stas_cli::table::Tone;
use unicode_width::UnicodeWidthStr as _;

use super::graph::{COLUMNS, Edge, EdgeKind, Graph, Node};

/// Sizes in pixels.
const CHARACTER: usize = 8;
const BOX_HEIGHT: usize = 44;
const GAP: usize = 14;
const BETWEEN_COLUMNS: usize = 90;
const MARGIN: usize = 20;
const HEADER: usize = 56;
const FOOTER: usize = 44;
/// Longest text in a box, in characters. The whole text is in the tooltip.
const TEXT: Screen = Screen { width: Some(44), utf8: true };

const STYLE: &str = "\
text{font:12px 'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#1a1a1a}\
.title{font-weight:bold}.head{font:bold 13px sans-serif;fill:#555}.legend{font:12px sans-serif}\
rect.box{fill:#fff;stroke:#777;stroke-width:1.5}\
rect.good{stroke:#1a7f37;fill:#effaf1}rect.underway{stroke:#b35900;fill:#fff6e5}rect.bad{stroke:#cf222e;fill:#fff0f0}\
path{fill:none;stroke:#777;stroke-width:1.5}path.good{stroke:#1a7f37}\
path.underway{stroke:#b35900;stroke-dasharray:8 4}path.bad{stroke:#cf222e;stroke-dasharray:2 4}\
path.lists{stroke:#999;stroke-width:1;stroke-dasharray:5 4}";

/// The place of a box.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    left: usize,
    top: usize,
    width: usize,
}

pub(super) fn svg(graph: &Graph) -> String {
    let (places, columns) = layout(graph);
    let bottom = places.iter().map(|place| place.top + BOX_HEIGHT).max().unwrap_or(HEADER);
    let width = columns.iter().map(|(left, width)| left + width).max().unwrap_or_default().max(640) + MARGIN;
    let height = bottom + FOOTER;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\" role=\"img\">\n<title>NVMe-oF connections of this host</title>\n<style>{STYLE}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for ((left, width), heading) in columns.iter().zip(COLUMNS).filter(|((_, width), _)| *width > 0) {
        let middle = left + width / 2;
        let _ = writeln!(out, "<text class=\"head\" x=\"{middle}\" y=\"32\" text-anchor=\"middle\">{heading}</text>");
    }
    // Boxes are drawn over lines.
    graph.edges.iter().for_each(|edge| draw_edge(&mut out, *edge, &places));
    graph.nodes.iter().zip(&places).for_each(|(node, place)| draw_box(&mut out, node, *place));
    legend(&mut out, height - 18);
    out + "</svg>\n"
}

/// The places of the boxes, and the left edge and the width of each column.
fn layout(graph: &Graph) -> (Vec<Place>, Vec<(usize, usize)>) {
    let width_of = |node: &Node| {
        let characters = [&node.title, &node.detail].map(|text| TEXT.fit(text).width()).into_iter().max();
        characters.unwrap_or_default() * CHARACTER + 2 * GAP
    };
    let mut columns = Vec::new();
    let mut left = MARGIN;
    for column in 0..COLUMNS.len() {
        let width = graph.nodes.iter().filter(|node| node.column == column).map(width_of).max().unwrap_or_default();
        columns.push((left, width));
        left += if width == 0 { 0 } else { width + BETWEEN_COLUMNS };
    }
    let mut places: Vec<Place> = graph
        .nodes
        .iter()
        .map(|node| columns.get(node.column).map(|(left, width)| Place { left: *left, top: 0, width: *width }))
        .map(Option::unwrap_or_default)
        .collect();
    // Paths are in the order of their subsystems. Every other box is placed beside those that it is connected with.
    for column in [3, 4, 2, 1, 0] {
        let boxes: Vec<usize> = (0..graph.nodes.len()).filter(|index| graph.nodes[*index].column == column).collect();
        let mut wanted: Vec<(usize, usize)> =
            boxes.iter().map(|index| (beside(graph, &places, *index), *index)).collect();
        if column != 3 {
            wanted.sort_unstable();
        }
        let mut free = HEADER;
        for (top, index) in wanted {
            places[index].top = top.max(free);
            free = places[index].top + BOX_HEIGHT + GAP;
        }
    }
    (places, columns)
}

/// The mean height of the boxes that are placed already and connected with this one.
fn beside(graph: &Graph, places: &[Place], index: usize) -> usize {
    let others = graph.edges.iter().filter_map(|edge| match edge {
        Edge { from, to, .. } if *from == index => Some(*to),
        Edge { from, to, .. } if *to == index => Some(*from),
        _ => None,
    });
    let tops: Vec<usize> =
        others.filter_map(|other| places.get(other)).map(|place| place.top).filter(|top| *top > 0).collect();
    if tops.is_empty() { HEADER } else { tops.iter().sum::<usize>() / tops.len() }
}

fn draw_edge(out: &mut String, edge: Edge, places: &[Place]) {
    let (Some(from), Some(to)) = (places.get(edge.from), places.get(edge.to)) else { return };
    let class = match edge.kind {
        EdgeKind::Part => "part",
        EdgeKind::Connection(tone) => class(Some(tone)),
        EdgeKind::Lists => "lists",
    };
    let (x, y) = (from.left + from.width, from.top + BOX_HEIGHT / 2);
    let (end_x, end_y) = (to.left, to.top + BOX_HEIGHT / 2);
    let bend = BETWEEN_COLUMNS / 2;
    let _ = writeln!(
        out,
        "<path class=\"{class}\" d=\"M{x} {y}C{} {y} {} {end_y} {end_x} {end_y}\"/>",
        x + bend,
        end_x.saturating_sub(bend)
    );
}

fn draw_box(out: &mut String, node: &Node, place: Place) {
    let Place { left, top, width } = place;
    let text = left + GAP;
    let _ = writeln!(
        out,
        "<g><title>{} {}</title><rect class=\"box {}\" x=\"{left}\" y=\"{top}\" width=\"{width}\" \
         height=\"{BOX_HEIGHT}\" rx=\"5\"/><text class=\"title\" x=\"{text}\" y=\"{}\">{}</text><text x=\"{text}\" \
         y=\"{}\">{}</text></g>",
        escaped(&node.title),
        escaped(&node.detail),
        class(node.tone),
        top + 18,
        escaped(&TEXT.fit(&node.title)),
        top + 35,
        escaped(&TEXT.fit(&node.detail)),
    );
}

fn legend(out: &mut String, top: usize) {
    let mut left = MARGIN;
    for (class, words) in [
        ("good", "connected"),
        ("underway", "in progress"),
        ("bad", "not connected"),
        ("lists", "lists in its log page"),
    ] {
        let end = left + 30;
        let _ = writeln!(
            out,
            "<path class=\"{class}\" d=\"M{left} {}H{end}\"/><text class=\"legend\" x=\"{}\" y=\"{top}\">{words}</text>",
            top - 4,
            end + 8
        );
        left = end + 40 + words.len() * 7;
    }
}

fn class(tone: Option<Tone>) -> &'static str {
    match tone {
        Some(Tone::Good) => "good",
        Some(Tone::Underway) => "underway",
        Some(Tone::Bad) => "bad",
        None => "",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::topology::tests::example;
    use super::super::topology::{Known, Topology};
    use super::*;

    #[test]
    fn names_are_escaped_and_nothing_is_loaded_from_elsewhere() {
        let picture = svg(&Graph::of(&Topology::of(example())));
        assert!(picture.contains("nqn.&quot;b&quot;&lt;&amp;\\u{1b}"), "{picture}");
        assert!(!picture.contains("href") && !picture.contains("url(") && !picture.contains("<script"));
        assert_eq!(picture.matches("<g>").count(), picture.matches("</g>").count());
    }

    #[test]
    fn boxes_of_a_column_do_not_overlap_and_the_picture_holds_them() {
        let graph = Graph::of(&Topology::of(example()));
        let (places, _) = layout(&graph);
        for (index, node) in graph.nodes.iter().enumerate() {
            for (other, other_node) in graph.nodes.iter().enumerate().skip(index + 1) {
                let apart = places[index].top.abs_diff(places[other].top) >= BOX_HEIGHT;
                assert!(node.column != other_node.column || apart, "{node:?} {other_node:?}");
            }
        }
        assert!(svg(&Graph::of(&Topology::of(Known::default()))).contains("host"));
    }
}
