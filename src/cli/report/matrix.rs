//! The confusion matrix, as a table with shaded cells.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::html::{escape, scroll};
use super::material::Material;
use oltr::metrics::Answer;

/// Most rows and columns of a readable table. With more classes, those with most mistakes are shown.
const MAX_SIDE: usize = 24;

/// A row or column: a known class, unknown (rows), or open (columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Class(usize),
    Open,
}

/// The confusion of the classes that are mistaken most, as HTML.
pub fn html(material: &Material, answers: &[Answer]) -> String {
    let mut counts: BTreeMap<(Kind, Kind), usize> = BTreeMap::new();
    for answer in answers {
        let truth = answer.truth.map_or(Kind::Open, Kind::Class);
        let said = if answer.open { Kind::Open } else { Kind::Class(answer.label) };
        *counts.entry((truth, said)).or_default() += 1;
    }
    let mistakes = |side: fn(&(Kind, Kind)) -> Kind| {
        let mut of: BTreeMap<Kind, usize> = BTreeMap::new();
        for (pair, n) in counts.iter().filter(|((truth, said), _)| truth != said) {
            *of.entry(side(pair)).or_default() += n;
        }
        let mut of: Vec<(Kind, usize)> = of.into_iter().filter(|(kind, _)| *kind != Kind::Open).collect();
        of.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        of.into_iter().map(|(kind, _)| kind)
    };
    let mut classes: Vec<Kind> = Vec::new();
    // Alternately by the mistaken class and by its wrong label.
    let (mut rows, mut columns) = (mistakes(|pair| pair.0), mistakes(|pair| pair.1));
    while classes.len() < MAX_SIDE {
        let (row, column) = (rows.next(), columns.next());
        if row.is_none() && column.is_none() {
            break;
        }
        for kind in row.into_iter().chain(column) {
            if !classes.contains(&kind) {
                classes.push(kind);
            }
        }
    }
    classes.truncate(MAX_SIDE);
    classes.sort();
    classes.push(Kind::Open);

    let name = |kind: Kind, open: &str| match kind {
        Kind::Class(class) => escape(material.names.of(class)),
        Kind::Open => format!("<b>{open}</b>"),
    };
    let mut html = String::from("<thead><tr><td></td>");
    for said in &classes {
        let _ = write!(html, "<th class=\"up\"><span>{}</span></th>", name(*said, "open"));
    }
    html.push_str("<th class=\"up\"><span>photos</span></th></tr></thead>\n<tbody>\n");
    for truth in &classes {
        let total: usize = counts.iter().filter(|((t, _), _)| t == truth).map(|(_, n)| n).sum();
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", name(*truth, "unknown"));
        for said in &classes {
            let n = counts.get(&(*truth, *said)).copied().unwrap_or(0);
            let shade = (n as f64 / total.max(1) as f64).sqrt();
            let color = if truth == said { "0,114,178" } else { "213,94,0" };
            match n {
                0 => html.push_str("<td></td>"),
                _ => {
                    let _ = write!(html, "<td style=\"background:rgba({color},{:.2})\">{n}</td>", shade * 0.8);
                }
            }
        }
        let _ = writeln!(html, "<td class=\"total\">{total}</td></tr>");
    }
    scroll("What is taken for what", "matrix", &(html + "</tbody>"))
}
