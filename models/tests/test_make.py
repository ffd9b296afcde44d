"""The commands behind the shipped bundles."""

import importlib
import unittest
from pathlib import Path

from oltr_models.make import GOLDEN_PHOTOS, TRAINING, commands
from oltr_models.train import arguments


class MakeTest(unittest.TestCase):
    def test_every_command_is_there_and_every_training_has_valid_options(self):
        for name in TRAINING:
            listed = commands(name, Path("photos"), Path("labels.tsv"), Path("work"), Path("."))
            averaged = [] if name == "fish" else ["average"]
            tail = ["refit", "lift"] if name == "plankton" else []
            subject = [] if name == "everyday" else ["subject"]
            nothing = ["nothing"] if name == "everyday" else []
            self.assertEqual([c[0].split(".")[1] for c in listed if c[0] != "oltr_models.train"],
                             [*averaged, "export", *tail, "quantise", *subject, "metric", *nothing, "check", "card", "golden"])
            for command in listed:
                self.assertTrue(callable(importlib.import_module(command[0]).main))
                if command[0] == "oltr_models.train":
                    args = arguments("train", "").parse_args(command[1:])
                    self.assertEqual(args.size, 224 if name == "everyday" else 128)

    def test_a_second_training_starts_from_the_first_and_both_are_averaged(self):
        first, second, mean, export = commands("plankton", Path("photos"), Path("labels.tsv"), Path("work"), Path("."))[:4]
        self.assertEqual(first[first.index("--work") + 1], "work/start1")
        self.assertEqual(second[second.index("--start") + 1], "work/start1/stage1.pt")
        self.assertEqual(mean[1:4], ["work/start1/best.pt", "work/best.pt", "work/averaged.pt"])
        self.assertEqual(export[1], mean[3])

    def test_both_trainings_of_everyday_start_from_the_pretrained_network(self):
        first, second, mean = commands("everyday", Path("photos"), Path("labels.tsv"), Path("work"), Path("."))[:3]
        self.assertEqual(first[first.index("--work") + 1], "work/start1")
        self.assertNotIn("--start", first + second)
        self.assertEqual(mean[1:], ["work/start1/best.pt", "work/best.pt", "work/averaged.pt", "--share", "0.7"])

    def test_the_tail_is_mended_between_export_and_quantise(self):
        commanded = commands("plankton", Path("photos"), Path("labels.tsv"), Path("work"), Path("."))
        export, refit, lift, quantise, subject, metric, check = commanded[3:10]
        self.assertEqual(subject[1:], ["plankton.onnx", "crop"])
        self.assertEqual(refit[1], export[2])
        self.assertEqual(lift[1], refit[2])
        self.assertEqual([quantise[1], check[1]], [lift[2]] * 2)
        self.assertEqual(metric[1:3], [quantise[2]] * 2)

    def test_a_seed_goes_to_whatever_draws(self):
        for name in TRAINING:
            listed = commands(name, Path("photos"), Path("labels.tsv"), Path("work"), Path("."), 7)
            seeded = [c[0].split(".")[1] for c in listed if c[-2:] == ["--seed", "7"]]
            tail = ["refit"] if name == "plankton" else []
            self.assertEqual(seeded, ["train"] * len(TRAINING[name]) + tail + ["quantise"])

    def test_golden_photos_are_there(self):
        examples = Path(__file__).resolve().parents[2] / "examples" / "photos"
        for photo in GOLDEN_PHOTOS.values():
            self.assertTrue((examples / photo).exists(), photo)


if __name__ == "__main__":
    unittest.main()
