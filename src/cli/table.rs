//! Aligned tables that fit a terminal. Rows are formatted one by one, so that results appear at once.
//!
//! A table that is too wide is reduced in this order: long names lose their middle, titles take their short form,
//! names lose more of their middle, and finally dispensable columns are left out.

use std::borrow::Cow;

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

pub use oltr::text::printable;

use super::output::{PLAIN, TITLE};
use super::text::{middle, path};
pub use super::text::{shorten, wrap};

/// Spaces between two columns.
const GAP: usize = 2;

/// Alignment of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// How a column shrinks on a narrow terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// It does not shrink.
    Never,
    /// A name loses its middle: start and end distinguish names.
    Middle,
    /// A path loses the middle of its folders before anything of the file's name.
    Path,
    /// A text continues on the next line.
    Wrap,
}

/// Widths that columns shrink to, in turn: comfortable, still legible, and the last resort.
const STEPS: [usize; 3] = [30, 10, 4];

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    title: &'static str,
    /// Short form of the title.
    short: &'static str,
    align: Align,
    shrink: Shrink,
    /// Terminal cells that its texts need.
    content: usize,
    /// Terminal cells that it gets.
    width: usize,
    /// Rank for leaving the column out: the highest goes first, 0 stays.
    spare: u8,
    shown: bool,
}

impl Column {
    /// A column as wide as its title until [`Column::hold`] or [`Table::fit`] widens it.
    pub fn new(title: &'static str, align: Align, shrink: Shrink) -> Column {
        Column { title, short: title, align, shrink, content: 0, width: 0, spare: 0, shown: true }
    }

    /// Widens the column so that it holds each of `texts`.
    pub fn hold<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Column {
        texts.into_iter().for_each(|text| self.widen(text));
        self
    }

    /// Gives the column a short title for narrow tables.
    pub fn short(mut self, title: &'static str) -> Column {
        self.short = title;
        self
    }

    /// Allows a narrow table to leave the column out, before those with a smaller `rank`.
    pub fn spare(mut self, rank: u8) -> Column {
        self.spare = rank;
        self
    }

    fn widen(&mut self, text: &str) {
        self.content = self.content.max(printable(text).width());
    }

    /// Cells of the titles that the column may have at this stage.
    fn title(&self, short: bool) -> &'static str {
        if short { self.short } else { self.title }
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

/// Columns with their final widths.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    short: bool,
}

impl Table {
    /// A table of at most `width`, as far as its columns can shrink.
    pub fn new(columns: Vec<Column>, width: usize) -> Table {
        let mut table = Table { columns, short: false };
        table.settle(width);
        table
    }

