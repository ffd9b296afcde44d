//! The text of a report.

use std::fmt::Write;

use oltr::bundle::Rule;
use oltr::metrics::{Answer, Interval};
use oltr::scores::ScoreKind;
use oltr::{Limits, Result};

use super::super::study::{figure, percent};
use super::{Material, confident_mistakes, matrix, open_called_known, plots, thumbnails};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn page(material: &Material, answers: &[Answer], limits: &Limits) -> Result<String> {
    let e = material.evaluation;
    let title = format!("{} on ‘{}’", escape(&e.model.name), escape(&e.split));
    let mut body = format!("<h1>{title}</h1>\n");
    summary(&mut body, material);
    key_figures(&mut body, material);
    if e.known > 0 && e.open > 0 {
        body.push_str("<h2>Known against unknown</h2>\n<div class=\"plots\">\n");
        plot(
            &mut body,
            &plots::histogram(material.records, material.bundle)?,
            "Scores of known and unknown photos. What lies left of the threshold is called open.",
        );
        plot(
            &mut body,
            &plots::roc(material.records)?,
            "ROC: what is accepted at every possible threshold, with the area under each curve (AUROC).",
        );
        plot(
            &mut body,
            &plots::oscr(material.records)?,
            "OSCR: the same, but a known photo counts only when it is also named rightly.",
        );
        body.push_str("</div>\n");
        scores(&mut body, material);
    }
    if e.known > 0 {
        body.push_str("<h2>Common and rare classes</h2>\n<div class=\"plots\">\n");
        plot(
            &mut body,
            &plots::by_training_count(e)?,
            "Each dot is a class. Lines are the means of many-shot (100 or more training photos), medium-shot and \
             few-shot classes (20 or fewer).",
        );
        plot(
            &mut body,
            &plots::reliability(e)?,
            "Bars above the line: the network is right more often than the probability it states.",
        );
        body.push_str("</div>\n");
    }
    body.push_str("<h2>What is taken for what</h2>\n<p>Rows are what photos show, columns what they were called. ");
    body.push_str("Classes that are mistaken most; blue is right, orange is wrong.</p>\n");
    body.push_str(&matrix::html(material, answers));
    gallery(
        &mut body,
        material,
        "The most confident mistakes",
        "Photos of known classes that were called another class, the most probable answers first.",
        &confident_mistakes(material.records, answers),
        limits,
    );
    gallery(
        &mut body,
        material,
        "Unknown things taken for known",
        "Photos of unknown classes that were called a class, the most reachable first, up to three of a class.",
        &open_called_known(material.labels, material.records, answers),
        limits,
    );
    tables(&mut body, material);
    footer(&mut body, material);
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    ))
}

/// What a person who knows the animals rather than the method wants to know.
fn summary(body: &mut String, material: &Material) {
    let e = material.evaluation;
    let o = &e.open_set;
    let _ = write!(body, "<p class=\"lead\">");
    if e.known > 0 {
        let classes = e.classes.iter().filter(|c| c.photos > 0).count();
        let _ = write!(
            body,
            "Of <b>{} photos of {classes} known classes</b>, {} are named rightly, {} are called open although known, \
             and {} are called another class. ",
            e.known,
            percent(o.top1),
            percent(o.known_called_open),
            percent(o.top1.zip(o.known_called_open).map(|(right, open)| (1.0 - right - open).max(0.0)))
        );
    }
    match o.open_called_known {
        Some(called) => {
            let _ = write!(
                body,
                "Of <b>{} photos of {} unknown classes</b>, {} are called open, as they should be; the other {} are \
                 taken for a known class.",
                e.open,
                e.open_classes.len(),
                percent(Some(1.0 - called)),
                percent(Some(called))
            );
        }
        None => body.push_str("There are no photos of unknown classes, so nothing is said about open ones."),
    }
    body.push_str("</p>\n");
    if e.unreadable > 0 {
        let _ = writeln!(body, "<p class=\"warn\">{} photos could not be read and are in no figure.</p>", e.unreadable);
    }
    for remark in &material.remarks {
        let _ = writeln!(body, "<p class=\"remark\">{}</p>", escape(remark));
    }
}

