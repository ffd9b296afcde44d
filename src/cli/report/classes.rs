//! The figures of each class, as tables.

use std::fmt::Write;

use oltr::evaluate::TakenFor;

use super::super::study::percent;
use super::html::{escape, scroll};
use super::material::Material;

/// Confused classes that are named for each class.
const TAKEN_FOR: usize = 3;

/// The tables of known and unknown classes.
pub fn html(body: &mut String, material: &Material) {
    let e = material.evaluation;
    body.push_str("<h2>Class by class</h2>\n");
    if !e.classes.is_empty() {
        body.push_str("<details open><summary>Known classes</summary>\n");
        body.push_str(&scroll("Known classes", "wide", &known(material)));
        body.push_str("</details>\n");
    }
    if !e.open_classes.is_empty() {
        body.push_str("<details open><summary>Unknown classes</summary>\n");
        body.push_str(&scroll("Unknown classes", "wide", &unknown(material)));
        body.push_str("</details>\n");
    }
}

fn known(material: &Material) -> String {
    let mut table = String::from(
        "<thead><tr><th>class</th><th>trained on</th><th>group</th><th>photos</th><th>rule off</th><th>rule on</th>\
         <th>precision</th><th>called open</th><th>mostly taken for</th></tr></thead>\n<tbody>\n",
    );
    for c in &material.evaluation.classes {
        let shot = c.shot.word();
        let _ = writeln!(
            table,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td>{shot}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(material.names.of_id(&c.class)),
            c.train_count,
            c.photos,
            percent(c.closed),
            percent(c.open_set),
            percent(c.precision),
            c.called_open,
            taken_for(material, &c.taken_for)
        );
    }
    table + "</tbody>"
}

fn unknown(material: &Material) -> String {
    let mut table = String::from(
        "<thead><tr><th>class</th><th>photos</th><th>called open</th><th>mostly taken for</th></tr></thead>\n<tbody>\n",
    );
    for c in &material.evaluation.open_classes {
        let share = percent((c.photos > 0).then(|| c.called_open as f64 / c.photos as f64));
        let _ = writeln!(
            table,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{share}</td><td>{}</td></tr>",
            escape(&c.class),
            c.photos,
            taken_for(material, &c.taken_for)
        );
    }
    table + "</tbody>"
}

fn taken_for(material: &Material, taken: &[TakenFor]) -> String {
    let named: Vec<String> = taken
        .iter()
        .take(TAKEN_FOR)
        .map(|t| format!("{} ({})", escape(material.names.of_id(&t.class)), t.photos))
        .collect();
    match taken.len().saturating_sub(TAKEN_FOR) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
