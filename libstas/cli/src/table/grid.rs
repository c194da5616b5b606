//! Aligned columns without borders.
//!
//! Rows are never wrapped. On a terminal the longest cells are shortened until each row fits.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use unicode_width::UnicodeWidthStr as _;

use crate::screen::Screen;

/// Columns between two cells.
const GAP: usize = 2;
/// A column that is no wider is always complete: the device, the state, the transport and the port.
const COMPLETE: usize = 12;
/// No column is made narrower.
const NARROWEST: usize = 8;
/// Indentation of the note below a row.
const NOTE_INDENT: &str = "        ";

/// Rating of a state, which selects its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be; something is done about it.
    Underway,
    /// Not as it should be.
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
    pub(super) fn text(&self, screen: Screen) -> Option<String> {
        if self.rows.is_empty() {
            return None;
        }
        let used: Vec<usize> = (0..self.headings.len())
            .filter(|column| self.rows.iter().any(|row| row.cells.get(*column).is_some_and(|cell| !cell.is_empty())))
            .collect();
        let cells = self.fitting(&used, screen);
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            table.force_no_tty();
        }
        let heading = |column: &usize| self.headings.get(*column).copied().unwrap_or_default();
        table.set_header(used.iter().map(|column| Cell::new(heading(column)).add_attribute(Attribute::Bold)));
        for (index, row) in self.rows.iter().enumerate() {
            table.add_row(used.iter().zip(&cells).map(|(column, cells)| {
                let cell = Cell::new(cells.get(index).map_or("", String::as_str));
                match row.tone {
                    Some((toned, tone)) if toned == *column => cell.fg(tone.color()),
                    _ => cell,
                }
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2)); // GAP
        }
        // One line for the headings, then one for each row: no cell contains a newline.
        let notes = std::iter::once(&None).chain(self.rows.iter().map(|row| &row.note));
        let mut out = String::new();
        for (line, note) in table.lines().zip(notes) {
            out.push_str(line.trim_end());
            out.push('\n');
            for line in note.iter().flat_map(|note| screen.indented(NOTE_INDENT.len()).wrap(note)) {
                out += &format!("{NOTE_INDENT}{line}\n");
            }
        }
        Some(out)
    }

    /// The cells of these columns, shortened so that each row fits.
    fn fitting(&self, used: &[usize], screen: Screen) -> Vec<Vec<String>> {
        let cells = |column: &usize| -> Vec<&str> {
            self.rows.iter().map(|row| row.cells.get(*column).map_or("", String::as_str)).collect()
        };
        let heading = |column: &usize| self.headings.get(*column).map_or(0, |heading| heading.width());
        let widest = |column| cells(column).iter().map(|cell| cell.width()).chain([heading(column)]).max();
        let mut widths: Vec<usize> = used.iter().map(|column| widest(column).unwrap_or_default()).collect();
        if let Some(width) = screen.width {
            shrink(&mut widths, width.saturating_sub(GAP * used.len().saturating_sub(1)));
        }
        used.iter().zip(widths).map(|(column, width)| screen.shorten(&cells(column), width)).collect()
    }
}

/// Makes the widest columns narrower, until together they take no more than `room`, or none may become narrower.
pub(super) fn shrink(widths: &mut [usize], room: usize) {
    let mut over = widths.iter().sum::<usize>().saturating_sub(room);
    let mut long: Vec<&mut usize> = widths.iter_mut().filter(|width| **width > COMPLETE).collect();
    while over > 0
        && let Some(widest) = long.iter_mut().max()
        && **widest > NARROWEST
    {
        **widest -= 1;
        over -= 1;
    }
}