fn key_figures(body: &mut String, material: &Material) {
    let e = material.evaluation;
    let (c, o) = (&e.closed, &e.open_set);
    body.push_str("<div class=\"columns\">\n<table>\n<tr><th>Accuracy</th><th>rule off</th><th>rule on</th></tr>\n");
    for (name, closed, closed_path, open, open_path) in [
        ("all photos", c.top1, "closed.top1", o.top1, "open_set.top1"),
        ("mean of classes", c.overall_macro, "closed.overall_macro", o.overall_macro, ""),
        ("many-shot", c.many, "", o.many, ""),
        ("medium-shot", c.medium, "", o.medium, ""),
        ("few-shot", c.few, "", o.few, ""),
    ] {
        let (closed_interval, open_interval) = (interval(e, closed_path, true), interval(e, open_path, true));
        let (closed, open) = (percent(closed), percent(open));
        let _ = writeln!(
            body,
            "<tr><td>{name}</td><td class=\"n\">{closed}{closed_interval}</td><td class=\"n\">{open}{open_interval}</td></tr>"
        );
    }
    let f = format!("F-measure, formula of {}", o.f_formula);
    let _ = writeln!(body, "</table>\n<table>\n<tr><th>Open set</th><th></th></tr>");
    for (name, value, path) in [
        (f.as_str(), figure(o.f_measure), "open_set.f_measure"),
        ("precision / recall", format!("{} / {}", figure(o.precision), figure(o.recall)), ""),
        ("known called open", percent(o.known_called_open), "open_set.known_called_open"),
        ("unknown called a class", percent(o.open_called_known), "open_set.open_called_known"),
        ("AUROC", figure(o.auroc), "open_set.auroc"),
        ("FPR at 95 % TPR", figure(o.fpr95), ""),
        ("OSCR", figure(o.oscr), "open_set.oscr"),
        ("calibration error (ECE)", figure(c.calibration_error), ""),
    ] {
        let interval = interval(e, path, value.contains('%'));
        let _ = writeln!(body, "<tr><td>{name}</td><td class=\"n\">{value}{interval}</td></tr>");
    }
    let _ = writeln!(
        body,
        "</table>\n</div>\n<p class=\"note\">In brackets: 95 % bootstrap intervals, {} samples, drawn by {}.</p>",
        e.intervals.resamples,
        escape(&e.intervals.drawn)
    );
}

fn interval(e: &oltr::evaluate::Evaluation, path: &str, percent: bool) -> String {
    match e.intervals.of.get(path) {
        Some(Some(Interval { low, high })) if percent => {
            format!(" <small>({:.1}–{:.1})</small>", low * 100.0, high * 100.0)
        }
        Some(Some(Interval { low, high })) => format!(" <small>({low:.3}–{high:.3})</small>"),
        _ => String::new(),
    }
}

fn plot(body: &mut String, svg: &str, caption: &str) {
    let _ = writeln!(body, "<figure>{svg}<figcaption>{caption}</figcaption></figure>");
}

fn scores(body: &mut String, material: &Material) {
    body.push_str("<table>\n<tr><th>Score</th><th>AUROC</th><th>FPR at 95 % TPR</th><th>OSCR</th></tr>\n");
    let used = ScoreKind::of_rule(material.bundle.open.rule);
    for kind in ScoreKind::ALL {
        let s = &material.evaluation.scores[kind.name()];
        let mark = if kind == used { " <small>(the rule’s)</small>" } else { "" };
        let _ = writeln!(
            body,
            "<tr><td>{}{mark}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            kind.name(),
            figure(s.auroc),
            figure(s.fpr95),
            figure(s.oscr)
        );
    }
    body.push_str("</table>\n");
}

