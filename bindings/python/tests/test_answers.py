"""The same answers as the program, however a photo is handed in."""

import io
import json
import os
import pickle
import subprocess
import unittest
from pathlib import Path

import oltr

PHOTOS = sorted((Path(__file__).parents[3] / "examples" / "photos").glob("*.jpg"))
PROGRAM = os.environ["OLTR_PROGRAM"]

try:
    import numpy
    from PIL import Image
except ImportError:
    numpy = None


def program(*arguments):
    """The JSON lines of the program."""
    run = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, check=True, text=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def as_json(answer):
    """An answer in the words of the program's JSON."""
    of = lambda c, number: {"label": c.label, "class": c.class_index, number: getattr(c, number), "name": c.name}
    return {
        "decision": answer.decision, "label": answer.label, "class": answer.class_index, "name": answer.name,
        "probability": answer.probability, "reachability": answer.reachability, "threshold": answer.threshold,
        "nearest": of(answer.nearest, "distance"), "shot": answer.shot,
        "top": [of(candidate, "probability") for candidate in answer.top],
        "taken": answer.taken, "place": answer.place, "camera": answer.camera,
    }


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = oltr.Model()

    def test_every_photo_has_the_numbers_of_the_program(self):
        self.assertGreater(len(PHOTOS), 5)
        for line in program("classify", "--json", "--no-enrolled", *PHOTOS):
            answer = as_json(self.model.classify(line["source"]))
            # To the last digit.
            self.assertEqual(answer, {key: line[key] for key in answer}, line["source"])

    def test_paths_and_bytes_are_the_same_photo(self):
        photo = PHOTOS[4]
        data = photo.read_bytes()
        answer = self.model.classify(str(photo))
        for same in (photo, data, bytearray(data), memoryview(data), memoryview(bytearray(data))):
            self.assertEqual(self.model.classify(same), answer, type(same))
        with self.model.session() as session:
            self.assertEqual(session.classify(photo), answer)

    def test_top_is_as_long_as_asked(self):
        for top in (0, 1, 3, 10_000):
            answer = self.model.classify(PHOTOS[0], top=top)
            self.assertEqual(len(answer.top), min(top, len(self.model.classes)))
        self.assertEqual([c.label for c in answer.top][0], self.model.classes[answer.top[0].class_index].label)

    @unittest.skipIf(numpy is None, "NumPy and Pillow are not installed")
    def test_arrays_and_pictures_are_the_same_photo(self):
        for photo in PHOTOS:
            answer = self.model.classify(photo)
            picture = Image.open(photo)
            self.assertEqual(self.model.classify(picture), answer, photo)
            array = numpy.asarray(picture.convert("RGB"))
            wide = numpy.zeros((array.shape[0], array.shape[1] + 5, 4), numpy.uint8)
            wide[:, :-5, :3] = array
            read_only = array.copy()
            read_only.flags.writeable = False
            for name, same in {
                "array": array, "column major": numpy.asfortranarray(array), "part of a larger one": wide[:, :-5, :3],
                "rows backwards": array[::-1].copy()[::-1], "columns backwards": array[:, ::-1].copy()[:, ::-1],
                "BGR turned around": array[:, :, ::-1].copy()[:, :, ::-1], "read only": read_only,
                "memoryview": memoryview(array), "memoryview with gaps": memoryview(wide[:, :-5, :3]),
                "planes": array.transpose(2, 0, 1).copy().transpose(1, 2, 0),
            }.items():
                self.assertEqual(self.model.classify(same), answer, f"{photo} {name}")

    @unittest.skipIf(numpy is None, "NumPy and Pillow are not installed")
    def test_pictures_of_other_modes_and_orientations(self):
        picture = Image.open(PHOTOS[0]).convert("RGB").resize((64, 48))
        for mode in ("RGBA", "L", "P", "1"):
            self.assertIn(self.model.classify(picture.convert(mode)).decision, ("known", "open"))
        exif = Image.Exif()
        exif[0x0112] = 6
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", exif=exif)
        turned = Image.open(io.BytesIO(encoded.getvalue()))
        self.assertEqual(self.model.classify(turned), self.model.classify(encoded.getvalue()))

    @unittest.skipIf(numpy is None, "NumPy and Pillow are not installed")
    def test_outputs_are_arrays(self):
        outputs = self.model.run(PHOTOS[0])
        self.assertEqual(list(outputs), ["logits", "distances", "features"])
        classes = len(self.model.classes)
        self.assertEqual((outputs["logits"].shape, outputs["distances"].shape), ((classes,), (classes,)))
        self.assertTrue(all(values.dtype == numpy.float32 and values.flags.writeable for values in outputs.values()))
        answer = self.model.classify(PHOTOS[0])
        likely = numpy.exp(outputs["logits"] - outputs["logits"].max())
        self.assertAlmostEqual(float(likely.max() / likely.sum()), answer.probability, places=5)
        self.assertAlmostEqual(float(outputs["distances"].min()), answer.nearest.distance, places=5)
        array = numpy.asarray(Image.open(PHOTOS[0]).convert("RGB"))
        self.assertTrue(all((self.model.run(array)[name] == values).all() for name, values in outputs.items()))

    def test_a_time_and_a_place_are_told(self):
        # A JPEG with EXIF, made of the first photo: Make, and DateTimeOriginal in a folder of its own.
        def entry(tag, kind, count, value):
            return tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + count.to_bytes(4, "little") + value

        time = b"2024:05:01 06:12:33\0"
        tiff = b"II*\0\x08\0\0\0" + b"\x02\0" + entry(0x010F, 2, 4, b"Cam\0")
        tiff += entry(0x8769, 4, 1, (38).to_bytes(4, "little")) + bytes(4)
        tiff += b"\x01\0" + entry(0x9003, 2, 20, (56).to_bytes(4, "little")) + bytes(4) + time
        exif = b"Exif\0\0" + tiff
        data = PHOTOS[0].read_bytes()
        data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
        answer = self.model.classify(data)
        self.assertEqual(answer.taken, {"time": "2024-05-01T06:12:33", "offset": None, "subsecond": None})
        self.assertEqual(answer.camera, {"make": "Cam", "model": None, "serial": None})
        # The same thing in the photo.
        self.assertEqual(answer, self.model.classify(PHOTOS[0]))


