#!/usr/bin/env python3
"""What a decision in the field is worth: unknown things are kept, named once, learnt, and met again.

    benches/field_loop.py PROGRAM --model fish.onnx --before A/*.json --after B/*.json [--species fish_09 …]

Does what a person does with a box in the field, by the commands that this person has:

1. streams the scenes of --before into a store, without any enrolled class (`stream --things --store`);
2. for each unknown species by itself: names the group of open events that has most of it (`review groups`, `review set`), once others
   are taken out of it; with --decisions N the N groups that have most of it;
3. asks what the class would take, learns it and looks at both (`review enrol --dry-run`, `review enrol`);
4. streams the scenes of --after by the network and the new class, and counts what is named so; undoes it (`--undo`).

SCENE.json beside SCENE.y4m says what is where: {"tracks": [{"trajectory", "class", "role": "known" or "unknown", "boxes":
[[frame, x, y, w, h, visible], …]}]}. A thing is the track that at least half of its boxes meet (IoU of 0.3, or each holds the
other's middle). A passage counts if it is at least half visible in ten frames; one of a trajectory that --before had does not count,
so that nothing is met again that was learnt from. Needs Python alone.
"""
import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

VISIBLE_FRAMES = 10


def iou(a: list[float], b: list[float]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def holds(a: list[float], b: list[float]) -> bool:
    x, y = b[0] + b[2] / 2, b[1] + b[3] / 2
    return a[0] <= x <= a[0] + a[2] and a[1] <= y <= a[1] + a[3]


@dataclass(frozen=True)
class Passage:
    """A thing that passes in a scene, by the scene's truth."""

    scene: str
    track: int
    trajectory: str
    species: str
    is_known: bool


class Scene:
    """A recording, and what is where in it."""

    def __init__(self, truth: Path) -> None:
        self.video = truth.with_suffix(".y4m")
        self.boxes: dict[int, list[tuple[int, list[float]]]] = {}
        self.passages: dict[int, Passage] = {}
        self.counted: set[Passage] = set()
        for number, track in enumerate(json.loads(truth.read_text())["tracks"]):
            passage = Passage(str(truth), number, track["trajectory"], track["class"], track["role"] == "known")
            self.passages[number] = passage
            for frame, *box, _ in track["boxes"]:
                self.boxes.setdefault(frame, []).append((number, box))
            if sum(box[5] >= 0.5 for box in track["boxes"]) >= VISIBLE_FRAMES:
                self.counted.add(passage)

    def match(self, lines: list[dict]) -> dict[int, Passage | None]:
        """Which passage each thing is that the program saw; None for what is no thing."""
        votes: dict[int, Counter] = {}
        boxes: Counter = Counter()
        for line in lines:
            for thing in line.get("things") or [] if line["schema"] == "oltr.frame/1" else []:
                box = thing["box"]
                near = [(iou(box, true), track) for track, true in self.boxes.get(line["frame"], [])
                        if iou(box, true) >= 0.3 or (holds(box, true) and holds(true, box))]
                boxes[thing["thing"]] += 1
                if near:
                    votes.setdefault(thing["thing"], Counter())[max(near)[1]] += 1
        of = {}
        for thing, count in boxes.items():
            [(track, most)] = votes.get(thing, Counter()).most_common(1) or [(None, 0)]
            of[thing] = self.passages[track] if track is not None and 2 * most >= count else None
        return of


@dataclass
class Event:
    """The end of an event, and the passage that it is of."""

    line: dict
    passage: Passage | None


class Loop:
    def __init__(self, program: str, model: str, folder: Path) -> None:
        self.program, self.model, self.folder = program, model, folder
        self.store, self.enrolled = folder / "store", folder / "new.enrolled"

    def run(self, *arguments: object) -> list[dict]:
        """The lines that a command prints with --json."""
        command = [self.program, *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(f"{' '.join(command)}\nexit {ran.returncode}: {ran.stderr}")
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def stream(self, scenes: list[Scene], *options: object) -> list[Event]:
        events = []
        for scene in scenes:
            lines = self.run("stream", "--json", "--things", "--per-frame", "--model", self.model, *options, scene.video)
            of = scene.match(lines)
            ends = [line for line in lines if line["schema"] == "oltr.event/1" and line["type"] == "end"]
            events += [Event(line, of.get(line["thing"]["id"])) for line in ends]
            counts = lines[-1]
            if counts["dropped"] or counts.get("store", {}).get("not_kept") or counts.get("store", {}).get("dropped"):
                sys.exit(f"{scene.video}: not all of it was seen and kept: {counts}")
        return events

    def enrol(self, name: str, *options: str) -> dict:
        command = ["review", "enrol", "--json", "--model", self.model, "--enrolled", self.enrolled, *options]
        lines = self.run(*command, self.store, name)
        return lines[0] if lines else {}


def share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({100 * part / whole:.0f} %)" if whole else "")


def learn(loop: Loop, species: str, decisions: int, of: dict[int, Event]) -> dict | None:
    """Names open events of `species` in the store and enrols them; what a person did and was told."""
    own = lambda ids: [id for id in ids if of[id].passage and of[id].passage.species == species]
    name = f"new {species}"
    told = {"open": 0, "named": 0, "taken_out": 0, "decisions": 0}
    for _ in range(decisions):
        # Anew for each decision: what was taken out of a group joins others.
        groups = [group["ids"] for group in loop.run("review", "groups", "--json", loop.store)]
        told["open"] = told["open"] or len(own(id for group in groups for id in group))
        group = max(groups, key=lambda group: len(own(group)), default=[])
        if not own(group):
            break
        # The whole group by one of its events, without those whose ticks a person takes away.
        which = [f"alike:{group[0]}", *(f"-{id}" for id in group if id not in own(group))]
        named = loop.run("review", "set", "--json", "--by", "ann", loop.store, ",".join(which), name)
        assert {line["id"] for line in named} == set(own(group)), (named, group)
        told["named"] += len(named)
        told["taken_out"] += len(group) - len(named)
        told["decisions"] += 1
    if told["named"] < 2:
        return told
    dry = loop.enrol(name, "--dry-run")
    if loop.enrolled.exists():
        sys.exit("a dry run wrote the file of enrolled classes")
    real = loop.enrol(name)
    if any(dry[what] != real[what] for what in ["own", "known", "open", "others"]):
        sys.exit(f"the dry run said something else than the enrolment: {dry} {real}")
    return told | {"dry": dry}


def best(events: list[Event], passages: set[Passage]) -> dict[Passage, set[tuple[str, str | None]]]:
    """What was said of each passage, by all events of it."""
    said: dict[Passage, set[tuple[str, str | None]]] = {passage: set() for passage in passages}
    for event in events:
        if event.passage in said:
            said[event.passage].add((event.line["decision"], event.line["label"]))
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="a built oltr")
    parser.add_argument("--model", required=True, help="the bundle")
    parser.add_argument("--before", nargs="+", type=Path, required=True, metavar="SCENE.json", help="what is reviewed")
    parser.add_argument("--after", nargs="+", type=Path, required=True, metavar="SCENE.json", help="what comes later")
    parser.add_argument("--species", nargs="+", help="unknown species to learn, each by itself (default: all)")
    parser.add_argument("--decisions", type=int, default=1, metavar="N", help="groups that are named of each species (default: 1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the store here, to look at")
    args = parser.parse_args()
    before, after = [Scene(path) for path in args.before], [Scene(path) for path in args.after]
    seen = {passage.trajectory for scene in before for passage in scene.passages.values()}
    later = {passage for scene in after for passage in scene.counted if passage.trajectory not in seen}
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(args.program, args.model, Path(folder))
        events = {event.line["id"]: event for event in loop.stream(before, "--no-enrolled", "--store", loop.store, "--store-size", "256MiB")}
        kept = loop.run("store", "list", "--json", loop.store)
        of = {record["id"]: events[record["event"]] for record in kept}
        fresh = Path(folder) / "fresh"
        shutil.copytree(loop.store, fresh)
        plain = best(loop.stream(after, "--no-enrolled"), later)
        unknown = sorted({passage.species for passage in later if not passage.is_known})
        found = sum(bool(said) for said in plain.values())
        print(f"{len(kept)} events kept, {len(later)} later passages of {len({p.trajectory for p in later})} other trajectories, "
              f"{found} of them found\n")
        print("| species | open events of it | named, in decisions, others taken out | dry run: own, named by the network, other open ones "
              "| later passages | open before | named after | other unknown named so | known named so | nothing named so |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for species in args.species or unknown:
            shutil.rmtree(loop.store)
            shutil.copytree(fresh, loop.store)
            told = learn(loop, species, args.decisions, of)
            row = f"| {species} | {told['open']} | {told['named']}, {told['decisions']}, {told['taken_out']} |"
            own = {passage for passage in later if passage.species == species}
            was_open = sum(("open", None) in plain[passage] for passage in own)
            if "dry" not in told:
                print(f"{row} too few to enrol | {len(own)} | {share(was_open, len(own))} | | | | |")
                continue
            takes = ", ".join(f"{told['dry'][what]['taken']} of {told['dry'][what]['of']}" for what in ["own", "known", "open"])
            events = loop.stream(after, "--enrolled", loop.enrolled)
            said = best(events, later)
            named = {passage for passage, what in said.items() if ("known", f"new {species}") in what}
            others = {passage for passage in later if not passage.is_known and passage.species != species}
            known = {passage for passage in later if passage.is_known}
            nothing = sum(event.passage is None and event.line["label"] == f"new {species}" for event in events)
            print(f"{row} {takes} | {len(own)} | {share(was_open, len(own))} | {share(len(named & own), len(own))} | "
                  f"{share(len(named & others), len(others))} | {share(len(named & known), len(known))} | {nothing} |")
            loop.enrol(f"new {species}", "--undo")
            if loop.enrolled.exists():
                sys.exit("undoing the only enrolment left it there")
        if args.keep:
            shutil.copytree(fresh, args.keep)


if __name__ == "__main__":
    main()
