#!/usr/bin/env python3
"""Makes the pictures of README.md and of the guides in docs/pictures, of the sample photos alone: `docs/pictures.py PROGRAM`.

A page of `oltr evaluate --report` is photographed by Chromium, light and dark. A table of `oltr stream` becomes text in
an SVG, which the reader's own fonts and colours show. Chromium and ffmpeg have to be installed.
"""
import base64
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
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
BYTES = 350_000                      # of all pictures together

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


# Two sample photos that pass before a wall, in columns and rows of the frame and pixels a frame.
FRAME, PASSERS = (320, 240), {"cup": (60, 40, 3), "motorbike": (72, 140, -4)}
LEARN, PASS = 60, 110                # frames in which the wall is learnt, and those in which something moves
# Events that are kept, each a photo for some frames; the moon is cut several times, as one unknown thing is seen.
KEPT = [("cup", ""), *(("moon", f"crop=iw*0.8:ih*0.8:{x}:{y},") for x in (0, 60, 120) for y in (0, 90)), ("rocket", ""), ("motorbike", "")]
PHOTO = 320                          # pixels on a side of such a frame

COLOURS = ("#d1242f", "#0969da", "#8250df", "#bc4c00")


def scene(program: Path, folder: Path) -> None:
    """Lets two photos pass before a wall and draws what `oltr stream --things` says of it."""
    width, height = FRAME
    stickers = {}
    for name, (side, _, _) in PASSERS.items():
        raw = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", PHOTOS / f"{name}.jpg", "-vf", f"scale={side}:{side}",
                              "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], check=True, capture_output=True).stdout
        stickers[name] = [raw[y * side * 3:(y + 1) * side * 3] for y in range(side)]
    noise, film = random.Random(1), folder / "scene.rgb"
    wall = [bytes(c for x in range(width) for c in shade(x, y)) for y in range(height)]
    with open(film, "wb") as out:
        for t in range(LEARN + PASS):
            rows = [bytearray(row) for row in wall]
            for name, (side, top, pace) in PASSERS.items():
                left = (t - LEARN) * pace - side if pace > 0 else width + (t - LEARN) * pace
                first, last = max(left, 0), min(left + side, width)
                for y in range(side if t >= LEARN and first < last else 0):
                    rows[top + y][first * 3:last * 3] = stickers[name][y][(first - left) * 3:(last - left) * 3]
            for row in rows:
                for _ in range(40):
                    row[noise.randrange(width * 3)] ^= 3
                out.write(row)
    said = subprocess.run([program, "stream", "--things", "--json", "--per-frame", "--recording", "--format", "rgb24", "--size",
                           f"{width}x{height}", "--fps", "10", film], check=True, capture_output=True, text=True).stdout
    lines, shown = [json.loads(line) for line in said.splitlines()], LEARN + PASS // 2 - 18
    ends = [line for line in lines if line.get("type") == "end"]
    boxes = {t["thing"]: t["box"] for line in lines if line.get("frame") == shown for t in line.get("things", [])}
    shot = folder / "scene.jpg"
    run("ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", film,
        "-vf", f"select=eq(n\\,{shown})", "-frames:v", "1", "-q:v", "4", shot)
    marks = []
    for end, colour in zip(ends, COLOURS):
        x, y, w, h = boxes.get(end["thing"]["id"], end["thing"]["box"])
        points = " ".join(f"{px},{py}" for _, px, py in end["thing"]["path"])
        name = f"{end['thing']['id']}: {end['label'] or end['decision']}, {end['thing']['crops']} cuts"
        marks.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="4 2"/>'
                     f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="none" stroke="{colour}" stroke-width="2"/>'
                     f'<text x="{min(max(x, 2), width - 130)}" y="{y - 4}" font-size="10" fill="{colour}" stroke="#fff" stroke-width="2" '
                     f'paint-order="stroke">{escape(name)}</text>')
    picture = base64.b64encode(shot.read_bytes()).decode()
    (OUT / "scene.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{2 * width}" font-family="{FONTS}">'
        f'<image href="data:image/jpeg;base64,{picture}" width="{width}" height="{height}"/>{"".join(marks)}</svg>\n')


