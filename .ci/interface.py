#!/usr/bin/env python3
"""Holds the public interface of the crates that are published against docs/interface, one file a crate.

    .ci/interface.py [DOC]               what differs, with exit code 1; DOC is where `cargo doc` wrote, or target/doc
    .ci/interface.py --record [DOC]      writes the files anew, after a change that is meant

A line is an item with its signature, as rustdoc shows it to those who use the crate: what is public but cannot be reached is
not in it, what is exported from another crate under this one's name is. Only stable tools are needed.
"""

import difflib
import html
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = ("oltr", "oltr-int8", "oltr-jpeg", "oltr-frames", "oltr-scenes", "oltr-export", "oltr-store")
# From here on a page has what follows from other implementations.
FOREIGN = re.compile(r'<h2 id="(?:synthetic|blanket)-implementations"')
HEADER = re.compile(r'<h([34]) class="code-header">(.*?)</h\1>', re.S)


def text(code):
    """Code without tags, in one line."""
    code = re.sub(r'<span class="(?:item-info|since|src)[^"]*".*?</span>', "", code, flags=re.S)
    code = re.sub(r'<a class="src[^>]*>.*?</a>|<details class="toggle type-contents-toggle.*?</summary>', "", code, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", code)).replace("\u200b", "").replace("\u00a0", " ").replace("ⓘ", "").split())


def items(folder):
    """The lines of one crate, from its pages."""
    pages = re.findall(r'href="([^"#]+\.html)"', (folder / "all.html").read_text().split("<main>")[-1])
    for page in sorted(set(pages)):
        if page.startswith("..") or not (folder / page).exists():
            continue
        path = "::".join([*page.split("/")[:-1], page.split("/")[-1].split(".")[1]])
        body = FOREIGN.split((folder / page).read_text())[0]
        if declared := re.search(r'<pre class="rust item-decl"><code>(.*?)</code></pre>', body, re.S):
            # Comments stand for private fields, and for what is folded.
            yield f"{path}: {text(declared[1])}"
        within = path
        for level, header in HEADER.findall(body):
            line = text(header)
            if level == "3" and line.startswith("impl"):
                within = f"{path}: {line}"
                yield within
            elif level == "4" and within != path and re.match(r"(?:pub |const |type |fn |unsafe |async )", line) and " for " not in within.split("where")[0]:
                yield f"{within} {{ {line} }}"


def main():
    record = "--record" in sys.argv
    rest = [argument for argument in sys.argv[1:] if argument != "--record"]
    docs, kept = Path(rest[0]) if rest else ROOT / "target" / "doc", ROOT / "docs" / "interface"
    wrong = False
    for crate in CRATES:
        folder, file = docs / crate.replace("-", "_"), kept / f"{crate}.txt"
        if not (folder / "all.html").exists():
            sys.exit(f"{folder} is not there: cargo doc --no-deps --workspace")
        now = sorted(set(items(folder)))
        if record:
            kept.mkdir(exist_ok=True)
            file.write_text("\n".join(now) + "\n")
            continue
        before = file.read_text().splitlines() if file.exists() else []
        for line in difflib.unified_diff(before, now, str(file.relative_to(ROOT)), "cargo doc", lineterm="", n=0):
            wrong = True
            print(line)
    if wrong:
        sys.exit("The public interface changed. If that is meant: .ci/interface.py --record, and CHANGELOG.md says it.")
    if not record:
        print("The public interface is as docs/interface has it.")


if __name__ == "__main__":
    main()
