//! Prints the card of a bundle: wrapped text, and figures as a table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::output::{Output, TITLE};
use super::super::table::{Align, Cell, Column, Shrink, printable};
use super::{plain, print_table};

/// Prints `card`: short entries first, then figures, then the text.
pub fn print(card: &Value, out: &mut Output) -> anyhow::Result<()> {
    let Value::Object(entries) = card else {
        return match card {
            Value::Null => out.field("card", "none: the file has no oltr.card"),
            other => text(&plain(other), out),
        };
    };
    let (texts, others): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, value)| is_text(value));
    let (figures, fields): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, value)| value.is_object());
    fields.into_iter().try_for_each(|(key, value)| out.field(key, &plain(value)))?;
    for (key, value) in figures {
        let Value::Object(entries) = value else { continue };
        out.line(&format!("\n{TITLE}{}{TITLE:#}", printable(key)))?;
        table(entries, out)?;
    }
    for (_, value) in texts {
        out.line("")?;
        text(&plain(value), out)?;
    }
    Ok(())
}

/// Whether the value is a text of several lines rather than an entry of a few words.
fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains('\n'))
}

/// Markdown text: wraps paragraphs; keeps the lines of tables and listings.
fn text(markdown: &str, out: &mut Output) -> anyhow::Result<()> {
    let mut paragraph = String::new();
    let mut listing = false;
    for line in markdown.lines() {
        let fence = line.trim_start().starts_with("```");
        listing ^= fence;
        let own = fence || listing || line.trim().is_empty() || line.starts_with(['#', '|', '-', '*', ' ', '>']);
        if !own {
            paragraph += if paragraph.is_empty() { "" } else { " " };
            paragraph += line.trim();
            continue;
        }
        if !paragraph.is_empty() {
            out.paragraph(0, &std::mem::take(&mut paragraph))?;
        }
        match line.trim_end() {
            "" => out.line("")?,
            line => out.paragraph(0, line)?,
        }
    }
    if paragraph.is_empty() { Ok(()) } else { out.paragraph(0, &paragraph) }
}

/// Figures by their paths. Entries with the same figures (float and int8) become columns of one table.
fn table(figures: &Map<String, Value>, out: &mut Output) -> anyhow::Result<()> {
    let leaves: BTreeMap<&str, BTreeMap<String, String>> = figures
        .iter()
        .filter(|(_, value)| value.is_object())
        .map(|(key, value)| {
            let mut found = BTreeMap::new();
            collect("", value, &mut found);
            (key.as_str(), found)
        })
        .collect();
    let shared = |key: &str| {
        leaves.iter().any(|(other, paths)| *other != key && paths.keys().any(|path| leaves[key].contains_key(path)))
    };
    let side_by_side: Vec<&str> = leaves.keys().copied().filter(|key| shared(key)).collect();
    let mut alone = BTreeMap::new();
    for (key, value) in figures.iter().filter(|(key, _)| !side_by_side.contains(&key.as_str())) {
        collect(key, value, &mut alone);
    }
    let rows: Vec<Vec<Cell>> =
        alone.iter().map(|(path, value)| vec![path.as_str().into(), value.as_str().into()]).collect();
    let columns =
        vec![Column::new("FIGURE", Align::Left, Shrink::Middle), Column::new("VALUE", Align::Left, Shrink::Middle)];
    print_table(out, columns, &rows)?;
    if side_by_side.is_empty() {
        return Ok(());
    }
    let paths: BTreeSet<&str> = side_by_side.iter().flat_map(|key| leaves[key].keys().map(String::as_str)).collect();
    let mut titles: Vec<Cell> = vec!["FIGURE".into()];
    titles.extend(side_by_side.iter().map(|key| Cell::from(key.to_uppercase())));
    let mut rows = vec![titles];
    for path in paths {
        let mut row = vec![Cell::from(path)];
        row.extend(side_by_side.iter().map(|key| Cell::from(leaves[key].get(path).map_or("", String::as_str))));
        rows.push(row);
    }
    let mut columns = vec![Column::new("", Align::Left, Shrink::Middle)];
    columns.extend(side_by_side.iter().map(|_| Column::new("", Align::Right, Shrink::Middle)));
    // The titles are the file's own words, so they are the first row.
    rows[0].iter_mut().for_each(|cell| cell.1 = TITLE);
    let table = super::Table::fit(columns, &rows, out.width());
    out.line("")?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))
}

/// The figures below `value`, by path.
fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&path, value, found);
            }
        }
        Value::Number(number) if number.is_f64() => {
            found.insert(path.into(), short(number.as_f64().unwrap_or_default()));
        }
        other => {
            found.insert(path.into(), plain(other));
        }
    }
}

/// `value` to four significant decimals.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "" | "-" | "0" | "-0" if value != 0.0 => format!("{value:.2e}"),
        text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_paths() {
        let mut found = BTreeMap::new();
        collect("", &serde_json::json!({"a": {"b": 0.91640625, "c": "2020-01-29"}, "n": 608, "x": [1]}), &mut found);
        let found: Vec<_> = found.iter().map(|(path, value)| format!("{path}={value}")).collect();
        assert_eq!(found, ["a.b=0.9164", "a.c=2020-01-29", "n=608", "x=[1]"]);
    }

    #[test]
    fn figures_are_short_but_not_nothing() {
        assert_eq!([short(0.95), short(1.0), short(-0.25), short(0.0)], ["0.95", "1", "-0.25", "0"]);
        assert_eq!(short(0.00001), "1.00e-5");
    }
}
