#!/usr/bin/env python3
"""Makes the pictures of README.md in docs/pictures, of the sample photos alone: `docs/pictures.py PROGRAM`.

A page of `oltr evaluate --report` is photographed by Chromium, light and dark. A table of `oltr stream` becomes text in
an SVG, which the reader's own fonts and colours show. Chromium and ffmpeg have to be installed.
"""
import re
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "examples/photos"
OUT = ROOT / "docs/pictures"

# What the sample photos show of what the built-in bundle knows, by the ids of its classes. The others are unknown.
KNOWN = {"cup": "cup", "face": "Faces_easy", "motorbike": "Motorbikes"}

# The page is long: two parts of it stand side by side, each of this size, with the sections of these titles.
WIDTH, HEIGHT = 860, 1236
PARTS = [["Known against unknown"], ["What is taken for what", "Unknown things taken for known", "Class by class"]]
BYTES = 300_000                      # of all pictures together

# Three photos, for some seconds each, as a camera would show them.
SCENES = ("cup", "moon", "motorbike")
SECONDS = 4
COLUMNS = 80
STYLE = """
  .paper { fill: #f6f8fa; stroke: #d0d7de } text { fill: #1f2328 } .head { font-weight: bold }
  .typed { fill: #0550ae } .cup, .motorbike { fill: #116329 } .open { fill: #9a6700 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #151b23; stroke: #3d444d } text { fill: #e6edf3 }
    .typed { fill: #79c0ff } .cup, .motorbike { fill: #56d364 } .open { fill: #e3b341 }
  }
"""
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"


def report(program: Path, folder: Path) -> None:
    """Evaluates the sample photos and photographs the page."""
    labels = [("path", "class", "role", "split")]
    for photo in sorted(PHOTOS.glob("*.jpg")):
        role = "known" if photo.stem in KNOWN else "unknown"
        labels.append((photo.name, KNOWN.get(photo.stem, photo.stem), role, "test"))
    table = folder / "labels.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in labels))
    run(program, "evaluate", "--labels", table, "--images", PHOTOS, "--report", folder)
    head, *sections = (folder / "report.html").read_text().split("<h2>")
    for scheme, number in {"light": 1, "dark": 0}.items():
        shots = []
        for i, titles in enumerate(PARTS):
            kept = [f"<h2>{section}" for section in sections if section.startswith(tuple(titles))]
            begin = head if i == 0 else head[:head.index("<main>") + len("<main>")]
            page, shot = folder / f"part{i}.html", folder / f"{scheme}{i}.png"
            page.write_text(begin + "".join(kept) + "</main></body></html>")
            run("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={number}",
                f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}", page.as_uri())
            shots += ["-i", shot]
        run("ffmpeg", "-nostdin", "-v", "error", "-y", *shots, "-filter_complex", "hstack", "-c:v", "libwebp",
            "-quality", "70", "-preset", "text", OUT / f"report-{scheme}.webp")


def table(program: Path) -> None:
    """Runs a stream and writes what it prints as SVG."""
    photos = [part for scene in SCENES for part in ("-loop", "1", "-t", str(SECONDS), "-i", PHOTOS / f"{scene}.jpg")]
    scaled = "".join(f"[{i}]fps=5,scale=640:480,setsar=1,format=yuv420p[v{i}];" for i in range(len(SCENES)))
    joined = "".join(f"[v{i}]" for i in range(len(SCENES))) + f"concat=n={len(SCENES)},realtime"
    frames = subprocess.Popen(["ffmpeg", "-nostdin", "-v", "error", *photos, "-filter_complex", scaled + joined,
                               "-f", "yuv4mpegpipe", "-"], stdout=subprocess.PIPE)
    done = subprocess.run([program, "stream", "-"], stdin=frames.stdout, stdout=subprocess.PIPE, text=True, check=True,
                          env={"COLUMNS": str(COLUMNS), "PATH": ""})
    assert frames.wait() == 0
    rows = [("$ ffmpeg … -f yuv4mpegpipe - | oltr stream -", "typed")]
    rows += [(line, "head" if line.startswith("TIME") else "") for line in done.stdout.splitlines()]
    step, margin, letter = 20, 16, 8.43
    width, height = round(2 * margin + letter * COLUMNS), 2 * margin + step * len(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' font-family="{FONTS}" font-size="14" role="img">',
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
