//! The picture as boxes in columns, and lines between them.

use stas_cli::table::Tone;

use super::topology::{Link, Topology, count};

/// The columns, from left to right.
pub(super) const COLUMNS: [&str; 5] = ["host", "interfaces", "discovery controllers", "paths", "subsystems"];

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) column: usize,
    pub(super) title: String,
    pub(super) detail: String,
    /// How good its state is; `None` if it has none.
    pub(super) tone: Option<Tone>,
}

/// A line from the box on the left to that on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: EdgeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EdgeKind {
    /// The host has the interface.
    Part,
    /// A connection with this state.
    Connection(Tone),
    /// The discovery controller lists the path.
    Lists,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

impl Graph {
    pub(super) fn of(topology: &Topology) -> Self {
        let mut graph = Self::default();
        let host = graph.node(0, "host", &topology.host_nqn, None);
        let interfaces: Vec<usize> = topology
            .interfaces
            .iter()
            .map(|name| {
                let uses = |link: &&Link| link.interface.as_deref() == Some(name);
                let node = graph.node(1, name, &count(topology.paths().filter(uses), "path"), None);
                graph.edge(host, node, EdgeKind::Part);
                node
            })
            .collect();
        // What has no known interface hangs on the host.
        let origin = |link: &Link| {
            let index = topology.interfaces.iter().position(|name| link.interface.as_ref() == Some(name));
            index.and_then(|index| interfaces.get(index)).copied().unwrap_or(host)
        };
        let mut dcs = Vec::new();
        for dc in &topology.dcs {
            let node = graph.link(2, dc);
            graph.edge(origin(dc), node, EdgeKind::Connection(dc.tone));
            dcs.push(node);
        }
        for subsystem in &topology.subsystems {
            let paths: Vec<usize> = subsystem
                .paths
                .iter()
                .map(|path| {
                    let node = graph.link(3, path);
                    graph.edge(origin(path), node, EdgeKind::Connection(path.tone));
                    for dc in path.listed_by.iter().filter_map(|index| dcs.get(*index)) {
                        graph.edge(*dc, node, EdgeKind::Lists);
                    }
                    node
                })
                .collect();
            let detail = count(subsystem.paths.iter(), "path");
            let node = graph.node(4, &subsystem.nqn, &detail, Some(tone(&subsystem.paths)));
            for (from, path) in paths.into_iter().zip(&subsystem.paths) {
                graph.edge(from, node, EdgeKind::Connection(path.tone));
            }
        }
        graph
    }

    fn link(&mut self, column: usize, link: &Link) -> usize {
        let device = if link.device == "-" { "not connected" } else { &link.device };
        self.node(column, &format!("{device}: {}", link.state), &link.address, Some(link.tone))
    }

    fn node(&mut self, column: usize, title: &str, detail: &str, tone: Option<Tone>) -> usize {
        self.nodes.push(Node { column, title: title.to_owned(), detail: detail.to_owned(), tone });
        self.nodes.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, kind: EdgeKind) {
        self.edges.push(Edge { from, to, kind });
    }
}

/// Good if all paths are connected, bad if none is.
fn tone(paths: &[Link]) -> Tone {
    match paths.iter().filter(|path| path.is_connected()).count() {
        0 => Tone::Bad,
        connected if connected == paths.len() => Tone::Good,
        _ => Tone::Underway,
    }
}
