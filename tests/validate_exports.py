#!/usr/bin/env python3
"""Lets the programs that exports are made for read them: `tests/validate_exports.py PROGRAM [--schemas DIR]`.

frictionless checks the Camtrap DP package against the schemas of version 1.0.2 (of DIR, a copy of tdwg/camtrap-dp, else of
GitHub), MegaDetector's own validator its format, pandas the tables. What cannot be had here is said and passed over.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import unittest.mock
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / "target/exports-python"
PACKAGES = ["frictionless==5.*", "jsonschema", "pandas", "tqdm", "jsonpickle", "humanfriendly", "dateparser", "numpy", "pillow",
            "pytest"]
DEPLOYMENT = """id = "north-1"
place = "Pond"
latitude = 52.5
longitude = 13.25
uncertainty = 10
zone = "+02:00"
height = 1.5
heading = 90
tilt = -5
detection_distance = 12
delay = 5
bait = false
feature = "waterSource"
habitat = "reed"
set_up_by = "Ada"
camera_id = "cam-7"
camera_model = "Acme-T1"
tags = ["a", "b:c"]
comments = "by the pond, \\"north\\""
"""
TAXA = [{"rank": "label", "name": "wild cat", "probability": 0.9, "of": {"rank": "species", "name": "Felis silvestris"}, "gbif": 7964291},
        {"rank": "family", "name": "Felidae", "probability": 0.7, "worms": 9703}, {"rank": "order", "name": "Carnivora", "probability": 0.6},
        None]


def record(number: int, **fields: object) -> dict:
    """A record of a store."""
    time = {"mono_ns": number, "wall": f"2024-05-01T06:12:{number:02}.250Z"}
    return {"schema": "oltr.record/1", "wall": "2024-05-01T07:00:00.000Z", "clock_synchronised": True, "source": "cam",
            "id": number, "type": "end", "decision": "known", "label": "Vulpes vulpes", "first": time, "last": time,
            "duration_ms": 0.0, "frames": 3, "best": {**time, "nearest": {"label": "cup"}},
            "mean": {"probability": 0.91, "reachability": 1.5}, "picture": f"day/{number}.jpg", "review": None,
            "first_ever": number == 0, **fields}


def records() -> list[dict]:
    """Records of every kind."""
    said = {"by": "Ada", "wall": "2024-06-01T10:00:00Z"}
    return [record(0), record(1, decision="open", label=None), record(2, decision="unclassified", label=None, picture=None),
            record(3, decision="open", label=None, review={"label": "Mustela erminea", **said}),
            record(4, review={"label": "nothing", **said}), record(5, review={"label": "open", **said}),
            record(6, label="human"), record(7, clock_synchronised=False, label="a, \"b\"\nc"),
            *(record(8 + at, label="cat", taxon=taxon) for at, taxon in enumerate(TAXA))]


def schema(name: str, folder: Path | None) -> dict:
    """A schema of Camtrap DP 1.0.2."""
    if folder:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    url = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2/{name}"
    with urllib.request.urlopen(url, timeout=20) as response:
        return json.load(response)


def without_links(value: object) -> object:
    """A schema without those of others that it leads to by the network."""
    if isinstance(value, dict):
        return {k: without_links(v) for k, v in value.items() if not (k == "$ref" and str(v).startswith("http"))}
    return [without_links(v) for v in value] if isinstance(value, list) else value


def check_camtrap(package: Path, schemas: Path | None) -> None:
    """Refuses a package that frictionless or the profile refuses."""
    import frictionless
    import jsonschema

    description = json.loads((package / "datapackage.json").read_text(encoding="utf-8"))
    try:
        profile = schema("camtrap-dp-profile.json", schemas)
        local = {key: value for key, value in description.items() if key != "profile"}
        local["resources"] = [{**r, "schema": schema(r["schema"].rsplit("/", 1)[1], schemas)} for r in description["resources"]]
    except OSError as error:
        print(f"NOT TESTED: Camtrap DP, because its schemas cannot be had ({error})", file=sys.stderr)
        return
    errors = [f"{list(e.path)}: {e.message[:200]}" for e in jsonschema.Draft7Validator(without_links(profile)).iter_errors(description)]
    assert not errors, errors
    (package / "local.json").write_text(json.dumps(local), encoding="utf-8")
    report = frictionless.validate(str(package / "local.json"))
    assert report.valid, report.flatten(["type", "message"])


def main(program: Path, schemas: Path | None) -> None:
    """Makes every export and has it read."""
    import pandas

    # The validator imports what reads videos, and does not use it.
    sys.modules.setdefault("cv2", unittest.mock.MagicMock())
    from megadetector.postprocessing.validate_batch_results import ValidateBatchResultsOptions, validate_batch_results

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = lambda *args: subprocess.run([program, "-q", *map(str, args)], check=True, cwd=ROOT)  # noqa: E731
        store, log, deployment = folder / "store", folder / "log.jsonl", folder / "d.toml"
        (store / "day").mkdir(parents=True)
        for number in range(8 + len(TAXA)):
            (store / f"day/{number}.jpg").write_bytes((ROOT / "examples/photos/face.jpg").read_bytes())
        log.write_text("\n".join(map(json.dumps, records())), encoding="utf-8")
        deployment.write_text(DEPLOYMENT, encoding="utf-8")
        common = ("--records", log, "--store", store, "--deployment", deployment)
        run("export", "camtrap-dp", *common, folder / "package")
        check_camtrap(folder / "package", schemas)
        run("export", "csv", *common, folder / "events.csv")
        assert len(pandas.read_csv(folder / "events.csv")) == len(records())
        run("export", "ecotaxa", *common, folder / "ecotaxa")
        table = pandas.read_csv(folder / "ecotaxa/ecotaxa_oltr.tsv", sep="\t")
        assert set(table.iloc[0]) <= {"[t]", "[f]"} and all((folder / "ecotaxa" / p).exists() for p in table["img_file_name"][1:])
        numbers = [column for column in table if table[column][0] == "[f]"]
        table[numbers][1:].astype(float)
        run("export", "megadetector", *common, folder / "events.json")
        photos = ROOT / "examples/photos"
        run("classify", "--format", "megadetector", "--output", folder / "photos.json", "--base", photos, photos)
        for file, base in (("events.json", store), ("photos.json", photos)):
            options = ValidateBatchResultsOptions()
            options.check_image_existence, options.relative_path_base = True, str(base)
            found = validate_batch_results(str(folder / file), options)["validation_results"]
            assert not found["errors"] and not found["warnings"], (file, found["errors"], found["warnings"])
        run("classify", "--format", "csv", "--output", folder / "photos.csv", "--base", photos, photos)
        table = pandas.read_csv(folder / "photos.csv")
        assert set(table["decision"]) == {"known", "open"} and table["probability"].between(0, 1).all()
    print("frictionless, MegaDetector's validator and pandas read what oltr exports")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--schemas", type=Path, help="a copy of tdwg/camtrap-dp")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        main(args.program.resolve(), args.schemas)
        sys.exit()
    python = ENVIRONMENT / "bin/python"
    if subprocess.run([python, "-c", "import frictionless, megadetector, pandas"], capture_output=True).returncode if python.exists() else True:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "15"]
        # MegaDetector's own dependencies are PyTorch and its kind; the validator needs none of them.
        for packages in (PACKAGES, ["--no-deps", "megadetector"]):
            if subprocess.run([*pip, *packages]).returncode:
                sys.exit(print("NOT TESTED: exports, because pip could not install what reads them", file=sys.stderr))
    passed = [python, __file__, "--inside", args.program, *(("--schemas", args.schemas) if args.schemas else ())]
    sys.exit(subprocess.run(passed).returncode)