def pages(program: Path, folder: Path) -> None:
    """Photographs the page of reviews and the page to aim with, as a desktop and a phone show them."""
    store, frames = folder / "store", []
    for photo, change in KEPT:
        frames.append(subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", PHOTOS / f"{photo}.jpg", "-vf",
                                      f"{change}scale={PHOTO}:{PHOTO}", "-q:v", "3", "-f", "mjpeg", "-"], check=True, capture_output=True).stdout)
        film = folder / "film.mjpeg"
        film.write_bytes(frames[-1] * 8)
        run(program, "stream", "--json", "--fps", "2", "--store", store, "--store-size", "16MiB", film)
    served = subprocess.Popen([program, "review", "serve", "--json", "--listen", "127.0.0.1:0", store], stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(served.stdout.readline())["url"]
        shoot(folder, url, "review", 900, 700, "light")
        shoot(folder, url + "#all", "review-phone", 500, 900, "dark")
    finally:
        served.terminate()
        served.wait()
    watched = subprocess.Popen([program, "stream", "--quiet", "--json", "--listen", f"127.0.0.1:{(port := free_port())}", "--linger", "1s",
                                "--overflow", "block", "--max-fps", "10", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    pump = threading.Thread(target=play, args=(watched.stdin, [frames[0], frames[-1], frames[3]]), daemon=True)
    pump.start()
    try:
        seen, end = 0, time.monotonic() + 120
        while seen < 12 and time.monotonic() < end:             # somebody looks while events come
            time.sleep(1)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/frame.jpg").read()
                seen += 1
            except OSError:
                pass                                            # it begins
        shoot(folder, f"http://127.0.0.1:{port}/", "aim", 900, 900, "light")
        shoot(folder, f"http://127.0.0.1:{port}/", "aim-phone", 500, 1100, "dark")
    finally:
        watched.terminate()
        watched.wait()
    drawn(program, folder)


def drawn(program: Path, folder: Path) -> None:
    """Photographs the page on a phone while a mask is drawn over the scene of `scene`."""
    mask, port = folder / "mask.png", free_port()
    film = (folder / "scene.rgb").read_bytes()
    size = FRAME[0] * FRAME[1] * 3
    frames = [film[i:i + size] for i in range(0, len(film), size)]
    watched = subprocess.Popen([program, "stream", "--quiet", "--json", "--things", "--listen", f"127.0.0.1:{port}", "--mask", mask,
                                "--allow-mask", "--format", "rgb24", "--size", f"{FRAME[0]}x{FRAME[1]}", "--overflow", "block", "-"],
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    pump = threading.Thread(target=play, args=(watched.stdin, frames[:LEARN] + frames[LEARN:] * 60, 1, 0.1), daemon=True)
    pump.start()
    try:
        time.sleep(3)                                           # it begins
        shoot(folder, f"http://127.0.0.1:{port}/", "aim-mask", 500, 1300, "dark", DRAW)
    finally:
        watched.terminate()
        watched.wait()


# Opens the tools of the page, sets four corners and closes the area, as a hand would.
DRAW = """(async () => {
  const pause = () => new Promise((done) => setTimeout(done, 300));
  document.getElementById("draw").click();
  document.querySelector("input[value=corners]").click();
  await pause();
  const canvas = document.getElementById("mask"), r = canvas.getBoundingClientRect();
  for (const [x, y] of [[0.02, 0.03], [0.98, 0.03], [0.98, 0.16], [0.02, 0.2]]) {
    canvas.dispatchEvent(new PointerEvent("pointerdown", { clientX: r.left + x * r.width, clientY: r.top + y * r.height, isPrimary: true }));
    await pause();
  }
  document.getElementById("close").click();
})()"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def play(out, frames: list[bytes], times: int = 30, pause: float = 0) -> None:
    """Each frame so many times, with a pause between them, until nobody reads."""
    try:
        while True:
            for frame in frames:
                for _ in range(times):
                    out.write(frame)
                    out.flush()
                    time.sleep(pause)
    except OSError:
        pass


def shoot(folder: Path, url: str, name: str, width: int, height: int, scheme: str, script: str = "") -> None:
    """Photographs a page some seconds after it was opened: --screenshot alone does so before its pictures have come. A
    `script` runs before."""
    shot, profile, port = folder / f"{name}.png", folder / f"profile-{name}", free_port()
    browser = subprocess.Popen(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                                "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                                f"--user-data-dir={profile}", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
                                f"--window-size={width},{height}", f"--remote-debugging-port={port}", url], stderr=subprocess.DEVNULL)
    try:
        pages, end = [], time.monotonic() + 60
        while not pages and time.monotonic() < end:
            time.sleep(1)
            try:
                listed = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
                pages = [page["webSocketDebuggerUrl"] for page in listed if page["type"] == "page"]
            except OSError:
                pass                                            # it begins
        time.sleep(8)
        if script:
            ask_browser(pages[0], "Runtime.evaluate", expression=script, awaitPromise=True)
            time.sleep(1)
        shot.write_bytes(base64.b64decode(ask_browser(pages[0], "Page.captureScreenshot")["data"]))
    finally:
        browser.terminate()
        browser.wait()
    run("ffmpeg", "-nostdin", "-v", "error", "-y", "-i", shot, "-c:v", "libwebp", "-quality", "60", "-preset", "text", OUT / f"{name}.webp")


def ask_browser(address: str, method: str, **parameters) -> dict:
    """What Chromium answers to one question of its DevTools, over a WebSocket."""
    place, path = address.removeprefix("ws://").split("/", 1)
    host, port = place.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: {place}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: b2x0ciBvbHRyIG9sdHIgIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        stream = connection.makefile("rb")
        while stream.readline().strip():
            pass
        question = json.dumps({"id": 1, "method": method, "params": parameters}).encode()
        # One frame, masked by zeros.
        length = bytes([0x80 | len(question)]) if len(question) < 126 else b"\xfe" + len(question).to_bytes(2, "big")
        connection.sendall(b"\x81" + length + bytes(4) + question)
        text = b""
        while True:
            first, length = stream.read(2)
            size = {126: 2, 127: 8}.get(length & 127, 0)
            text += stream.read(int.from_bytes(stream.read(size), "big") if size else length & 127)
            if first & 0x80:
                answer, text = json.loads(text), b""
                if answer.get("id") == 1:
                    return answer["result"]


def shade(x: int, y: int) -> tuple[int, int, int]:
    """The colour of the wall: bricks."""
    brick = (x + y // 20 % 2 * 16) // 32 * 7 + y // 20 * 5
    joint = y % 20 < 2 or (x + y // 20 % 2 * 16) % 32 < 2
    return (120, 118, 112) if joint else (150 + brick % 17, 96 + brick % 13, 80 + brick % 11)


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
        scene(Path(sys.argv[1]).resolve(), Path(folder))
        pages(Path(sys.argv[1]).resolve(), Path(folder))
    table(Path(sys.argv[1]).resolve())
    sizes = {picture.name: picture.stat().st_size for picture in OUT.iterdir()}
    print(sizes)
    if sum(sizes.values()) > BYTES:
        sys.exit(f"the pictures take more than {BYTES} bytes together")
