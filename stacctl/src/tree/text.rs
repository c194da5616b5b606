//! The picture as lines.

use stas_cli::screen::Screen;

use super::topology::{Link, Topology, count};

/// A line with those that belong to it.
struct Node {
    text: String,
    below: Vec<Node>,
}

/// The characters before a line.
struct Branches {
    /// Before a line with others after it, and before the last one.
    line: [&'static str; 2],
    /// The same for what is below that line.
    below: [&'static str; 2],
}

const UTF8: Branches = Branches { line: ["├─ ", "└─ "], below: ["│  ", "   "] };
const ASCII: Branches = Branches { line: ["|- ", "`- "], below: ["|  ", "   "] };

pub(super) fn text(topology: &Topology, screen: Screen) -> String {
    let host = if topology.host_nqn.is_empty() { "host".to_owned() } else { format!("host {}", topology.host_nqn) };
    let mut below: Vec<Node> = topology.interfaces.iter().map(|name| interface(topology, Some(name))).collect();
    if topology.dcs.iter().any(|dc| dc.interface.is_none()) {
        below.push(interface(topology, None));
    }
    for subsystem in &topology.subsystems {
        let paths = subsystem.paths.iter().map(|path| leaf(path_line(topology, path))).collect();
        let text = format!("subsystem {}: {}", subsystem.nqn, count(subsystem.paths.iter(), "path"));
        below.push(Node { text, below: paths });
    }
    if !topology.knows_dcs {
        below.push(leaf("no discovery controllers: stafd is not running".to_owned()));
    }
    let mut out = format!("{}\n", screen.fit(&host));
    write(&mut out, &below, "", screen);
    out
}

/// An interface with its discovery controllers; `None`: those whose interface is not known.
fn interface(topology: &Topology, name: Option<&String>) -> Node {
    let uses = |link: &&Link| link.interface.as_ref() == name;
    let below = topology
        .dcs
        .iter()
        .filter(uses)
        .map(|dc| leaf(format!("discovery controller {}", link_line(dc, ""))))
        .collect();
    let text = match name {
        Some(name) => format!("interface {name}: {}", count(topology.paths().filter(uses), "path")),
        None => "interface not known".to_owned(),
    };
    Node { text, below }
}

fn path_line(topology: &Topology, path: &Link) -> String {
    let via = path.interface.as_ref().map(|interface| format!(" {interface}")).unwrap_or_default();
    let lists: Vec<&str> = path.listed_by.iter().filter_map(|index| topology.dcs.get(*index)).map(Link::name).collect();
    let lists = if lists.is_empty() { String::new() } else { format!(" (listed by {})", lists.join(", ")) };
    format!("{}{lists}", link_line(path, &via))
}

fn link_line(link: &Link, via: &str) -> String {
    let reason = link.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{}  {}{via}: {}{reason}", link.device, link.address, link.state)
}

fn leaf(text: String) -> Node {
    Node { text, below: Vec::new() }
}

fn write(out: &mut String, nodes: &[Node], indent: &str, screen: Screen) {
    let branches = if screen.utf8 { UTF8 } else { ASCII };
    let taken = indent.chars().count() + branches.line[0].chars().count();
    let texts: Vec<&str> = nodes.iter().map(|node| node.text.as_str()).collect();
    let texts = match screen.indented(taken).width {
        Some(width) => screen.shorten(&texts, width),
        None => texts.into_iter().map(str::to_owned).collect(),
    };
    for (index, (node, text)) in nodes.iter().zip(texts).enumerate() {
        let last = usize::from(index + 1 == nodes.len());
        *out += &format!("{indent}{}{text}\n", branches.line[last]);
        write(out, &node.below, &format!("{indent}{}", branches.below[last]), screen);
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::tests::example;
    use super::super::topology::{Known, Topology};
    use super::*;

    #[test]
    fn the_lines_show_what_belongs_together() {
        let topology = Topology::of(example());
        assert_eq!(
            text(&topology, Screen { width: None, utf8: true }),
            "\
host nqn.2014-08.org.example:host
├─ interface eth0: 1 of 1 path connected
│  └─ discovery controller nvme0  tcp 192.0.2.10 8009: connected
├─ interface eth1: 0 of 1 path connected
├─ subsystem nqn.\"b\"<&\\u{1b}: 0 of 1 path connected
│  └─ -  tcp 192.0.2.3 4420: waiting: connection refused
└─ subsystem nqn.a: 1 of 2 paths connected
   ├─ nvme1  tcp 192.0.2.1 4420 eth0: connected (listed by nvme0)
   └─ nvme2  tcp 192.0.2.2 4420 eth1: reconnecting
"
        );
        let ascii = text(&topology, Screen::ENDLESS);
        assert!(ascii.is_ascii() && ascii.contains("\n|  `- discovery") && ascii.contains("\n   |- nvme1"), "{ascii}");
    }

    #[test]
    fn a_narrow_terminal_gets_short_lines() {
        let lines = text(&Topology::of(example()), Screen { width: Some(40), utf8: true });
        assert!(lines.lines().all(|line| line.chars().count() <= 40), "{lines}");
        assert!(lines.contains("nvme1") && lines.contains("nvme2"));
    }

    #[test]
    fn a_host_without_controllers_says_why_there_is_nothing() {
        let lines = text(&Topology::of(Known::default()), Screen::ENDLESS);
        assert_eq!(lines, "host\n`- no discovery controllers: stafd is not running\n");
    }
}
