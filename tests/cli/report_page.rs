//! The page and the table that `oltr evaluate --report` writes.

use super::common::tiny;
use super::*;

/// A class, a name and a path that would like to be markup and a formula.
const HOSTILE: &str = "<script>alert(1)</script>\"'&";

const FORMULA: &str = "=cmd|' /C calc'!A0";

struct Report {
    page: String,
    answers: String,
    ran: Ran,
}

/// Evaluates the tiny bundle, changed by `change`, on `labels` of photos below `folder`.
fn report(folder: &Folder, labels: &str, change: impl FnOnce(&mut super::common::onnx::Model)) -> Report {
    let mut model = tiny::bundle();
    change(&mut model);
    let model = folder.file("m.onnx", &model.encode());
    let labels = folder.file("l.tsv", labels.as_bytes());
    let place = folder.path("report");
    let ran = oltr(&["evaluate", "--labels", &labels, "--images", &folder.path(""), "--report", &place, &model]);
    let read = |name: &str| fs::read_to_string(format!("{place}/{name}")).unwrap();
    Report { page: read("report.html"), answers: read("answers.csv"), ran }
}

/// Classes, one with a hostile id and name.
fn hostile_classes(model: &mut super::common::onnx::Model) {
    let class = |id: String| serde_json::json!({"id": id, "name": format!("{id} name"), "train_count": 9});
    let classes = [HOSTILE.to_string(), FORMULA.to_string(), "c".to_string()].map(class);
    model.set("oltr.classes", &Value::from(classes.to_vec()).to_string());
    model.set("oltr.name", HOSTILE);
}

/// Photos of each of the classes, with hostile names, and of two that are unknown.
fn photos(folder: &Folder) -> String {
    let mut labels = String::from("path\tclass\trole\tsplit\n");
    let names = ["<b>.jpg", "-1.jpg", "a,\"b\".jpg"];
    for ((name, class), photo) in names.into_iter().zip([HOSTILE, FORMULA, "c"]).zip(["cup", "moon", "cat"]) {
        folder.file(name, &fs::read(package(PHOTOS).join(format!("{photo}.jpg"))).unwrap());
        labels += &format!("{name}\t{class}\tknown\ttest\n");
    }
    folder.file("coins.jpg", &fs::read(package(PHOTOS).join("coins.jpg")).unwrap());
    folder.file("broken.jpg", b"no photo");
    labels + "coins.jpg\t=1+1 <i>\tunknown\ttest\nbroken.jpg\tc\tknown\ttest\n"
}

/// The rows of a table of comma separated values.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect()
}

