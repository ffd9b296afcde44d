"""Names above the classes: those of the program."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import oltr

from .test_answers import PHOTOS, PROGRAM, program

MAKER = Path(__file__).parents[2] / "named_bundle.py"


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name) / "named.onnx"
        subprocess.run([sys.executable, MAKER, PROGRAM, cls.path], check=True)
        cls.model = oltr.Model(cls.path)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_every_photo_has_the_name_of_the_program(self):
        told = {}
        for line in program("classify", "--json", "--model", self.path, *PHOTOS):
            taxon = self.model.classify(line["source"]).taxon
            said = line["taxon"]
            if said is None:
                self.assertIsNone(taxon)
                continue
            of = said.get("of") and (said["of"]["rank"], said["of"]["name"])
            expected = oltr.Taxon(said["rank"], said["name"], said["probability"], said.get("gbif"), said.get("worms"), of)
            self.assertEqual(taxon, expected)
            told[Path(line["source"]).stem] = taxon
        self.assertEqual((told["cat"].rank, told["cat"].name, told["cat"].gbif, told["cat"].of), ("family", "Felidae", 9703, None))
        self.assertEqual((told["cup"].rank, told["cup"].of), ("label", None))

    def test_a_bundle_without_names_says_none(self):
        self.assertIsNone(oltr.Model().classify(PHOTOS[0]).taxon)

    def test_events_have_names_too(self):
        cat = next(photo for photo in PHOTOS if photo.stem == "cat")
        end = list(oltr.stream(self.model, [cat] * 4, fps=1))[-1]
        self.assertEqual((end.type, end.taxon.rank, end.taxon.name), ("end", "family", "Felidae"))
        self.assertAlmostEqual(end.taxon.probability, self.model.classify(cat).taxon.probability, 5)
