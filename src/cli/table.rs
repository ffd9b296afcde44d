//! Aligned columns that survive narrow terminals. Rows are made one by one, so that results appear as they come.

use std::borrow::Cow;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use oltr::text::printable;

use super::output::{PLAIN, TITLE};

/// Spaces between two columns.
const GAP: usize = 2;

/// To which side the cells of a column are flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// How a column gives way on a narrow terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// Not at all.
    Never,
    /// Its cells lose their end.
    End,
    /// Its cells lose their beginning: of a path, the file's name stays.
    Start,
}

/// Narrowest width that a column shrinks to.
const MIN_WIDTH: usize = 10;

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    title: &'static str,
    align: Align,
    shrink: Shrink,
    /// Terminal cells.
    width: usize,
}

impl Column {
    /// A column that is as wide as its title until [`Column::hold`] or [`Table::fit`] widens it.
    pub fn new(title: &'static str, align: Align, shrink: Shrink) -> Column {
        Column { title, align, shrink, width: title.width() }
    }

    /// Widens the column so that it holds each of `texts`.
    pub fn hold<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Column {
        let widest = texts.into_iter().map(|text| printable(text).width()).max().unwrap_or(0);
        self.width = self.width.max(widest);
        self
    }
}

/// The text of one cell and its style.
#[derive(Clone, Debug)]
pub struct Cell<'a>(pub Cow<'a, str>, pub Style);

impl<'a, T: Into<Cow<'a, str>>> From<T> for Cell<'a> {
    fn from(text: T) -> Self {
        Cell(text.into(), PLAIN)
    }
}

/// Columns whose widths are settled.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// A table that is at most `width` wide, as far as its columns give way.
    pub fn new(columns: Vec<Column>, width: Option<usize>) -> Table {
        let mut table = Table { columns };
        if let Some(width) = width {
            table.shrink_to(width);
        }
        table
    }

    /// A table as wide as `rows` need, up to `width`.
    pub fn fit(mut columns: Vec<Column>, rows: &[Vec<Cell>], width: Option<usize>) -> Table {
        for row in rows {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.width = column.width.max(printable(&cell.0).width());
            }
        }
        Table::new(columns, width)
    }

    fn shrink_to(&mut self, width: usize) {
        let total: usize = self.columns.iter().map(|c| c.width + GAP).sum::<usize>().saturating_sub(GAP);
        let mut excess = total.saturating_sub(width);
        // The widest gives way first.
        while excess > 0 {
            let candidates = self.columns.iter_mut().filter(|c| c.shrink != Shrink::Never && c.width > MIN_WIDTH);
            let Some(widest) = candidates.max_by_key(|c| c.width) else { return };
            widest.width -= 1;
            excess -= 1;
        }
    }

    /// The line of titles.
    pub fn header(&self) -> String {
        self.row(&self.columns.iter().map(|c| Cell(c.title.into(), TITLE)).collect::<Vec<_>>())
    }

    /// One row; missing cells are empty.
    pub fn row(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        // What is not written yet, so that lines have no blanks at their end.
        let mut blanks = 0;
        for (column, Cell(text, style)) in self.columns.iter().zip(cells) {
            let text = elide(&printable(text), column.width, column.shrink).into_owned();
            let free = column.width.saturating_sub(text.width());
            let (before, after) = if column.align == Align::Right { (free, 0) } else { (0, free) };
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', blanks + before));
                line.push_str(&format!("{style}{text}{style:#}"));
                blanks = 0;
            } else {
                blanks += before;
            }
            blanks += after + GAP;
        }
        line
    }
}

/// `text` in at most `width` terminal cells, if its column gives way.
fn elide(text: &str, width: usize, shrink: Shrink) -> Cow<'_, str> {
    if text.width() <= width || shrink == Shrink::Never {
        return text.into();
    }
    let mut room = width.saturating_sub(1);
    let mut fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= room;
        room -= if fits { wide } else { 0 };
        fits
    };
    match shrink {
        Shrink::Start => {
            let mut kept: Vec<char> = text.chars().rev().take_while(&mut fits).collect();
            kept.push('…');
            kept.into_iter().rev().collect::<String>().into()
        }
        _ => (text.chars().take_while(&mut fits).collect::<String>() + "…").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: Option<usize>) -> Table {
        let columns = vec![
            Column::new("FILE", Align::Left, Shrink::Start).hold(["a/very/long/path/cup.jpg"]),
            Column::new("P", Align::Right, Shrink::Never).hold(["99.9 %"]),
            Column::new("NEAREST", Align::Left, Shrink::End),
        ];
        Table::new(columns, width)
    }

    fn plain(row: &str) -> String {
        anstream::adapter::strip_str(row).to_string()
    }

    #[test]
    fn columns_are_aligned() {
        let table = table(None);
        assert_eq!(plain(&table.header()), "FILE                           P  NEAREST");
        let row = ["a/very/long/path/cup.jpg", "9.9 %", "cup"].map(Cell::from);
        assert_eq!(plain(&table.row(&row)), "a/very/long/path/cup.jpg   9.9 %  cup");
    }

    #[test]
    fn missing_and_empty_cells_leave_no_blanks_at_the_end() {
        let row = table(None).row(&["x".into(), "".into(), "".into()]);
        assert_eq!(plain(&row), "x");
        let row = table(None).row(&["x".into(), "".into(), "y".into()]);
        assert_eq!(plain(&row), format!("x{}y", " ".repeat(33)));
    }

    #[test]
    fn a_narrow_terminal_keeps_the_end_of_a_path() {
        let row = ["a/very/long/path/cup.jpg", "9.9 %", "cup"].map(Cell::from);
        assert_eq!(plain(&table(Some(31)).row(&row)), "…/path/cup.jpg   9.9 %  cup");
        // As narrow as it gets: the rest is the terminal's to wrap.
        assert_eq!(plain(&table(Some(5)).row(&row)), "…h/cup.jpg   9.9 %  cup");
    }

    #[test]
    fn wide_characters_count_twice() {
        let columns = vec![
            Column::new("A", Align::Right, Shrink::End).hold(["茶碗"]),
            Column::new("B", Align::Left, Shrink::Never),
        ];
        let table = Table::new(columns, None);
        assert_eq!(plain(&table.row(&["cup".into(), "x".into()])), " cup  x");
        assert_eq!(plain(&table.row(&["茶碗".into(), "x".into()])), "茶碗  x");
        assert_eq!(elide("茶碗茶碗", 4, Shrink::End), "茶…");
    }

    /// Escapes take the width that they have, so that what stands beside them stays in its column.
    #[test]
    fn names_cannot_command_the_terminal_nor_move_other_columns() {
        let hostile = "a\x1b[31m\nb\u{202e}";
        let columns = vec![
            Column::new("A", Align::Left, Shrink::End).hold([hostile]),
            Column::new("B", Align::Left, Shrink::Never),
        ];
        let table = Table::new(columns, None);
        let rows = [[hostile.into(), "x".into()], ["c".into(), "x".into()]].map(|row: [Cell; 2]| table.row(&row));
        assert_eq!(plain(&rows[0]), "a\\u{1b}[31m\\nb\\u{202e}  x");
        assert_eq!(rows.map(|row| plain(&row).find('x')), [Some(24), Some(24)]);
    }
}