#[test]
fn names_are_text_in_the_page_and_in_the_table() {
    let folder = Folder::new();
    let labels = photos(&folder);
    for open in ["0.00001", "1000"] {
        let rule = format!(r#"{{"rule":"reachability","reachability":{open},"probability":0.1}}"#);
        let Report { page, answers, ran } = report(&folder, &labels, |model| {
            hostile_classes(model);
            model.set("oltr.open", &rule);
        });
        ran.code(65);
        for markup in ["<script", "<b>.jpg", "<i>", "onerror", "href=", "<link", "url(", "@import"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"), "the name is there, as text");
        for row in rows(&answers).iter().skip(1) {
            assert_eq!(row.len(), 12, "{row:?}");
            for cell in row.iter().take(7) {
                assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
            }
        }
    }
}

#[test]
fn the_table_holds_every_answer() {
    let folder = Folder::new();
    let labels = photos(&folder);
    let Report { answers, ran, .. } = report(&folder, &labels, hostile_classes);
    let rows = rows(&answers);
    let header = "path class role decision label name outcome probability reachability threshold nearest distance";
    assert_eq!(rows[0].join(" "), header);
    assert_eq!(rows.len(), 1 + 5, "a row for each photo of the split: {answers}");
    assert_eq!(rows[1][0], "<b>.jpg");
    assert_eq!(rows[2][0], "'-1.jpg");
    assert_eq!(rows[3][0], "a,\"b\".jpg");
    let last = &rows[5];
    assert_eq!((last[0].as_str(), last[6].as_str(), last[7].as_str()), ("broken.jpg", "unreadable", ""));
    for row in &rows[1..5] {
        let outcome = match (row[2].as_str(), row[3].as_str()) {
            ("known", "open") => "known called open",
            ("unknown", "open") => "right",
            ("unknown", _) => "unknown called known",
            _ if row[1] == row[4] => "right",
            _ => "wrong class",
        };
        assert_eq!(row[6], outcome, "{row:?}");
        assert!(row[7..10].iter().chain([&row[11]]).all(|n| n.parse::<f64>().is_ok()), "{row:?}");
        assert_eq!(row[3] == "open", row[4].is_empty(), "{row:?}");
    }
    ran.code(65).says(&["broken.jpg"]);
}

#[test]
fn each_kind_of_mistake_is_shown_with_its_path() {
    let folder = Folder::new();
    let labels = photos(&folder);
    let with = |reachability: &str| {
        let rule = format!(r#"{{"rule":"reachability","reachability":{reachability},"probability":0.1}}"#);
        report(&folder, &labels, |model| {
            hostile_classes(model);
            model.set("oltr.open", &rule);
        })
    };
    let all_open = with("1000").page;
    assert!(all_open.contains("<h2>Known photos called open</h2>"), "{all_open}");
    assert!(!all_open.contains("<h2>Unknown things taken for known</h2>"));
    for path in ["&lt;b&gt;.jpg", "-1.jpg", "a,&quot;b&quot;.jpg"] {
        assert!(all_open.contains(&format!("<code class=\"path\">{path}</code>")), "{path}");
    }
    assert_eq!(all_open.matches("src=\"data:image/jpeg;base64,").count(), 3);
    let all_known = with("0.00001").page;
    assert!(all_known.contains("<h2>Unknown things taken for known</h2>"), "{all_known}");
    assert!(!all_known.contains("<h2>Known photos called open</h2>"));
    assert!(all_known.contains("<code class=\"path\">coins.jpg</code>"));
    // The photo that could not be read, and why.
    assert!(all_known.contains("Photos that could not be read") && all_known.contains("<code>broken.jpg</code>"));
}

#[test]
fn plots_have_titles_and_say_what_they_show() {
    let folder = Folder::new();
    let labels = photos(&folder);
    let Report { page, ran, .. } = report(&folder, &labels, hostile_classes);
    let plots: Vec<&str> = page.split("<svg ").skip(1).map(|svg| svg.split("</svg>").next().unwrap()).collect();
    assert_eq!(plots.len(), 5);
    for (i, plot) in plots.iter().enumerate() {
        let id = format!("plot-{}", i + 1);
        assert!(plot.starts_with(&format!("role=\"img\" aria-labelledby=\"{id} {id}-text\"")), "{plot}");
        assert!(plot.contains(&format!("<title id=\"{id}\">")) && plot.contains("<desc"), "{plot}");
        assert!(plot.matches("<text").count() > 6, "axes have labels: {plot}");
    }
    assert_eq!(page.matches("<figure><h3>").count(), 5);
    let images = page.matches("<img ").count();
    assert_eq!(page.matches("alt=\"Photo of ").count(), images, "each picture says what it shows");
    ran.code(65);
}

#[test]
fn the_page_is_made_for_narrow_dark_and_printed_pages() {
    let folder = Folder::new();
    let labels = photos(&folder);
    let Report { page, .. } = report(&folder, &labels, hostile_classes);
    for part in ["prefers-color-scheme: dark", "@media print", "@page", "width=device-width", "color-scheme"] {
        assert!(page.contains(part), "{part}");
    }
    // Every table scrolls inside itself.
    assert_eq!(page.matches("<table").count(), page.matches("<div class=\"scroll\"").count());
    assert!(!page.contains("loading=\"lazy\""), "a printed page has all its pictures");
    for term in ["reachability", "AUROC", "FPR95", "OSCR", "many-, medium- and few-shot", "open", "known called open"] {
        assert!(page.contains("<dt>") && page.split("<h2 id=\"terms\">").nth(1).unwrap().contains(term), "{term}");
    }
    for column in ["precision", "mostly taken for"] {
        assert_eq!(page.matches(&format!("<th>{column}</th>")).count(), if column == "precision" { 1 } else { 2 });
    }
}

#[test]
fn precision_counts_what_was_called_a_class() {
    let labels = "path\tclass\trole\tsplit
cup.jpg\tcup\tknown\ttest
moon.jpg\tmoon\tunknown\ttest
cat.jpg\tcat\tunknown\ttest
motorbike.jpg\tMotorbikes\tknown\ttest
";
    let folder = Folder::new();
    let labels = folder.file("l.tsv", labels.as_bytes());
    let json = oltr(&["evaluate", "--json", "--labels", &labels, "--images", PHOTOS, BUNDLE]).code(0).json().remove(0);
    let class = |id: &str| json["classes"].as_array().unwrap().iter().find(|c| c["class"] == id).unwrap().clone();
    let (cup, cat) = (class("cup"), class("wild_cat"));
    assert_eq!((&cup["answered"], &cup["precision"]), (&1.into(), &1.0.into()));
    // Only the unknown cat was called a wild cat.
    assert_eq!((&cat["answered"], &cat["precision"], &cat["photos"]), (&1.into(), &0.0.into(), &0.into()));
    assert_eq!((&class("ant")["precision"], &class("ant")["answered"]), (&Value::Null, &0.into()));
    assert_eq!(cup["taken_for"], serde_json::json!([]));
}

#[test]
fn evaluate_says_where_the_report_is() {
    let folder = Folder::new();
    let labels = photos(&folder);
    let Report { ran, .. } = report(&folder, &labels, hostile_classes);
    let joined = ran.stdout.replace(['\n', ' '], "");
    assert!(joined.contains("report/report.html") && joined.contains("report/answers.csv"), "{}", ran.stdout);
}
