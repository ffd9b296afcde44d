"""One command with all others below it."""

import contextlib
import importlib.util
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from PIL import Image

from oltr_models import cli, console
from oltr_models.data import read_labels


def called(*arguments: str) -> tuple[str, object]:
    """What a call prints, and its exit status."""
    out, status = io.StringIO(), 0
    with mock.patch.object(sys, "argv", ["oltr-models", *arguments]), mock.patch.object(cli, "PROGRAM", cli.PROGRAM), \
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            console.main()
        except SystemExit as stop:
            status = stop.code or 0
    return out.getvalue(), status


class ConsoleTest(unittest.TestCase):
    def test_every_command_is_there_and_called_by_this_name(self):
        text, status = called()
        self.assertEqual(status, 0)
        for name, module in console.MODULES.items():
            self.assertIn(f"  {name} ", text)
            self.assertIsNotNone(importlib.util.find_spec(f"oltr_models.{module}"), module)

    def test_every_command_has_help(self):
        try:
            import torch  # noqa: F401
        except ImportError:
            self.skipTest("PyTorch is not installed")
        for name in console.MODULES:
            text, status = called(name, "--help")
            self.assertEqual(status, 0, name)
            self.assertIn(f"usage: oltr-models {name.replace('-', '_')}", text.replace("\n", " "))

    def test_an_unknown_command_lists_those_there_are(self):
        text, status = called("trian")
        self.assertEqual(status, 2)
        self.assertIn("'trian'", text)
        self.assertIn("train", text)

    def test_labels_write_the_split_of_a_folder_down(self):
        with tempfile.TemporaryDirectory() as folder:
            for cls, photos in (("cup", 8), ("moth", 3), ("eel", 1)):
                (Path(folder) / "photos" / cls).mkdir(parents=True)
                for number in range(photos):
                    Image.new("RGB", (8, 8)).save(Path(folder) / "photos" / cls / f"{number}.png")
            table = Path(folder) / "photos.tsv"
            text, status = called("labels", str(Path(folder) / "photos"), str(table))
            self.assertEqual(status, 0, text)
            self.assertIn("3 classes", text)
            samples = read_labels(table, Path(folder) / "photos")
            self.assertEqual(len(samples), 12)
            self.assertTrue(all(s.path.exists() for s in samples))
            self.assertEqual({s.split for s in samples if s.cls == "moth"}, {"train", "val", "test"})
            for wrong in (["labels", str(Path(folder) / "none"), str(table)],
                          ["labels", str(Path(folder) / "photos"), str(table), "--val", "0.9", "--test", "0.3"]):
                self.assertTrue(str(called(*wrong)[1]).startswith("error: "))

    def test_a_bundle_is_all_steps_in_a_row(self):
        import argparse

        from oltr_models.assemble import commands

        args = argparse.Namespace(target=Path("mine.onnx"), images=Path("photos"), labels=None, work=Path("work"), name=None,
                                  names=None, seed=3)
        with_program = commands(args, "/usr/bin/oltr")
        self.assertEqual([c[2] if c[0] == sys.executable else c[1] for c in with_program],
                         ["oltr_models.export", "oltr_models.quantise", "oltr_models.check", "calibrate"])
        self.assertEqual(with_program[-1][-3:], ["--output", "mine.onnx", "work/mine.int8.onnx"])
        self.assertIn("work/labels.tsv", with_program[-1])
        self.assertEqual(commands(args, None)[1][4], "mine.onnx")


if __name__ == "__main__":
    unittest.main()
