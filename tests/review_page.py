#!/usr/bin/env python3
"""The page of reviews in headless Chromium: `tests/review_page.py PROGRAM [--records 10000] [--shots DIR]`.

Writes a store of many records as docs/reference/store.md describes it, has PROGRAM serve it, and opens the page as a desktop and as
a phone do: how long until the first events and their pictures are there, in the wall clock and in the server's processor time; that
a class called like a script runs none, that nothing comes from elsewhere, that a tab of many events does not load them all,
and that a decision of a group is kept. Without Chromium it says NOT TESTED. Needs Python alone.
"""
import argparse
import base64
import contextlib
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples/photos/face.jpg"
SCRIPT = "<script>window.harmed=1</script><img src=x onerror='window.harmed=1'>"
SEGMENT = 1 << 20
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"]


def fill(store: Path, records: int) -> None:
    """A tenth of the records is open, of 40 kinds; some are of a class with a wicked name."""
    chance = random.Random(1)
    kinds = [[chance.gauss(0, 1) for _ in range(64)] for _ in range(40)]
    (store / "segments").mkdir(parents=True)
    picture = PHOTO.read_bytes()
    first = store / "pictures/000000000/000000000001.jpg"
    segment, left = None, 0
    for number in range(1, records + 1):
        path = store / f"pictures/{number // 256:09}/{number:012}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture) if number == 1 else os.link(first, path)
        is_open, label = number % 10 == 3, SCRIPT if number % 100 == 7 else f"class {number % 60}"
        label = None if is_open else label
        wall = f"2026-05-{1 + number * 28 // (records + 1):02}T10:{number % 60:02}:00.000Z"
        feature = [value + chance.gauss(0, 0.1) for value in kinds[number % 40]]
        event = {"schema": "oltr.event/1", "id": f"run-{number}", "type": "end", "decision": "open" if is_open else "known",
                 "label": label, "first": {"wall": wall}, "last": {"wall": wall}, "duration_ms": 1000.0, "frames": 3,
                 "best": {"wall": wall, "nearest": {"label": "class 1", "class": 1}}, "mean": {"probability": 0.9, "reachability": 1.0}}
        line = {"id": number, "event_id": event["id"], "decision": event["decision"], "label": label, "nearest": SCRIPT, "special": is_open,
                "day": 20_000, "first_ever": False, "first_today": False, "days_since": 0,
                "picture": {"path": str(path.relative_to(store)), "bytes": len(picture), "crc32": zlib.crc32(picture)},
                "graph": "0" * 64, "unit": 1.2, "limit": 4.0, "signature": None,
                "features": base64.b64encode(struct.pack("<64e", *feature)).decode(), "event": event}
        if left <= 0:
            segment = open(store / f"segments/{number:012}.jsonl", "wb")
            left = SEGMENT - 4096
            put(segment, {"schema": "oltr.segment/1", "first": number})
        left -= put(segment, line)
    segment.close()


def put(segment, line: dict) -> int:
    text = json.dumps(line, separators=(",", ":")).encode()
    return segment.write(b"%08x %08x %s\n" % (len(text), zlib.crc32(text), text))