    /// A table as wide as `rows` need, up to `width`.
    pub fn fit(mut columns: Vec<Column>, rows: &[Vec<Cell>], width: usize) -> Table {
        for row in rows {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.widen(&cell.0);
            }
        }
        Table::new(columns, width)
    }

    fn settle(&mut self, width: usize) {
        let [comfortable, legible, least] = STEPS;
        loop {
            let settled = [(comfortable, false), (comfortable, true), (legible, true)]
                .into_iter()
                .any(|(floor, short)| self.shrink_to(width, floor, short));
            if settled {
                return;
            }
            let spare = self.columns.iter_mut().filter(|c| c.shown && c.spare > 0).max_by_key(|c| c.spare);
            match spare {
                Some(column) => column.shown = false,
                None => break,
            }
        }
        self.shrink_to(width, least, true);
    }

    /// Distributes `width` among the columns, none narrower than `floor`. Returns whether they fit.
    fn shrink_to(&mut self, width: usize, floor: usize, short: bool) -> bool {
        self.short = short;
        for column in &mut self.columns {
            column.width = column.content.max(column.title(short).width());
        }
        let shown = || self.columns.iter().filter(|c| c.shown);
        let total: usize = shown().map(|c| c.width.saturating_add(GAP)).sum::<usize>().saturating_sub(GAP);
        let mut excess = total.saturating_sub(width);
        while excess > 0 {
            // The widest column shrinks first, down to the next one or as far as necessary.
            let gives =
                |c: &&mut Column| c.shown && c.shrink != Shrink::Never && c.width > c.title(short).width().max(floor);
            let mut candidates: Vec<&mut Column> = self.columns.iter_mut().filter(gives).collect();
            candidates.sort_by_key(|c| std::cmp::Reverse(c.width));
            let next = candidates.get(1).map_or(0, |second| second.width);
            let Some(widest) = candidates.first_mut() else { return false };
            let floor = widest.title(short).width().max(floor).max(next.saturating_sub(1));
            let step = (widest.width - floor).clamp(1, excess);
            widest.width -= step;
            excess -= step;
        }
        true
    }

    /// The line of titles.
    pub fn header(&self) -> String {
        self.row(&self.columns.iter().map(|c| Cell(c.title(self.short).into(), TITLE)).collect::<Vec<_>>())
    }

    /// One row, of several lines if texts wrap. Missing cells are empty.
    pub fn row(&self, cells: &[Cell]) -> String {
        let shown: Vec<(&Column, Vec<String>, Style)> = self
            .columns
            .iter()
            .zip(cells)
            .filter(|(column, _)| column.shown)
            .map(|(column, Cell(text, style))| (column, column.lines(&printable(text)), *style))
            .collect();
        let height = shown.iter().map(|(_, lines, _)| lines.len()).max().unwrap_or(0).max(1);
        (0..height).map(|line| self.line(&shown, line)).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, cells: &[(&Column, Vec<String>, Style)], number: usize) -> String {
        let mut line = String::new();
        // Blanks that are not written yet, so that lines have no trailing blanks.
        let mut blanks = 0;
        for (column, lines, style) in cells {
            let text = lines.get(number).map_or("", String::as_str);
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

impl Column {
    /// `text` as the column shows it.
    fn lines(&self, text: &str) -> Vec<String> {
        match self.shrink {
            Shrink::Wrap => wrap(text, self.width.max(1)),
            _ => vec![elide(text, self.width, self.shrink).into_owned()],
        }
    }
}

/// `text` in at most `width` terminal cells, if its column shrinks.
fn elide(text: &str, width: usize, shrink: Shrink) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    match shrink {
        Shrink::Never | Shrink::Wrap => text.into(),
        Shrink::Middle => middle(text, width).into(),
        Shrink::Path => path(text, width).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: usize) -> Table {
        let columns = vec![
            Column::new("FILE", Align::Left, Shrink::Path).hold(["a/very/long/path/of/folders/cup.jpg"]),
            Column::new("PROBABILITY", Align::Right, Shrink::Never).short("P").hold(["99.9 %"]),
            Column::new("NEAREST", Align::Left, Shrink::Middle),
            Column::new("AGE", Align::Right, Shrink::Never).hold(["1 s"]).spare(1),
        ];
        Table::new(columns, width)
    }

    fn plain(row: &str) -> String {
        anstream::adapter::strip_str(row).to_string()
    }

    fn cells() -> [Cell<'static>; 4] {
        ["a/very/long/path/of/folders/cup.jpg", "9.9 %", "cup", "1 s"].map(Cell::from)
    }

    #[test]
    fn columns_are_aligned() {
        let table = table(100);
        assert_eq!(plain(&table.header()), "FILE                                 PROBABILITY  NEAREST  AGE");
        let row = plain(&table.row(&cells()));
        assert_eq!(row, "a/very/long/path/of/folders/cup.jpg        9.9 %  cup      1 s");
    }

    #[test]
    fn missing_and_empty_cells_leave_no_blanks_at_the_end() {
        let row = table(100).row(&["x".into(), "".into(), "".into()]);
        assert_eq!(plain(&row), "x");
        let row = table(100).row(&["x".into(), "".into(), "y".into()]);
        assert_eq!(plain(&row), format!("x{}y", " ".repeat(49)));
    }

    #[test]
    fn names_give_way_first_then_titles_then_columns() {
        for (width, header, row) in [
            (60, "PROBABILITY", "a/very/long/path/of/folde…/cup.jpg        9.9 %  cup      1 s"),
            (58, "PROBABILITY", "a/very/long/pat…/cup.jpg        9.9 %  cup      1 s"),
            (42, "     P", "a/very/long/path…/cup.jpg   9.9 %  cup  1 s"),
            (33, "     P", "a/very/…/cup.jpg   9.9 %  cup  1 s"),
            (26, "     P", "a…/cup.jpg   9.9 %  cup"),
        ] {
            let table = table(width);
            let plain = [plain(&table.header()), plain(&table.row(&cells()))];
            assert!(plain.iter().all(|line| line.width() <= width), "{width}: {plain:#?}");
            assert!(plain[0].contains(header), "{width}: {plain:#?}");
            let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
            assert_eq!(words(&plain[1]).len(), words(row).len(), "{width}: {plain:#?}");
            assert!(plain[1].contains("/cup.jpg"), "the file's name stays: {plain:#?}");
        }
    }

    #[test]
    fn any_name_fits_in_eighty_columns() {
        let names = ["x", "forty characters of a rather common name", &"long name ".repeat(20), &"茶碗".repeat(100)];
        let combining = "e\u{301}".repeat(200);
        let emoji = "👩\u{200d}🚀".repeat(50);
        for name in names.into_iter().chain([combining.as_str(), &emoji]) {
            let columns = || {
                vec![
                    Column::new("PHOTO", Align::Left, Shrink::Path),
                    Column::new("SHOWS", Align::Left, Shrink::Middle),
                    Column::new("PROBABILITY", Align::Right, Shrink::Never),
                ]
            };
            let path = format!("{name}/{name}");
            let rows = vec![vec![path.as_str().into(), name.into(), "1.0 %".into()]];
            for width in [40, 80] {
                let table = Table::fit(columns(), &rows, width);
                let row = plain(&table.row(&rows[0]));
                assert!(row.width() <= width, "{width}: {row}");
                assert!(row.ends_with("1.0 %"), "{row}");
                assert!(!row.contains("…\u{301}") && !row.contains("…\u{200d}"), "{row}");
            }
            let wide = Table::fit(columns(), &rows, 5000);
            assert!(plain(&wide.row(&rows[0])).contains(&*printable(&path)), "a wide terminal shows all of it");
        }
    }

    #[test]
    fn wide_characters_count_twice() {
        let columns = vec![
            Column::new("A", Align::Right, Shrink::Middle).hold(["茶碗"]),
            Column::new("B", Align::Left, Shrink::Never),
        ];
        let table = Table::new(columns, 80);
        assert_eq!(plain(&table.row(&["cup".into(), "x".into()])), " cup  x");
        assert_eq!(plain(&table.row(&["茶碗".into(), "x".into()])), "茶碗  x");
        assert_eq!(shorten("茶碗茶碗", 5), "茶…碗");
        assert_eq!(shorten("茶碗茶碗", 4), "茶…");
        assert_eq!(shorten("abcdefgh", 5), "ab…gh");
        assert_eq!(elide("examples/photos/cup.jpg", 20, Shrink::Path), "examples/…/cup.jpg");
        assert_eq!(elide("examples/photos/cup.jpg", 14, Shrink::Path), "examp…/cup.jpg");
        assert_eq!(elide("/media/card/cup.jpg", 12, Shrink::Path), "/me…/cup.jpg");
        assert_eq!(elide("examples/photos/cup.jpg", 6, Shrink::Path), "cup…pg");
        assert_eq!(shorten("e\u{301}e\u{301}e\u{301}e\u{301}", 3), "e\u{301}…e\u{301}");
    }

    #[test]
    fn texts_go_on_below() {
        let columns =
            vec![Column::new("STATUS", Align::Left, Shrink::Never), Column::new("FINDING", Align::Left, Shrink::Wrap)];
        let rows = vec![vec!["ok".into(), "one two three four".into()]];
        let table = Table::fit(columns, &rows, 20);
        assert_eq!(plain(&table.row(&rows[0])), "ok      one two\n        three four");
        assert_eq!(wrap("a --long-option", 10), ["a", "--long-opt", "ion"]);
    }

    /// Escapes count with their displayed width, so the columns stay aligned.
    #[test]
    fn names_cannot_command_the_terminal_nor_move_other_columns() {
        let hostile = "a\x1b[31m\nb\u{202e}";
        let columns = vec![
            Column::new("A", Align::Left, Shrink::Middle).hold([hostile]),
            Column::new("B", Align::Left, Shrink::Never),
        ];
        let table = Table::new(columns, 80);
        let rows = [[hostile.into(), "x".into()], ["c".into(), "x".into()]].map(|row: [Cell; 2]| table.row(&row));
        assert_eq!(plain(&rows[0]), "a\\u{1b}[31m\\nb\\u{202e}  x");
        assert_eq!(rows.map(|row| plain(&row).find('x')), [Some(24), Some(24)]);
    }
}
