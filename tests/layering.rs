//! What may use what: the layers of `ARCHITECTURE.md`, held against the sources.
//!
//! Looks at the code that ships: comments, strings of a line of their own and the `tests` modules at the end of files
//! do not count.

use std::collections::BTreeSet;
use std::path::Path;

/// What the modules of each layer may name of the library's own. The longest prefix of a module decides.
const MAY_USE: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("error", &["text"]),
    ("limits", &[]),
    ("clock", &[]),
    ("frame", &["error", "limits"]),
    ("bundle", &["error", "limits"]),
    ("int8", &["error", "limits"]),
    // Kernels are handed slices: nothing of ours but the definitions of quantisation.
    ("int8::kernels", &["int8::quant"]),
    ("int8::quant", &[]),
    ("preprocess", &["bundle", "error", "frame", "int8::quant"]),
    ("atomic", &["error"]),
    ("model", &["bundle", "error", "frame", "int8", "limits", "preprocess"]),
    ("scores", &["bundle", "error"]),
    ("decide", &["bundle", "error", "limits", "scores"]),
    ("queue", &["error", "limits"]),
    ("source", &["clock", "error", "frame", "limits"]),
    ("sink", &["bundle", "clock", "decide", "enrol", "error", "frame", "limits", "scores", "text"]),
    (
        "pipeline",
        &[
            "bundle", "clock", "decide", "enrol", "error", "frame", "limits", "model", "queue", "scores", "sink",
            "source",
        ],
    ),
    ("labels", &["bundle", "error", "limits", "source", "text"]),
    ("metrics", &["bundle", "error"]),
    ("survey", &["bundle", "decide", "error", "frame", "labels", "limits", "metrics", "model", "scores", "source"]),
    ("enrol", &["atomic", "decide", "error"]),
    ("explain", &["bundle", "calibrate", "decide", "scores"]),
    // What both need lies in `survey` and `metrics`.
    ("calibrate", &["bundle", "error", "labels", "metrics", "scores", "survey"]),
    ("evaluate", &["bundle", "error", "labels", "metrics", "scores", "survey"]),
    // The program: its own modules and what the library makes public.
    ("main", &["cli"]),
    ("cli", &[]),
];

/// Files whose code is longer than [`MAX_LINES`], with the reason.
const LONG: &[(&str, &str)] = &[];

/// Lines of code in a file that can still be read in one go; tests at its end not counted.
const MAX_LINES: usize = 600;

/// A source file.
struct Source {
    /// From `src`: `int8/quant.rs`
    path: String,
    /// `int8::quant`
    module: String,
    /// Without comments and tests, a line at the place of each line.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push(Source { module: module(&relative), code: code(&text), path: relative });
            }
        }
    }
    assert!(sources.len() > 30, "only {} sources were found", sources.len());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    // A module of nothing but tests is a file of its own.
    sources.retain(|s| !s.path.ends_with("/tests.rs"));
    sources
}

fn module(path: &str) -> String {
    path.trim_end_matches(".rs").replace('/', "::")
}

/// The code of a file without comments and tests.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut parts = text.split("#[cfg(test)]\nmod tests {");
    code.push_str(parts.next().unwrap_or_default());
    for part in parts {
        code.push_str(part.split_once("\n}\n").map_or("", |(_, after)| after));
    }
    let line = |line: &str| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => line[..at].to_string(),
        _ => line.to_string(),
    };
    code.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The modules of the library that `source` names, from the root: `int8::kernels`.
fn used(source: &Source, reexported: &[(String, String)]) -> BTreeSet<String> {
    let own: Vec<&str> = source.module.split("::").collect();
    let mut used = BTreeSet::new();
    for start in ["crate::", "super::"] {
        for (at, _) in source.code.match_indices(start) {
            let before = source.code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let mut rest = &source.code[at..];
            let mut path: Vec<&str> = Vec::new();
            if let Some(after) = rest.strip_prefix("crate::") {
                rest = after;
            } else {
                path = own.clone();
                while let Some(after) = rest.strip_prefix("super::") {
                    path.pop();
                    rest = after;
                }
            }
            for tail in tails(rest) {
                let mut full: Vec<&str> = path.clone();
                full.extend(tail);
                if let (1, Some(home)) =
                    (full.len(), reexported.iter().find(|(name, _)| full.first() == Some(&&name[..])))
                {
                    full = vec![&home.1];
                }
                used.insert(full.join("::"));
            }
        }
    }
    used
}

