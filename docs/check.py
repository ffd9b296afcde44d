#!/usr/bin/env python3
"""Links in *.md lead to files and headings; with a built PROGRAM, command-line.md names its options and no others."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
pages = [ROOT / name for name in subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).split()]
prose = {page: re.sub(r"^ *```.*?^ *```|`[^`\n]*`", lambda code: code[0].strip("`") if "\n" not in code[0] else "",
                      page.read_text(), flags=re.M | re.S) for page in pages}

def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    heads = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head) for head in re.findall(r"^#+ +(.*)$", prose[page], re.M)]
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}

wrong = []
for page in pages:
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", prose[page]):
        path, _, anchor = (link[0] or link[1]).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not re.match(r"[a-z]+:", path) and (not target.exists() or anchor and anchor not in anchors(target)):
            wrong.append(f"{page.relative_to(ROOT)}: '{link[0] or link[1]}' leads nowhere")
named = set(re.findall(r"--[a-z][\w-]*", (ROOT / "docs/reference/command-line.md").read_text()))
options = set()
for command in sys.argv[1:] and ["", "classify", "stream", "cameras", "inspect", "verify", "bench", "evaluate", "calibrate", "adopt", "refit",
                                 "enrol add", "doctor"]:
    shown = subprocess.check_output([sys.argv[1], *command.split(), "--help"], text=True)
    options |= set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", shown, re.M))
if options:
    wrong += [f"command-line.md lacks {option}" for option in sorted(options - named)]
    wrong += [f"command-line.md: oltr has no {option}" for option in sorted(named - options)]
sys.exit("\n".join(wrong) if wrong else None)
