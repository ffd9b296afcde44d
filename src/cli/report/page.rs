//! The text of a report.

use std::fmt::Write;

use oltr::bundle::Rule;
use oltr::metrics::{Answer, Interval};
use oltr::scores::ScoreKind;
use oltr::text::counted;
use oltr::{Limits, Result};

use super::super::study::{figure, percent};
use super::html::{escape, scroll};
use super::material::Material;
use super::{classes, gallery, matrix, plots, terms};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn page(material: &Material, answers: &[Answer], limits: &Limits) -> Result<String> {
    let e = material.evaluation;
    let title = format!("{} on ‘{}’", escape(&e.model.name), escape(&e.split));
    let mut body = format!("<h1>{title}</h1>\n");
    summary(&mut body, material);
    key_figures(&mut body, material);
    let mut plots = Plots { body: &mut body, count: 0 };
    if e.known > 0 && e.open > 0 {
        plots.begin("Known against unknown");
        plots.add(
            "Scores of known and unknown photos",
            "What lies left of the threshold is called open.",
            &plots::histogram(material.records, material.bundle)?,
        );
        plots.add(
            "Receiver operating characteristic (ROC)",
            "What is accepted at every possible threshold, with the area under each curve (AUROC).",
            &plots::roc(material.records)?,
        );
        plots.add(
            "Open-set classification rate (OSCR)",
            "As before, but a known photo counts only if it is also named rightly.",
            &plots::oscr(material.records)?,
        );
        plots.end();
        scores(plots.body, material);
    }
    if e.known > 0 {
        plots.begin("Common and rare classes");
        plots.add(
            "Accuracy by number of training photos",
            "Each dot is a class. Lines are the means of many-shot (100 or more training photos), medium-shot and \
             few-shot classes (20 or fewer).",
            &plots::by_training_count(e)?,
        );
        plots.add(
            "Stated probability and how often it was right",
            "Bars above the line: the network is right more often than the probability it states.",
            &plots::reliability(e)?,
        );
        plots.end();
    }
    body.push_str("<h2>What is taken for what</h2>\n<p>Rows are what photos show, columns what they were called. ");
    body.push_str("Classes that are mistaken most; blue is right, orange is wrong.</p>\n");
    body.push_str(&matrix::html(material, answers));
    gallery::html(&mut body, material, answers, limits);
    classes::html(&mut body, material);
    unreadable(&mut body, material);
    terms::html(&mut body);
    footer(&mut body, material);
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    ))
}

/// The summary, for readers who know the animals rather than the method.
fn summary(body: &mut String, material: &Material) {
    let e = material.evaluation;
    let o = &e.open_set;
    let _ = write!(body, "<p class=\"lead\">");
    if e.known > 0 {
        let classes = e.classes.iter().filter(|c| c.photos > 0).count();
        let _ = write!(
            body,
            "Of <b>{} of {}</b>, {} are named rightly, {} are called open although known, and {} are called another \
             class. ",
            counted(e.known, "photo"),
            counted(classes, "known class"),
            percent(o.top1),
            percent(o.known_called_open),
            percent(o.top1.zip(o.known_called_open).map(|(right, open)| (1.0 - right - open).max(0.0)))
        );
    }
    match o.open_called_known {
        Some(called) => {
            let _ = write!(
                body,
                "Of <b>{} of {}</b>, {} are called open, as they should be; the other {} are taken for a known class.",
                counted(e.open, "photo"),
                counted(e.open_classes.len(), "unknown class"),
                percent(Some(1.0 - called)),
                percent(Some(called))
            );
        }
        None => body.push_str("There are no photos of unknown classes, so nothing is said about open ones."),
    }
    body.push_str("</p>\n");
    if e.unreadable > 0 {
        let photos = counted(e.unreadable, "photo");
        let _ = writeln!(body, "<p class=\"warn\">{photos} could not be read: in no figure.</p>");
    }
    for remark in &material.remarks {
        let _ = writeln!(body, "<p class=\"remark\">{}</p>", escape(remark));
    }
}

