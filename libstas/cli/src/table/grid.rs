//! Aligned columns without borders. Rows are never wrapped, so that an NQN can be copied.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

/// Rating of a state, which selects its colour.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Good,
    Underway,
    Bad,
}

impl Tone {
    fn color(self) -> Color {
        match self {
            Self::Good => Color::Green,
            Self::Underway => Color::Yellow,
            Self::Bad => Color::Red,
        }
    }
}

struct Row {
    cells: Vec<String>,
    tone: Option<(usize, Tone)>,
    note: Option<String>,
}

/// Rows with headings.
pub(super) struct Grid {
    headings: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Grid {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each heading. `tone` colours one cell, `note` is printed below the row.
    pub(super) fn row<const N: usize>(
        &mut self,
        cells: [String; N],
        tone: Option<(usize, Tone)>,
        note: Option<String>,
    ) {
        debug_assert_eq!(N, self.headings.len());
        self.rows.push(Row { cells: cells.into(), tone, note });
    }

    /// Adds a row without colours and note.
    pub(super) fn row_of(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(Row { cells, tone: None, note: None });
    }

    /// All lines with their newlines, without empty columns. `None` if there are no rows.
    pub(super) fn text(&self) -> Option<String> {
        if self.rows.is_empty() {
            return None;
        }
        let used: Vec<usize> = (0..self.headings.len())
            .filter(|column| self.rows.iter().any(|row| row.cells.get(*column).is_some_and(|cell| !cell.is_empty())))
            .collect();
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            table.force_no_tty();
        }
        let heading = |column: &usize| self.headings.get(*column).copied().unwrap_or_default();
        table.set_header(used.iter().map(|column| Cell::new(heading(column)).add_attribute(Attribute::Bold)));
        for row in &self.rows {
            table.add_row(used.iter().map(|column| {
                let cell = Cell::new(row.cells.get(*column).map_or("", String::as_str));
                match row.tone {
                    Some((toned, tone)) if toned == *column => cell.fg(tone.color()),
                    _ => cell,
                }
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // One line for the headings, then one for each row: no cell contains a newline.
        let notes = std::iter::once(&None).chain(self.rows.iter().map(|row| &row.note));
        let mut out = String::new();
        for (line, note) in table.lines().zip(notes) {
            out.push_str(line.trim_end());
            out.push('\n');
            if let Some(note) = note {
                out.push_str(note);
                out.push('\n');
            }
        }
        Some(out)
    }
}