/// The paths that begin here: one, or one for each branch of the braces that follow. Only modules, which are lower
/// case, and a last name at the root.
fn tails(text: &str) -> Vec<Vec<&str>> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if let Some(inside) = text.strip_prefix('{') {
        return branches(inside).into_iter().flat_map(tails).collect();
    }
    let is_module = name.starts_with(|c: char| c.is_lowercase());
    match rest.strip_prefix("::") {
        Some(after) if is_module => {
            let mut paths = tails(after);
            for path in &mut paths {
                // What a module holds does not matter, which module does.
                path.retain(|n| n.starts_with(|c: char| c.is_lowercase()));
                path.insert(0, name);
            }
            paths
        }
        _ => vec![vec![name]],
    }
}

/// What stands between braces, split at its commas.
fn branches(inside: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (i, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth > 0 => {}
            ',' | '}' => {
                parts.push(inside[start..i].trim());
                start = i + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts.retain(|p| !p.is_empty());
    parts
}

/// Names at the root of the library and the modules that they come from.
fn reexported(sources: &[Source]) -> Vec<(String, String)> {
    let lib = &sources.iter().find(|s| s.path == "lib.rs").expect("the library has a root").code;
    let mut names = Vec::new();
    for line in lib.split("pub use ").skip(1) {
        let (module, list) = line.split_once("::").expect("a re-export of a module");
        let list = list.split(';').next().unwrap_or_default().trim_matches(['{', '}']);
        names.extend(list.split(',').map(|n| (n.trim().to_string(), module.to_string())));
    }
    names
}

fn within(module: &str, layer: &str) -> bool {
    module.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn layers_use_only_those_below() {
    let sources = sources();
    let reexported = reexported(&sources);
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|s| s.path != "lib.rs") {
        let layer = MAY_USE.iter().filter(|(layer, _)| within(&source.module, layer)).max_by_key(|(l, _)| l.len());
        let Some((layer, may)) = layer else {
            wrong.push(format!("{}: is of no layer; say in MAY_USE what it may use", source.path));
            continue;
        };
        for used in used(source, &reexported) {
            let fine = within(&used, layer) || may.iter().any(|m| within(&used, m));
            if !fine {
                wrong.push(format!("{}: {layer} uses {used}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether `code` names an identifier that begins with `prefix`.
fn names(code: &str, prefix: &str) -> bool {
    code.match_indices(prefix).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !before.is_alphanumeric() && before != '_' && before != '"' && before != '-'
    })
}

#[test]
fn only_the_model_names_tract() {
    let mut seen = false;
    for source in sources() {
        let named = ["tract_", "tract::", "prost"].iter().any(|n| names(&source.code, n));
        seen |= named;
        assert!(!named || within(&source.module, "model"), "{} names tract or prost", source.path);
    }
    assert!(seen, "nothing names tract: this test looks for the wrong thing");
}

#[test]
fn only_kernels_are_unsafe() {
    for source in sources() {
        let is_unsafe = names(&source.code, "unsafe ");
        assert!(!is_unsafe || within(&source.module, "int8::kernels"), "{} is unsafe", source.path);
    }
}

#[test]
fn the_program_knows_no_kernels() {
    for source in sources().iter().filter(|s| within(&s.module, "cli") || within(&s.module, "main")) {
        assert!(!source.code.contains("kernels::"), "{} reaches into the engine", source.path);
    }
}

#[test]
fn no_file_is_long() {
    let mut wrong = Vec::new();
    for source in sources() {
        let (lines, listed) = (source.code.lines().count(), LONG.iter().any(|(path, _)| *path == source.path));
        match (lines > MAX_LINES, listed) {
            (true, false) => wrong.push(format!("{} has {lines} lines; part it", source.path)),
            (false, true) => wrong.push(format!("{} is short again; take it off the list", source.path)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn paths_are_found_in_code() {
    let source = |code: &str| Source { path: String::new(), module: "model::lower::emit".into(), code: code.into() };
    let reexported = vec![("Error".to_string(), "error".to_string())];
    let found = |code: &str| used(&source(code), &reexported).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("use crate::int8::kernels::{Conv, KernelSet};"), "int8::kernels");
    assert_eq!(found("use crate::{int8::{Binary, quant::Quant}, limits::Limits};"), "int8 int8::quant limits");
    assert_eq!(found("let e = crate::Error::Internal(x);"), "error");
    assert_eq!(
        found("use super::super::graph::Node; use super::{Part, entry};"),
        "model::graph model::lower::Part model::lower::entry"
    );
    assert_eq!(found("use super::super::super::frame::Frame;"), "frame");
    assert_eq!(found("mycrate::x(); std::super_::y()"), "");
    let file = "a(); // crate::b\n/// c\nd(\"http://e\");\n#[cfg(test)]\nmod tests {\n f();\n}\ng();\n";
    assert_eq!(code(file), "a(); \n\nd(\"http://e\");\ng();");
}