fn key_figures(body: &mut String, material: &Material) {
    let e = material.evaluation;
    let (c, o) = (&e.closed, &e.open_set);
    let mut accuracy =
        String::from("<thead><tr><th>Accuracy</th><th>rule off</th><th>rule on</th></tr></thead>\n<tbody>\n");
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
            accuracy,
            "<tr><td>{name}</td><td class=\"n\">{closed}{closed_interval}</td><td class=\"n\">{open}{open_interval}</td></tr>"
        );
    }
    accuracy += "</tbody>";
    let f = format!("F-measure, formula of {}", o.f_formula);
    let mut open_set = String::from("<thead><tr><th>Open set</th><th>value</th></tr></thead>\n<tbody>\n");
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
        let _ = writeln!(open_set, "<tr><td>{name}</td><td class=\"n\">{value}{interval}</td></tr>");
    }
    open_set += "</tbody>";
    let _ = writeln!(
        body,
        "<div class=\"columns\">\n{}{}</div>\n<p class=\"note\">In brackets: 95 % bootstrap intervals, {} samples, drawn by \
         {}. The words are explained under Terms at the end. All answers, one photo a line, are in <code>{}</code> beside \
         this page; texts in it that begin as a formula would have an apostrophe before them.</p>",
        scroll("Accuracy", "", &accuracy),
        scroll("Open set", "", &open_set),
        e.intervals.resamples,
        escape(&e.intervals.drawn),
        super::ANSWERS
    );
}

/// The photos that are in no figure.
fn unreadable(body: &mut String, material: &Material) {
    /// Photos that are named.
    const NAMED: usize = 50;
    if material.failures.is_empty() {
        return;
    }
    let _ = writeln!(body, "<h2>Photos that could not be read</h2>\n<ul class=\"paths\">");
    for (photo, error) in material.failures.iter().take(NAMED) {
        let path = escape(&material.labels[*photo].path);
        let _ = writeln!(body, "<li><code>{path}</code>: {}</li>", escape(&error.to_string()));
    }
    body.push_str("</ul>\n");
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

/// The plots of a page, in sections.
struct Plots<'a> {
    body: &'a mut String,
    /// Number of plots so far: each needs unique ids.
    count: usize,
}

impl Plots<'_> {
    fn begin(&mut self, title: &str) {
        let _ = writeln!(self.body, "<h2>{title}</h2>\n<div class=\"plots\">");
    }

    /// Adds `svg`, with `title` and `caption` for readers who cannot see it.
    fn add(&mut self, title: &str, caption: &str, svg: &str) {
        self.count += 1;
        let id = format!("plot-{}", self.count);
        let named = format!("<svg role=\"img\" aria-labelledby=\"{id} {id}-text\" ");
        let svg = svg.replacen("<svg ", &named, 1);
        let described = format!("><title id=\"{id}\">{title}</title><desc id=\"{id}-text\">{caption}</desc>");
        let svg = svg.replacen('>', &described, 1);
        let _ = writeln!(self.body, "<figure><h3>{title}</h3>{svg}<figcaption>{caption}</figcaption></figure>");
    }

    fn end(&mut self) {
        self.body.push_str("</div>\n");
    }
}

fn scores(body: &mut String, material: &Material) {
    let mut rows = String::from(
        "<thead><tr><th>Score</th><th>AUROC</th><th>FPR at 95 % TPR</th><th>OSCR</th></tr></thead>\n<tbody>\n",
    );
    let used = ScoreKind::of_rule(material.bundle.open.rule);
    for kind in ScoreKind::ALL {
        let s = &material.evaluation.scores[kind.name()];
        let mark = if kind == used { " <small>(the rule’s)</small>" } else { "" };
        let _ = writeln!(
            rows,
            "<tr><td>{}{mark}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            kind.name(),
            figure(s.auroc),
            figure(s.fpr95),
            figure(s.oscr)
        );
    }
    rows += "</tbody>";
    body.push_str(&scroll("Scores", "", &rows));
}

fn footer(body: &mut String, material: &Material) {
    let e = material.evaluation;
    let rule = match e.rule.rule {
        Rule::Reachability => format!("open below a reachability (10 / distance) of {}", e.rule.reachability),
        Rule::MaxProbability => format!("open below a probability of {}", e.rule.probability),
        Rule::DistanceRatio | Rule::MaxLogit | Rule::Energy | Rule::Entropy | Rule::Margin => {
            let name = oltr::scores::ScoreKind::of_rule(e.rule.rule).name();
            format!("open below a {name} of {}", e.rule.limit.unwrap_or_default())
        }
        Rule::Both => {
            format!("open below a reachability of {} or a probability of {}", e.rule.reachability, e.rule.probability)
        }
    };
    let own = match e.rule.per_class {
        0 => String::new(),
        n => format!("; {} with thresholds of their own", counted(n, "class")),
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
