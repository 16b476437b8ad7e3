//! Tables for people: plain text in columns, without lines, so that they can also be cut and sorted.

use comfy_table::{Cell, CellAlignment, Row, Table, presets};
use std::io::{self, IsTerminal};

/// Columns that a table is made to fit, at least and at most.
const FITTED: std::ops::RangeInclusive<u16> = 80..=120;
/// Characters that are left of a cell at least.
const SHORTEST: usize = 10;

/// What there is to write on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Screen {
    /// Columns; `None`: no terminal, and nothing is cut.
    pub(super) columns: Option<u16>,
    /// Lines; `None`: without end.
    pub(super) lines: Option<u16>,
}

impl Screen {
    /// No terminal: a pipe or a file.
    #[cfg(test)]
    pub(super) const NONE: Self = Self {
        columns: None,
        lines: None,
    };

    /// What stdout is.
    pub(super) fn of_stdout() -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let size = rustix::termios::tcgetwinsize(&out).ok();
        let size = size.filter(|size| terminal && size.ws_col > 0);
        Self {
            columns: size.map(|s| s.ws_col.clamp(*FITTED.start(), *FITTED.end())),
            lines: size.map(|s| s.ws_row),
        }
    }

    /// Whether it is a terminal.
    pub(super) fn is_terminal(self) -> bool {
        self.columns.is_some()
    }
}

/// Characters of a line of stdout: those of the terminal; where it is none, what `COLUMNS` says, or 80.
pub(super) fn width_of_stdout() -> u16 {
    let out = io::stdout();
    let terminal = out.is_terminal();
    let size = rustix::termios::tcgetwinsize(&out).ok();
    let size = size.filter(|size| terminal && size.ws_col > 0);
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = size.map(|size| size.ws_col).or_else(said);
    columns.filter(|n| *n > 0).unwrap_or(*FITTED.start())
}

/// How cells stand in their column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table with these columns. On a terminal, the cells of column `cut` are shortened when a row does not fit.
pub(super) fn render(
    screen: Screen,
    columns: &[(&str, Align)],
    cut: usize,
    mut rows: Vec<Vec<String>>,
) -> String {
    let mut gap = 2;
    if let Some(width) = screen.columns {
        let longest = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            let lengths = cells.map(|cell| cell.chars().count());
            lengths.fold(columns[index].0.chars().count(), usize::max)
        };
        let (width, gaps) = (usize::from(width), columns.len() - 1);
        let all: usize = (0..columns.len()).map(longest).sum();
        if all + 2 * gaps > width {
            gap = 1;
            let others = all - longest(cut) + gaps;
            let left = width.saturating_sub(others).max(SHORTEST);
            for cell in rows.iter_mut().filter_map(|row| row.get_mut(cut)) {
                shorten(cell, left);
            }
        }
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(name, align)| cell(name, *align)));
    for row in rows {
        let cells = row.iter().zip(columns);
        table.add_row(Row::from(
            cells.map(|(text, (_, align))| cell(text, *align)),
        ));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, gap));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn cell(text: &str, align: Align) -> Cell {
    Cell::new(text).set_alignment(match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    })
}

/// Cuts a text to so many characters, and shows that it was.
fn shorten(text: &mut String, most: usize) {
    if text.chars().count() > most {
        *text = text.chars().take(most.saturating_sub(1)).collect();
        text.push('\u{2026}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[(&str, Align)] = &[("operation", Align::Left), ("count", Align::Right)];

    fn rows() -> Vec<Vec<String>> {
        let long = format!("GET /{}", "modules/".repeat(20));
        vec![
            vec![long, "1234567".to_owned()],
            vec!["GET".to_owned(), "5".to_owned()],
        ]
    }

    #[test]
    fn a_terminal_is_never_overrun() {
        let screen = Screen {
            columns: Some(80),
            lines: Some(24),
        };
        let text = render(screen, COLUMNS, 0, rows());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|l| l.chars().count() <= 80), "{text}");
        assert!(lines[1].contains('\u{2026}'), "{text}");
        assert!(lines[1].ends_with("1234567"), "{text}");
        assert!(lines[2].starts_with("GET   "), "{text}");
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let text = render(Screen::NONE, COLUMNS, 0, rows());
        assert!(text.contains(&"modules/".repeat(20)), "{text}");
        assert!(text.lines().all(|l| l == l.trim_end()), "{text}");
    }
}
