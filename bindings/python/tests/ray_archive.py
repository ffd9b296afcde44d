"""The example for Ray Data with two local workers: not run by `check`, which does without Ray.

    pip install ray pyarrow; PYTHONPATH=… OLTR_PROGRAM=target/release/oltr python bindings/python/tests/ray_archive.py
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet
import ray

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "python" / "archive_with_ray.py"
sys.path.insert(0, str(EXAMPLE.parent))

import archive_with_ray as archive  # noqa: E402

import oltr  # noqa: E402

# How long a run may take until its first file of answers, on a machine that has much else to do.
PATIENCE = 600


class Killed(archive.Classify):
    """The first worker that meets a certain photo is killed, as the system does where memory runs out."""

    def row(self, path):
        mark = self.base.parent / "killed"
        if path.endswith("2-face.jpg") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().row(path)


def make_photos(photos):
    """24 photos in three folders, two of which are none."""
    for at in range(3):
        (photos / str(at)).mkdir(parents=True)
        for photo in sorted((ROOT / "examples" / "photos").glob("*.jpg"))[:8 - (at == 0)]:
            shutil.copy(photo, photos / str(at) / f"{at}-{photo.name}")
    (photos / "0" / "0-face.jpg").write_bytes((photos / "1" / "1-face.jpg").read_bytes()[:900])
    (photos / "bad.jpg").write_bytes(b"no picture")


def by_program(photos):
    """What the program says: the columns that both have."""
    command = [os.environ["OLTR_PROGRAM"], "classify", "--json", "--no-enrolled", *archive.found(photos)]
    run = subprocess.run(command, cwd=photos, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    rows = {}
    for line in map(json.loads, run.stdout.splitlines()):
        row = dict.fromkeys(archive.COLUMNS.names) | {"path": line["source"]}
        if "error" in line:
            row["error_kind"] = line["kind"]
        else:
            row |= {key: line[key] for key in ("decision", "label", "name", "probability", "reachability", "threshold")}
            row |= {"nearest": line["nearest"]["label"], "nearest_distance": line["nearest"]["distance"]}
        rows[row["path"]] = row
    return [rows[path] for path in sorted(rows)]


def comparable(table):
    """The answers of a run, without what the program says elsewhere or in other words."""
    return [row | dict.fromkeys(("error", "model_sha256", "taken")) for row in table.to_pylist()]


def interrupted(photos, answers):
    """A run by the command line that is killed, without a last word, once it has written some of its answers."""
    run = subprocess.Popen([sys.executable, EXAMPLE, photos, answers, "--batch", "2"])
    begin = time.monotonic()
    while not list(answers.glob("*.parquet")):
        assert run.poll() is None and time.monotonic() - begin < PATIENCE, "the run wrote nothing"
        time.sleep(0.01)
    run.kill()
    assert run.wait() == -signal.SIGKILL, "the run was over before it was interrupted"


def main():
    # Workers import what is imported here: they have the environment of the processes that start them.
    os.environ["PYTHONPATH"] = ":".join(filter(None, [str(EXAMPLE.parent), str(Path(__file__).parent), *sys.path]))
    cluster = ray.init(num_cpus=4, include_dashboard=False, logging_level="error")
    os.environ["RAY_ADDRESS"] = cluster.address_info["address"]
    with tempfile.TemporaryDirectory() as folder:
        photos, answers = Path(folder) / "photos", Path(folder) / "answers"
        make_photos(photos)
        expected = by_program(photos)
        many = len(archive.found(photos))
        assert (many, len(expected)) == (24, 24)
        assert [row["error_kind"] for row in expected if row["error_kind"]] == ["bad-image"] * 2

        interrupted(photos, answers)
        model_sha256 = oltr.Model(enrolled=False).sha256
        done = archive.answered(answers, model_sha256)
        assert 0 < len(done) < many - 2, len(done)
        print(f"interrupted: {len(done)} of {many} photos have answers")

        # Gone on with by two workers, one of which is killed.
        files = set(answers.iterdir())
        archive.Classify, whole = Killed, archive.Classify
        left, failed = archive.run(photos, answers, workers=2, batch=3)
        archive.Classify = whole
        assert (Path(folder) / "killed").exists(), "no worker was killed"
        assert failed == 2 and left == many - len(done), (left, failed)
        assert {file for file in files if file.suffix == ".parquet"} < set(answers.iterdir())
        assert comparable(archive.merged(answers)) == expected, "other answers than the program's"
        print(f"a worker was killed; {left} photos were classified all the same")

        # What failed is tried again, what is new is added.
        shutil.copy(photos / "1" / "1-astronaut.jpg", photos / "new.jpg")
        shutil.copy(photos / "1" / "1-astronaut.jpg", photos / "bad.jpg")
        assert archive.run(photos, answers, workers=1, batch=64) == (3, 1)
        assert comparable(archive.merged(answers)) == by_program(photos)
        (photos / "0" / "0-face.jpg").unlink()
        assert archive.run(photos, answers) == (0, 0)

        # A file of another model ends a run.
        table = archive.merged(answers).to_pylist()
        other = pyarrow.Table.from_pylist([row | {"model_sha256": "00"} for row in table], schema=archive.COLUMNS)
        pyarrow.parquet.write_table(other, answers / "other.parquet")
        try:
            archive.run(photos, answers)
        except SystemExit as stop:
            assert "another model" in str(stop)
        else:
            raise AssertionError("another model's answers were gone on with")
    print(f"{many} photos by two workers: the answers of the program, oltr {oltr.__version__}")


if __name__ == "__main__":
    main()
