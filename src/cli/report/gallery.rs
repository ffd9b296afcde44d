//! The photos with wrong answers, as pictures with their paths.

use std::collections::HashMap;
use std::fmt::Write;

use oltr::Limits;
use oltr::inference::Record;
use oltr::labels::Label;
use oltr::metrics::Answer;

use super::html::escape;
use super::material::Material;
use super::thumbnails;

/// Photos that are shown of each kind of mistake.
const SHOWN: usize = 18;

/// Paths that are listed below the pictures of a kind.
const LISTED: usize = 200;

/// A kind of mistake.
struct Kind {
    title: &'static str,
    text: &'static str,
    /// Indices of the photos among the records, in order of display.
    photos: Vec<usize>,
}

/// One section for each kind of mistake that was made.
pub fn html(body: &mut String, material: &Material, answers: &[Answer], limits: &Limits) {
    let (labels, records) = (material.labels, material.records);
    let kinds = [
        Kind {
            title: "The most confident mistakes",
            text: "Photos of known classes that were called another class, the most probable answers first.",
            photos: confident_mistakes(records, answers),
        },
        Kind {
            title: "Known photos called open",
            text: "Photos of known classes that were taken for unknown things, the least reachable first.",
            photos: known_called_open(records, answers),
        },
        Kind {
            title: "Unknown things taken for known",
            text: "Photos of unknown classes that were called a class, the most reachable first, up to three of a \
                   class before the others.",
            photos: open_called_known(labels, records, answers),
        },
    ];
    kinds.iter().filter(|kind| !kind.photos.is_empty()).for_each(|kind| section(body, material, kind, answers, limits));
}

fn section(body: &mut String, material: &Material, kind: &Kind, answers: &[Answer], limits: &Limits) {
    let Kind { title, text, photos } = kind;
    let (shown, others) = photos.split_at(photos.len().min(SHOWN));
    let count = match others.len() {
        0 => format!("{} in all.", photos.len()),
        _ => format!("{} of {} are shown; <code>{}</code> lists all.", shown.len(), photos.len(), super::ANSWERS),
    };
    let _ = writeln!(body, "<h2>{title}</h2>\n<p>{text} {count}</p>\n<div class=\"gallery\">");
    for i in shown {
        picture(body, material, *i, &answers[*i], limits);
    }
    body.push_str("</div>\n");
    if !others.is_empty() {
        let _ = writeln!(body, "<details><summary>Paths of others</summary>\n<ul class=\"paths\">");
        for i in others.iter().take(LISTED) {
            let path = escape(&material.labels[material.records[*i].photo].path);
            let (truth, said) = sides(material, *i, &answers[*i]);
            let _ = writeln!(body, "<li><code>{path}</code>: {}, called {}</li>", escape(&truth), escape(&said));
        }
        body.push_str("</ul></details>\n");
    }
}

/// What a photo shows, and its label.
fn sides(material: &Material, record: usize, answer: &Answer) -> (String, String) {
    let truth = match answer.truth {
        Some(class) => material.names.of(class),
        None => &material.labels[material.records[record].photo].class,
    };
    (truth.into(), if answer.open { "open".into() } else { material.names.of(answer.label).into() })
}

fn picture(body: &mut String, material: &Material, i: usize, answer: &Answer, limits: &Limits) {
    let record = &material.records[i];
    let label = &material.labels[record.photo];
    let (truth, said) = sides(material, i, answer);
    let (truth, said, path) = (escape(&truth), escape(&said), escape(&label.path));
    // The photo was readable before. A report without one picture is still useful.
    let picture = match thumbnails::data_uri(&material.images.join(&label.path), limits) {
        Ok(uri) => format!("<img src=\"{uri}\" alt=\"Photo of {truth}, called {said}\">"),
        Err(_) => "<p class=\"note\">can no longer be read</p>".into(),
    };
    let resembles = match answer.open {
        true => format!("<br>resembles {}", escape(material.names.of(record.scores.nearest))),
        false => String::new(),
    };
    let _ = writeln!(
        body,
        "<figure>{picture}<figcaption><b>{truth}</b>, called <b class=\"wrong\">{said}</b>{resembles}<br>{:.0} %, \
         reachability {:.3}<br><code class=\"path\">{path}</code></figcaption></figure>",
        record.scores.probability * 100.0,
        record.scores.reachability
    );
}

/// Photos of known classes labelled as another class, the most probable answers first.
fn confident_mistakes(records: &[Record], answers: &[Answer]) -> Vec<usize> {
    let mut mistakes: Vec<usize> = (0..records.len())
        .filter(|i| answers[*i].truth.is_some() && !answers[*i].open && !answers[*i].named())
        .collect();
    mistakes.sort_by(|a, b| records[*b].scores.probability.total_cmp(&records[*a].scores.probability));
    mistakes
}

/// Photos of known classes that were called open, the least reachable first.
fn known_called_open(records: &[Record], answers: &[Answer]) -> Vec<usize> {
    let mut lost: Vec<usize> = (0..records.len()).filter(|i| answers[*i].truth.is_some() && answers[*i].open).collect();
    lost.sort_by(|a, b| records[*a].scores.reachability.total_cmp(&records[*b].scores.reachability));
    lost
}

/// Photos of unknown things labelled as a class, the most reachable first, with a few of each class at the
/// front.
fn open_called_known(labels: &[Label], records: &[Record], answers: &[Answer]) -> Vec<usize> {
    const OF_EACH_CLASS: usize = 3;
    let mut taken: Vec<usize> =
        (0..records.len()).filter(|i| answers[*i].truth.is_none() && !answers[*i].open).collect();
    taken.sort_by(|a, b| records[*b].scores.reachability.total_cmp(&records[*a].scores.reachability));
    let mut shown = HashMap::new();
    let (mut front, back): (Vec<usize>, Vec<usize>) = taken.into_iter().partition(|i| {
        let of_class = shown.entry(labels[records[*i].photo].class.as_str()).or_insert(0);
        *of_class += 1;
        *of_class <= OF_EACH_CLASS
    });
    front.extend(back);
    front
}