fn gallery(body: &mut String, material: &Material, title: &str, text: &str, photos: &[usize], limits: &Limits) {
    if photos.is_empty() {
        return;
    }
    let _ = writeln!(body, "<h2>{title}</h2>\n<p>{text}</p>\n<div class=\"gallery\">");
    for record in photos.iter().map(|i| &material.records[*i]) {
        let label = &material.labels[record.photo];
        // It was readable a minute ago; a report without one picture is still a report.
        let Ok(uri) = thumbnails::data_uri(&material.images.join(&label.path), limits) else { continue };
        let truth = match record.truth {
            Some(class) => &material.bundle.classes[class].name,
            None => &label.class,
        };
        let said = &material.bundle.classes[record.scores.class].name;
        let _ = writeln!(
            body,
            "<figure title=\"{}\"><img src=\"{uri}\" alt=\"{}\" loading=\"lazy\"><figcaption><b>{}</b>, called \
             <b class=\"wrong\">{}</b><br>{:.0} %, reachability {:.3}</figcaption></figure>",
            escape(&label.path),
            escape(truth),
            escape(truth),
            escape(said),
            record.scores.probability * 100.0,
            record.scores.reachability
        );
    }
    body.push_str("</div>\n");
}

fn tables(body: &mut String, material: &Material) {
    let e = material.evaluation;
    body.push_str("<h2>Class by class</h2>\n<details open><summary>Known classes</summary>\n<table class=\"wide\">\n");
    body.push_str(
        "<tr><th>Class</th><th>trained on</th><th>group</th><th>photos</th><th>rule off</th><th>rule on</th>\
         <th>called open</th></tr>\n",
    );
    for c in &e.classes {
        let shot = match c.shot {
            oltr::bundle::Shot::Many => "many",
            oltr::bundle::Shot::Medium => "medium",
            oltr::bundle::Shot::Few => "few",
        };
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td>{shot}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&c.name),
            c.train_count,
            c.photos,
            percent(c.closed),
            percent(c.open_set),
            c.called_open
        );
    }
    body.push_str("</table></details>\n");
    if e.open_classes.is_empty() {
        return;
    }
    body.push_str("<details open><summary>Unknown classes</summary>\n<table class=\"wide\">\n");
    body.push_str("<tr><th>Class</th><th>photos</th><th>called open</th><th>otherwise taken for</th></tr>\n");
    for c in &e.open_classes {
        let taken: Vec<String> =
            c.taken_for.iter().take(5).map(|t| format!("{} ({})", escape(&t.class), t.photos)).collect();
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(&c.class),
            c.photos,
            percent((c.photos > 0).then(|| c.called_open as f64 / c.photos as f64)),
            taken.join(", ")
        );
    }
    body.push_str("</table></details>\n");
}

fn footer(body: &mut String, material: &Material) {
    let e = material.evaluation;
    let rule = match e.rule.rule {
        Rule::Reachability => format!("open below a reachability (10 / distance) of {}", e.rule.reachability),
        Rule::MaxProbability => format!("open below a probability of {}", e.rule.probability),
        Rule::Both => {
            format!("open below a reachability of {} or a probability of {}", e.rule.reachability, e.rule.probability)
        }
    };
    let own = match e.rule.per_class {
        0 => String::new(),
        n => format!("; {n} classes have thresholds of their own"),
    };
    let t = &e.throughput;
    let _ = writeln!(
        body,
        "<h2>How this was made</h2>\n<p>Bundle <code>{}</code>, SHA-256 <code>{}</code>; {rule}{own}. F = 2PR / (P + R) \
         with P = TP / (TP + FP) and R = TP / (TP + FN): TP known photos named rightly and accepted ({}), FP all other \
         known photos ({}), FN unknown photos called a class ({}). {:.0} photos a second, {} at a time; in the mean \
         {:.1} ms to decode, {:.1} ms to resize and {:.1} ms to compute a photo. oltr {}.</p>",
        escape(&e.model.name),
        e.model.sha256,
        e.open_set.f_terms.true_positives,
        e.open_set.f_terms.false_positives,
        e.open_set.f_terms.false_negatives,
        t.photos_per_second,
        t.jobs,
        t.decode_ms,
        t.preprocess_ms,
        t.inference_ms,
        env!("CARGO_PKG_VERSION")
    );
}

/// `text` as HTML shows it.
pub fn escape(text: &str) -> String {
    oltr::text::html(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escape("<img src=\"x\" onerror='y'>&"), "&lt;img src=&quot;x&quot; onerror=&#39;y&#39;&gt;&amp;");
    }
}
