#!/usr/bin/env python3
"""Makes the pictures of README.md in docs/pictures, of the sample photos alone: `docs/pictures.py PROGRAM`.

A page of `oltr evaluate --report` is photographed by Chromium, light and dark. A table of `oltr stream` becomes text in
an SVG, which the reader's own fonts and colours show. Chromium and ffmpeg have to be installed.
"""
import re
import subprocess
import sys
import tempfile
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "examples/photos"
OUT = ROOT / "docs/pictures"

# What the sample photos show of what the built-in bundle knows, by the ids of its classes. The others are unknown.
KNOWN = {"cup": "cup", "face": "Faces_easy", "motorbike": "Motorbikes"}

# The page is taken this wide and high, and its two halves stand side by side in the picture.
PAGE_WIDTH, PAGE_HEIGHT = 860, 2800
BYTES = 300_000                      # of all pictures together

# Three photos, for some seconds each, as a camera would show them.
SCENES = ("cup", "moon", "motorbike")
SECONDS = 4
COLUMNS = 80
STYLE = """
  .paper { fill: #f6f8fa; stroke: #d0d7de } text { fill: #1f2328 } .typed { fill: #0550ae } .cup, .motorbike { fill: #116329 } .open { fill: #9a6700 }
  .head { font-weight: bold }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #151b23; stroke: #3d444d } text { fill: #e6edf3 } .typed { fill: #79c0ff } .cup, .motorbike { fill: #56d364 } .open { fill: #e3b341 }
  }
"""


def report(program: Path, folder: Path) -> None:
    """Evaluates the sample photos and photographs the page."""
    labels = [("path", "class", "role", "split")]
    for photo in sorted(PHOTOS.glob("*.jpg")):
        role = "known" if photo.stem in KNOWN else "unknown"
        labels.append((photo.name, KNOWN.get(photo.stem, photo.stem), role, "test"))
    table = folder / "labels.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in labels))
    run(program, "evaluate", "--labels", table, "--images", PHOTOS, "--report", folder)
    for scheme, number in {"light": 1, "dark": 0}.items():
        shot = folder / f"{scheme}.png"
        run("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={number}",
            f"--window-size={PAGE_WIDTH},{PAGE_HEIGHT}", f"--screenshot={shot}", (folder / "report.html").as_uri())
        half = PAGE_HEIGHT // 2
        columns = (f"split[a][b];[a]crop={PAGE_WIDTH}:{half}:0:0[l];[b]crop={PAGE_WIDTH}:{half}:0:{half}[r];"
                   "[l][r]hstack")
        run("ffmpeg", "-nostdin", "-v", "error", "-y", "-i", shot, "-vf", columns, "-c:v", "libwebp", "-quality", "70",
            "-preset", "text", OUT / f"report-{scheme}.webp")


def table(program: Path) -> None:
    """Runs a stream and writes what it prints as SVG."""
    photos = [part for scene in SCENES for part in ("-loop", "1", "-t", str(SECONDS), "-i", PHOTOS / f"{scene}.jpg")]
    scaled = "".join(f"[{i}]fps=10,scale=640:480,setsar=1,format=yuv420p[v{i}];" for i in range(len(SCENES)))
    joined = "".join(f"[v{i}]" for i in range(len(SCENES))) + f"concat=n={len(SCENES)},realtime"
    frames = subprocess.Popen(["ffmpeg", "-nostdin", "-v", "error", *photos, "-filter_complex", scaled + joined,
                               "-f", "yuv4mpegpipe", "-"], stdout=subprocess.PIPE)
    done = subprocess.run([program, "stream", "-"], stdin=frames.stdout, capture_output=True, text=True, check=True,
                          env={"COLUMNS": str(COLUMNS), "PATH": ""})
    assert frames.wait() == 0
    rows = [("$ ffmpeg … -f yuv4mpegpipe - | oltr stream -", "typed")]
    rows += [(line, "head" if line.startswith("TIME") else "") for line in done.stdout.splitlines()]
    rows += [(line, "") for text in done.stderr.splitlines() for line in textwrap.wrap(text, COLUMNS)]
    step, margin, letter = 20, 16, 8.43
    width, height = round(2 * margin + letter * COLUMNS), 2 * margin + step * len(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14" role="img">',
        "<title>oltr stream prints a row where an event begins and one where it ends</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>',
    ]
    for i, (text, kind) in enumerate(rows):
        # Each word gets its place, so that columns stand under one another in any font.
        for word in re.finditer(r"\S+(?: \S+)*", text):
            x, y = margin + letter * word.start(), margin + step * i + 14
            style = word[0] if word[0] in (*SCENES, "open") else kind
            length = f' textLength="{letter * len(word[0]):.1f}" lengthAdjust="spacingAndGlyphs"'
            lines.append(f'<text class="{style}" x="{x:.1f}" y="{y}"{length}>{escape(word[0])}</text>')
    (OUT / "stream.svg").write_text("\n".join(lines) + "\n</svg>\n")


def run(*command) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report(Path(sys.argv[1]).resolve(), Path(folder))
    table(Path(sys.argv[1]).resolve())
    sizes = {picture.name: picture.stat().st_size for picture in OUT.iterdir()}
    print(sizes)
    if sum(sizes.values()) > BYTES:
        sys.exit(f"the pictures take more than {BYTES} bytes together")
