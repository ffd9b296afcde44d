//! Explanations of a report's terms.

use std::fmt::Write;

/// Terms with their explanations, in the order in which a reader needs them.
const TERMS: [(&str, &str); 18] = [
    ("known class", "A class that the bundle was trained on and can name."),
    ("unknown class", "A class that the bundle was not trained on. The right answer for its photos is open."),
    ("open", "The answer for a photo that resembles no known class enough."),
    (
        "reachability",
        "10 divided by the distance between what the network computes for a photo and the centre of the nearest known \
         class. The larger it is, the nearer the photo lies to something known.",
    ),
    ("threshold", "The reachability (or probability) below which the rule of the bundle calls a photo open."),
    (
        "rule off, rule on",
        "Accuracy if every photo gets a class (closed set), and if photos may be called open (open set).",
    ),
    ("many-, medium- and few-shot", "Groups of classes by their training photos: 100 or more, 21 to 99, 20 or fewer."),
    (
        "mean of classes",
        "The accuracy of each class first, then their mean: rare classes count as much as common ones.",
    ),
    ("known called open", "Share of the photos of known classes that were called open although they have a class."),
    ("unknown called a class", "Share of the photos of unknown classes that were taken for a known class."),
    (
        "precision of a class",
        "Of all photos that were called this class, the share that is of it. Photos of unknown classes count against it.",
    ),
    (
        "F-measure",
        "One figure for known photos that are accepted and named rightly and for unknown ones that are not: \
         2PR / (P + R). 1 is perfect. The formula stands below.",
    ),
    (
        "AUROC",
        "The chance that a known photo has a higher score than an unknown one, whatever the threshold. 1 is perfect, 0.5 \
         is guessing.",
    ),
    (
        "FPR at 95 % TPR (FPR95)",
        "Share of the unknown photos that are accepted if the threshold accepts 95 % of the known ones. 0 is perfect.",
    ),
    (
        "OSCR",
        "Area under the open-set classification rate curve: as AUROC, but a known photo counts only if it is also named \
         rightly.",
    ),
    (
        "calibration error (ECE)",
        "How far stated probabilities lie from how often they were right, in the mean. 0 is perfect.",
    ),
    (
        "probability",
        "What the network states for its most probable class among the known ones. It says nothing about unknown things.",
    ),
    (
        "bootstrap interval",
        "The range in which 95 % of the figures lie if photos are drawn anew from these. With few photos it is wide.",
    ),
];

/// The terms as a list.
pub fn html(body: &mut String) {
    body.push_str("<h2 id=\"terms\">Terms</h2>\n<dl>\n");
    for (term, explanation) in TERMS {
        let _ = writeln!(body, "<dt>{term}</dt><dd>{explanation}</dd>");
    }
    body.push_str("</dl>\n");
}
