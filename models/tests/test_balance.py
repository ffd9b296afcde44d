"""A set whose photos are mostly of few classes: what the options that nobody set come to."""

import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from oltr_models import balance, train, trainer
from oltr_models.checkpoint import Checkpoint

from .photos import write_photo

# Photos of the training split and of val, in one proportion: what a camera sees. Colours of neighbours run into each other.
TRAIN = {"a": 160, "b": 40, "c": 14, "d": 8, "e": 4}
VAL = {"a": 160, "b": 40, "c": 14, "d": 8, "e": 4}


def write_set(folder: Path) -> Path:
    """Photos whose colour says the class as far as it can be told; the table of labels."""
    rng = np.random.default_rng(5)
    rows = ["path\tclass\trole\tsplit"]
    for split, counts in (("train", TRAIN), ("val", VAL)):
        for at, (cls, count) in enumerate(counts.items()):
            for number in range(count):
                hue = rng.normal(at, 0.75)
                path = f"{split}/{cls}/{number}.png"
                write_photo(folder / path, (int(60 + 30 * hue), 110, int(190 - 25 * hue)), rng.integers(1 << 30), (48, 48))
                rows.append(f"{path}\t{cls}\tknown\t{split}")
    labels = folder / "labels.tsv"
    labels.write_text("\n".join(rows) + "\n")
    return labels


def trained(*options) -> tuple[str, str]:
    """What `train` prints, and what it complains of."""
    out, complaints = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", ["", *map(str, options)]), contextlib.redirect_stdout(out), \
            contextlib.redirect_stderr(complaints):
        train.main()
    return out.getvalue(), complaints.getvalue()


def apart(one: dict, other: dict) -> float:
    """By which share of its norm the classifier of `one` differs from that of `other`."""
    pairs = [(one[key].double(), other[key].double()) for key in other if key.startswith("head.")]
    assert pairs, list(other)
    return (sum(((a - b) ** 2).sum() for a, b in pairs) / sum((b**2).sum() for _, b in pairs)).sqrt().item()


class HeadHeavyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        labels = write_set(cls.folder / "photos")
        cls.options = ("--images", cls.folder / "photos", "--labels", labels, "--size", 64, "--dim", 32, "--views", 1,
                       "--frozen-blocks", 15, "--epochs", 3, 2, "--threads", 1)
        cls.work = cls.folder / "work"
        cls.out, cls.complaints = trained(*cls.options, "--work", cls.work)

    def at(self, name: str, *options) -> tuple[float, str]:
        """Top-1 on val of a training with these options too, and what it complains of."""
        work = self.folder / name
        if not work.exists():
            work.mkdir()
            for cache in ("train", "train-view-0", "val"):
                for file in self.work.glob(f"{cache}.*"):
                    shutil.copy2(file, work / file.name)
        out, complaints = trained(*self.options, "--work", work, *options)
        return json.loads(re.search(r"best\.pt: (.*)", out)[1])["val_top1"], complaints

    def test_the_defaults_end_within_two_points_of_the_best_balance(self):
        reached = json.loads(re.search(r"best\.pt: (.*)", self.out)[1])["val_top1"]
        others = {share: self.at(f"balance-{share}", "--balance", share)[0] for share in balance.CHOICES}
        self.assertGreaterEqual(reached, max(others.values()) - 0.02, others)
        # The set is one on which the balance matters.
        self.assertGreater(max(others.values()) - others[1.0], 0.04, others)
        self.assertIn("balance ", self.out)

    def test_a_second_run_takes_the_choice_up(self):
        before = Checkpoint.load(self.work / "best.pt").net.state_dict()
        out, _ = trained(*self.options, "--work", self.work)
        self.assertIn("stage1: taken from", out)
        (self.work / "stage2.pt").unlink()
        out, _ = trained(*self.options, "--work", self.work)
        self.assertNotIn("stage2: taken from", out)
        # The optimiser makes more of the last digits of sums, whose order is no promise; another balance changes much more.
        self.assertLess(apart(Checkpoint.load(self.work / "best.pt").net.state_dict(), before), 0.01)
        self.at("other", "--balance", 0.0)
        self.assertGreater(apart(Checkpoint.load(self.folder / "other" / "best.pt").net.state_dict(), before), 0.1)

    def test_the_best_epoch_is_kept_and_a_fall_is_said(self):
        evaluate = trainer.Trainer.evaluate
        for keep, kept in (("best", 1), ("last", 3)):
            states, calls = {}, []

            def falling(self, net, stage):
                """As if val fell from epoch to epoch."""
                report = evaluate(self, net, stage)
                if stage == 1 and len(calls) < 3:
                    calls.append(1)
                    states[len(calls)] = {key: value.clone() for key, value in net.state_dict().items()}
                    report["val_top1"] = 0.9 - 0.2 * len(calls)
                return report

            with mock.patch.object(trainer.Trainer, "evaluate", falling):
                _, complaints = self.at(f"falling-{keep}", "--balance", 0.5, "--keep", keep)
            self.assertRegex(complaints, r"warning: stage1: the top-1 on val fell from 0\.700 to 0\.300")
            saved = torch.load(self.folder / f"falling-{keep}" / "stage1.pt", weights_only=True)["state"]
            for key, value in states[kept].items():
                np.testing.assert_array_equal(value.numpy(), saved[key].numpy(), key)

    def test_a_stage_2_below_stage_1_is_said(self):
        evaluate = trainer.Trainer.evaluate

        def low(self, net, stage):
            return evaluate(self, net, stage) | ({"val_top1": 0.1} if stage == 2 else {})

        with mock.patch.object(trainer.Trainer, "evaluate", low):
            _, complaints = self.at("low", "--balance", 0.5)
        self.assertRegex(complaints, "warning: stage2 ends below stage 1")
        self.assertNotIn("ends below", self.complaints)


class ChoiceTest(unittest.TestCase):
    def test_the_largest_within_a_point_is_taken(self):
        self.assertEqual(balance.chosen({0.0: 0.86, 0.5: 0.855, 1.0: 0.44}), 0.5)
        self.assertEqual(balance.chosen({0.0: 0.9, 0.5: 0.88, 1.0: 0.7}), 0.0)
        self.assertEqual(balance.chosen({0.0: 0.9, 0.5: 0.9, 1.0: 0.9}), 1.0)

    def test_a_smaller_balance_names_more_of_the_head(self):
        rng = np.random.default_rng(0)
        counts = [400, 20]
        labels = torch.from_numpy(np.repeat([0, 1], counts))
        centres = torch.tensor([[1.0, 0.2], [0.2, 1.0]])
        features = centres[labels] + torch.from_numpy(rng.normal(0, 0.6, (420, 2))).float()
        prior = torch.log(torch.tensor(counts) / 420)
        said = [(features @ torch.nn.functional.normalize(balance.refitted(centres, features, labels, prior * share, 0.0, 0)).T)
                .argmax(1).eq(0).sum().item() for share in (0.0, 1.0)]
        self.assertGreater(said[0], said[1] + 20)


if __name__ == "__main__":
    unittest.main()
