"""Choices of training photos and rates, without any network to train."""

import json
import tempfile
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path


from oltr_models.data import Sample
from oltr_models.summary import chart, read_history
from oltr_models.trainer import thinned


class ThinnedTest(unittest.TestCase):
    def setUp(self):
        self.samples = [Sample(Path(f"{cls}{i}"), cls, True, "train") for cls, n in (("a", 9), ("b", 3), ("c", 1)) for i in range(n)]

    def test_keeps_the_tail_and_the_order(self):
        kept = thinned(self.samples, 4, seed=0)
        self.assertEqual([s.cls for s in kept], ["a"] * 4 + ["b"] * 3 + ["c"])
        self.assertEqual(kept, sorted(kept, key=self.samples.index))

    def test_is_drawn_by_the_seed(self):
        self.assertEqual(thinned(self.samples, 4, seed=1), thinned(self.samples, 4, seed=1))
        self.assertEqual(len({tuple(s.path.name for s in thinned(self.samples, 4, seed)) for seed in range(5)}), 5)

    def test_nought_keeps_all(self):
        self.assertEqual(thinned(self.samples, 0, seed=0), self.samples)


class SummaryTest(unittest.TestCase):
    def test_a_run_that_was_started_again_counts_once(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "history.jsonl"
            epochs = [("stage1", 1, 3.0), ("stage1", 2, 2.5), ("stage1", 1, 2.0), ("stage2", 1, 1.0)]
            path.write_text("".join(json.dumps({"run": r, "epoch": e, "loss": x}) + "\n" for r, e, x in epochs))
            history = read_history(path)
        self.assertEqual({run: [e["loss"] for e in epochs] for run, epochs in history.items()}, {"stage1": [2.0], "stage2": [1.0]})

    def test_a_chart_spans_its_values(self):
        drawn = ET.fromstring(chart("a < b", {"loss": [(1, 2.0), (2, 1.0), (3, 1.5)], "none": []}))
        points = [tuple(map(float, p.split(","))) for p in drawn.find("polyline").get("points").split()]
        self.assertEqual(len(points), 3)
        self.assertLess(points[0][1], points[2][1])  # the largest value is the highest
        self.assertLess(points[2][1], points[1][1])
        self.assertEqual(len(drawn.findall("polyline")), 1)


if __name__ == "__main__":
    unittest.main()