class Streams(unittest.TestCase):
    def test_events_come_and_end(self):
        model = oltr.Model()
        cup = [photo for photo in PHOTOS if photo.stem == "cup"][0]
        moon = [photo for photo in PHOTOS if photo.stem == "moon"][0]
        frames = [cup] * 6 + [moon] * 12
        told = list(oltr.stream(model, frames, fps=2, per_frame=True))
        answers = [each for each in told if isinstance(each, oltr.Answer)]
        events = [each for each in told if isinstance(each, oltr.Event)]
        self.assertEqual([answer.label for answer in answers], ["cup"] * 6 + [None] * 12)
        self.assertEqual([(event.type, event.label) for event in events if event.type != "update"],
                         [("new", "cup"), ("new", None), ("end", "cup"), ("end", None)])
        ends = [event for event in events if event.type == "end"]
        self.assertEqual([event.reason for event in ends], ["gone", "finished"])
        self.assertEqual((ends[0].first, ends[0].last, ends[0].frames, ends[0].decision), (0.0, 2.5, 6, "known"))
        self.assertEqual(list(oltr.stream(model, frames, fps=2)), events)

    def test_nothing_is_read_ahead(self):
        taken = []

        def frames():
            for number in range(1000):
                taken.append(number)
                yield PHOTOS[0]

        stream = oltr.stream(oltr.Model(), frames(), fps=5)
        self.assertEqual(taken, [])
        next(stream)
        self.assertEqual(len(taken), 3)
        stream.close()

    def test_settings_that_cannot_be_are_refused(self):
        model = oltr.Model()
        for wrong in ({"fps": 0}, {"fps": float("nan")}, {"window": 0}, {"begin": 9}, {"keep": 0}, {"linger": -1.0},
                      {"window": 10**6, "begin": 1, "keep": 1}, {"gap": float("inf")}):
            with self.subTest(wrong), self.assertRaises(oltr.Error):
                oltr.stream(model, [], **wrong)
        with self.assertRaises(oltr.BadTypeError):
            list(oltr.stream(model, [5]))


