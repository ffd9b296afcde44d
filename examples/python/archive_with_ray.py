#!/usr/bin/env python3
"""Classifies an archive of photos with Ray Data: one model a worker, answers as Parquet, gone on with after any interruption.

    pip install ray pyarrow
    python archive_with_ray.py PHOTOS ANSWERS [--model mine.onnx] [--workers 2]

PHOTOS is a folder. ANSWERS is a folder of Parquet files: one row a photo, also for those that cannot be read, which say why.
Photos that stand there already are not classified again, unless they could not be read.
"""

import argparse
import sys
import uuid
from pathlib import Path

import pyarrow
import pyarrow.parquet
import ray

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
COLUMNS = pyarrow.schema([
    ("path", pyarrow.string()), ("decision", pyarrow.string()), ("label", pyarrow.string()), ("name", pyarrow.string()),
    ("probability", pyarrow.float64()), ("reachability", pyarrow.float64()), ("threshold", pyarrow.float64()),
    ("nearest", pyarrow.string()), ("nearest_distance", pyarrow.float64()), ("taken", pyarrow.string()),
    ("model_sha256", pyarrow.string()), ("error_kind", pyarrow.string()), ("error", pyarrow.string()),
])


class Classify:
    """One worker: the model is loaded once, and a batch of paths becomes a batch of answers."""

    def __init__(self, model, base):
        import oltr

        self.oltr, self.model, self.base = oltr, oltr.Model(model), Path(base)

    def row(self, path):
        """What is said of one photo."""
        row = dict.fromkeys(COLUMNS.names) | {"path": path, "model_sha256": self.model.sha256}
        try:
            answer = self.model.classify(self.base / path, top=0)
        except self.oltr.Error as error:
            # A photo that cannot be read is a row like the others; a defect of this program is not.
            if isinstance(error, self.oltr.InternalError):
                raise
            return row | {"error_kind": error.kind, "error": str(error)}
        return row | {
            "decision": answer.decision, "label": answer.label, "name": answer.name, "probability": answer.probability,
            "reachability": answer.reachability, "threshold": answer.threshold, "nearest": answer.nearest.label,
            "nearest_distance": answer.nearest.distance, "taken": (answer.taken or {}).get("time"),
        }

    def __call__(self, batch):
        return pyarrow.Table.from_pylist([self.row(path) for path in batch["path"].to_pylist()], schema=COLUMNS)


class Write:
    """Puts each batch into a file of its own, which is there whole or not at all."""

    def __init__(self, answers):
        self.answers = Path(answers)

    def __call__(self, batch):
        name = uuid.uuid4().hex
        part = self.answers / f".{name}.part"
        pyarrow.parquet.write_table(batch.select(COLUMNS.names).cast(COLUMNS), part)
        part.rename(self.answers / f"{name}.parquet")
        failed = batch.num_rows - batch["error_kind"].null_count
        return pyarrow.table({"photos": [batch.num_rows], "failed": [failed]})


def found(photos):
    """The photos below the folder, by their paths there."""
    paths = (path for path in Path(photos).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path.relative_to(photos).as_posix() for path in paths)


def answered(answers, model_sha256):
    """The photos that earlier runs have answers for; those of another model end this one."""
    done = set()
    for file in sorted(Path(answers).glob("*.parquet")):
        table = pyarrow.parquet.read_table(file, columns=["path", "model_sha256", "error_kind"])
        for path, sha256, error in zip(*(column.to_pylist() for column in table.columns)):
            if sha256 != model_sha256:
                sys.exit(f"{file}: has answers of another model; name another folder")
            if error is None:
                done.add(path)
    return done


def merged(answers):
    """All answers, one row a photo: of a photo that was tried again, what was said when it could be read."""
    rows = {}
    for file in sorted(Path(answers).glob("*.parquet")):
        for row in pyarrow.parquet.read_table(file).to_pylist():
            if row["path"] not in rows or rows[row["path"]]["error_kind"] is not None:
                rows[row["path"]] = row
    return pyarrow.Table.from_pylist([rows[path] for path in sorted(rows)], schema=COLUMNS)


def run(photos, answers, model=None, workers=2, batch=64):
    """Classifies what has no answer yet; returns how many photos that were, and how many could not be read."""
    import oltr

    Path(answers).mkdir(parents=True, exist_ok=True)
    done = answered(answers, oltr.Model(model).sha256)
    left = [path for path in found(photos) if path not in done]
    if not left:
        return 0, 0
    base = str(Path(photos).resolve())
    model = None if model is None else str(Path(model).resolve())
    pool = ray.data.ActorPoolStrategy
    paths = ray.data.from_arrow(pyarrow.table({"path": left})).repartition(max(workers, -(-len(left) // batch)))
    counts = (
        paths.map_batches(Classify, fn_constructor_args=(model, base), compute=pool(size=workers), batch_format="pyarrow", batch_size=batch)
        .map_batches(Write, fn_constructor_args=(str(Path(answers).resolve()),), compute=pool(size=1), batch_format="pyarrow", batch_size=None, num_cpus=0)
        .take_all()
    )
    return sum(count["photos"] for count in counts), sum(count["failed"] for count in counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("answers")
    parser.add_argument("--model", help="a bundle; without it the one that is built in")
    parser.add_argument("--workers", type=int, default=2, help="models at work at a time")
    parser.add_argument("--batch", type=int, default=64, help="photos that a worker takes at a time; each batch is a file")
    args = parser.parse_args()
    photos, failed = run(args.photos, args.answers, args.model, args.workers, args.batch)
    print(f"{photos} photos, {failed} of them could not be read")


if __name__ == "__main__":
    main()