class Browser:
    """Chromium, asked through pipes."""

    def __init__(self, folder: Path) -> None:
        (asks, self.ask), (self.answers, answers) = os.pipe(), os.pipe()
        # Chromium reads descriptor 3 and writes descriptor 4.
        shell = f"exec chromium {' '.join(CHROMIUM)} --user-data-dir='{folder}' 3<&{asks} 4>&{answers}"
        self.process = subprocess.Popen(["bash", "-c", shell], pass_fds=(asks, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(asks)
        os.close(answers)
        self.text, self.number, self.events = b"", 0, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.page(f"{domain}.enable")

    def call(self, method: str, session: str | None = None, **parameters) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self.ask, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.text:
                piece = os.read(self.answers, 1 << 20)
                if not piece:
                    sys.exit("Chromium ended")
                self.text += piece
            one, self.text = self.text.split(b"\0", 1)
            answer = json.loads(one)
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def page(self, method: str, **parameters) -> dict:
        return self.call(method, self.session, **parameters)

    def value(self, code: str):
        result = self.page("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            sys.exit(f"{code}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, code: str, seconds: float = 60):
        end = time.monotonic() + seconds
        while not (value := self.value(code)):
            if time.monotonic() > end:
                sys.exit(f"not within {seconds} s: {code}\n{self.value('document.body.innerText')[:500]}")
            time.sleep(0.01)
        return value

    def shoot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.page("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def served(program: str, store: Path):
    process = subprocess.Popen([program, "review", "serve", "--json", "--by", "ann", "--listen", "127.0.0.1:0", store], stdout=subprocess.PIPE, text=True)
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def processor_seconds(process: subprocess.Popen) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Events are there, and so is each of their pictures that can be seen.
READY = """(() => {
  const seen = [...document.images].filter(i => { const r = i.getBoundingClientRect(); return r.top < innerHeight && r.bottom > 0; });
  const at = document.querySelectorAll("article").length && seen.length && seen.every(i => i.complete && i.naturalWidth);
  return at ? performance.now() : 0;
})()"""
SIZES = {"desktop": (1280, 900, 1, False), "phone": (390, 844, 2, True)}


def check(program: str, records: int, shots: Path | None, folder: Path) -> None:
    store = folder / "store"
    fill(store, records)
    browser = Browser(folder / "profile")
    try:
        for name, (width, height, scale, mobile) in SIZES.items():
            browser.page("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
            times, spent = [], []
            for tab in ["groups", "all", "groups", "all", "groups", "all"]:
                # A server that has read nothing yet, a page that is not cached.
                with served(program, store) as (process, url):
                    browser.page("Network.clearBrowserCache")
                    browser.page("Page.navigate", url=f"{url}#{tab}")
                    times.append(browser.until(READY) / 1000)
                    spent.append(processor_seconds(process))
                    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
                    assert all(a.startswith((url, "data:")) for a in asked), [a for a in asked if not a.startswith((url, "data:"))]
                    pictures = sum("/picture/" in a for a in asked)
                    assert pictures < 400, f"{pictures} pictures are loaded at once"
                    if shots:
                        browser.shoot(shots / f"review-{name}-{tab}.png")
                    wide = browser.value("document.documentElement.scrollWidth")
                    assert wide <= width, f"{name}: {wide} pixels wide"
                    browser.events.clear()
                    browser.page("Page.navigate", url="about:blank")
            print(f"{name}: {records} records are there within {max(times):.2f} s (median {statistics.median(times):.2f} s) of the "
                  f"page's beginning; the server needs {statistics.median(spent):.2f} s of a processor")
        decide(program, browser, store, shots)
    finally:
        browser.close()


def decide(program: str, browser: Browser, store: Path, shots: Path | None) -> None:
    with served(program, store) as (_, url):
        browser.page("Page.navigate", url=f"{url}#known")
        browser.until(READY)
        # Down to one of the wicked name, which is a text.
        browser.until(f"[...document.querySelectorAll('h2')].some(h => h.textContent === {json.dumps(SCRIPT)}) || (scrollTo(0, 1e9), false)")
        assert browser.value("window.harmed") is None
        names = browser.value("[...document.querySelectorAll('#names option')].some(o => o.value.includes('<script>'))")
        assert names, "the name is offered, as a text"
        # One decision for a group that looks alike.
        browser.page("Page.navigate", url="about:blank")
        browser.page("Page.navigate", url=f"{url}#groups")
        browser.until(READY)
        first = "document.querySelector('article')"
        size = browser.value(f"{first}.ids().length")
        assert size > 1
        browser.value(f"{first}.querySelector('input[type=checkbox]').click()")
        browser.value(f"{first}.focus()")
        for key in [{"key": "Enter"}, *({"key": c, "text": c} for c in SCRIPT), {"key": "Enter"}]:
            browser.page("Input.dispatchKeyEvent", type="keyDown", **key)
            browser.page("Input.dispatchKeyEvent", type="keyUp", key=key["key"])
        browser.until(f"{first}.dataset.done")
        if shots:
            browser.shoot(shots / "review-decided.png")
        assert browser.value("window.harmed") is None and not any(e.get("method") == "Page.javascriptDialogOpening" for e in browser.events)
    listed = subprocess.run([program, "store", "list", "--json", store], capture_output=True, check=True, text=True).stdout
    said = [review for line in listed.splitlines() if (review := json.loads(line)["review"])]
    assert len(said) == size - 1 and {review["label"] for review in said} == {SCRIPT[:60].strip()}, (len(said), size, said[:1])
    print(f"one decision names {size - 1} of {size} events; a name like a script harms nobody")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="a built oltr")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--shots", type=Path, metavar="DIR", help="leave pictures of the page here")
    args = parser.parse_args()
    if not shutil.which("chromium"):
        print("NOT TESTED: the page of reviews, because there is no chromium", file=sys.stderr)
        return
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        check(str(Path(args.program).resolve()), args.records, args.shots, Path(folder))


if __name__ == "__main__":
    main()
