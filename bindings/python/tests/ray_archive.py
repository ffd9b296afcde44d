"""The example for Ray Data with two local workers: not run by `check`, which does without Ray.

    pip install ray pyarrow; PYTHONPATH=… python bindings/python/tests/ray_archive.py
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet
import ray

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "examples" / "python"))

import archive_with_ray as archive  # noqa: E402

import oltr  # noqa: E402


def main():
    # The workers import what is imported here.
    path = ":".join(filter(None, [str(ROOT / "examples" / "python"), *sys.path]))
    ray.init(num_cpus=4, include_dashboard=False, logging_level="error", runtime_env={"env_vars": {"PYTHONPATH": path}})
    with tempfile.TemporaryDirectory() as folder:
        photos, answers = Path(folder) / "photos", Path(folder) / "answers"
        for at, photo in enumerate(sorted((ROOT / "examples" / "photos").glob("*.jpg"))):
            (photos / str(at % 3)).mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, photos / str(at % 3) / photo.name)
        (photos / "bad.jpg").write_bytes(b"no picture")
        many = len(archive.found(photos))
        first = archive.run(photos, answers, workers=2, batch=3)
        assert first == (many, 1), first
        merged = archive.merged(answers)
        # The same answers as one machine's, whatever the partitioning.
        one = archive.Classify(None, photos)
        expected = [one.row(path) for path in archive.found(photos)]
        assert merged.to_pylist() == expected
        assert [row["error_kind"] for row in expected if row["error"]] == ["bad-image"]
        # Gone on with: what failed is tried again, what is new is added, what was there is not touched.
        files = set(answers.iterdir())
        shutil.copy(photos / "0" / "astronaut.jpg", photos / "new.jpg")
        shutil.copy(photos / "0" / "astronaut.jpg", photos / "bad.jpg")
        second = archive.run(photos, answers, workers=1, batch=64)
        assert second == (2, 0), second
        assert files < set(answers.iterdir())
        again = archive.merged(answers).to_pylist()
        assert again == [one.row(path) for path in archive.found(photos)]
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
        print(f"{many} photos by two workers: the answers of one machine, {oltr.__version__}")


if __name__ == "__main__":
    main()