class Enrolled(unittest.TestCase):
    def renamed(self, model):
        """A model of which one class was forgotten, which no file knows."""
        model.forget("the moon")
        return model

    def test_classes_are_learnt_kept_and_shared_with_the_program(self):
        import tempfile

        model = oltr.Model()
        moon = [photo for photo in PHOTOS if photo.stem == "moon"][0]
        self.assertEqual(model.classify(moon).decision, "open")
        enrolled = model.enrol("the moon", [moon, moon.read_bytes()])
        self.assertEqual((enrolled.name, enrolled.photos, model.enrolled), ("the moon", 2, ["the moon"]))
        answer = model.classify(moon)
        self.assertEqual((answer.label, answer.class_index, answer.enrolled.distance), ("the moon", None, 0.0))
        with self.assertRaisesRegex(oltr.ConfigError, "save_enrolled"):
            model.__reduce__()
        with tempfile.TemporaryDirectory() as folder:
            file = model.save_enrolled(Path(folder) / "mine.enrolled")
            self.assertEqual(oltr.Model(enrolled=file).classify(moon), answer)
            line = program("classify", "--json", "--enrolled", file, moon)[0]
            self.assertEqual((line["label"], line["enrolled"]["radius"]), ("the moon", answer.enrolled.radius))
            # Wherever they were saved, another process takes them from there.
            there = pickle.loads(pickle.dumps(model))
            self.assertEqual((there.enrolled, there.classify(moon)), (["the moon"], answer))
            model.enrol("another", [moon, moon])
            with self.assertRaisesRegex(oltr.ConfigError, "save_enrolled"):
                pickle.dumps(model)
            with self.assertRaisesRegex(oltr.ConfigError, "save_enrolled"):
                pickle.dumps(self.renamed(there))
            model.forget("another")
        self.assertEqual(pickle.loads(pickle.dumps(oltr.Model(enrolled=False))).enrolled, [])
        model.forget("the moon")
        self.assertEqual((model.enrolled, model.classify(moon).decision), ([], "open"))
        for wrong in (lambda: model.forget("x"), lambda: model.enrol("x", [moon]), lambda: model.enrol("", [moon] * 2),
                      lambda: model.enrol("x", moon), lambda: model.enrol("x", str(moon)), lambda: model.enrol("x", 5),
                      lambda: model.enrol("x", [moon] * 65), lambda: model.save_enrolled()):
            with self.assertRaises(oltr.Error):
                wrong()


class Thresholds(unittest.TestCase):
    def test_scores_get_a_threshold(self):
        found = oltr.calibrate([1, 2, 3, 4], [0.5, 1.5, 2.5], "known-accept=0.75")
        self.assertTrue(1.5 < found.threshold <= 2)
        self.assertEqual((found.known_accepted, round(found.open_rejected, 6)), (0.75, 0.666667))
        if numpy is not None:
            scores = numpy.array([1, 2, 3, 4], numpy.float32), numpy.array([0.5, 1.5, 2.5])
            self.assertEqual(oltr.calibrate(*scores, "known-accept=0.75"), found)
        for wrong in (([], [1], "balanced"), ([1], [], "balanced"), ([float("nan")], [1], "max-f"), ([1], [2], "best"),
                      (["x"], [1], "max-f"), (5, [1], "max-f"), ([1], [2], "known-accept=2")):
            with self.subTest(wrong), self.assertRaises(oltr.Error):
                oltr.calibrate(*wrong)


if __name__ == "__main__":
    unittest.main()
