"""Labels, splits and the preprocessing that the runtime repeats."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
from PIL import Image

from oltr_models.data import DataError, Preprocess, class_ids, load_photo, read_class_table, read_folder, read_labels, read_samples, remarks, select, train_counts, write_labels

from .photos import write_set


class PreprocessTest(unittest.TestCase):
    def test_shorter_side_takes_a_centred_square(self):
        self.assertEqual(Preprocess(224).crop_box(300, 200), (50.0, 0.0, 250.0, 200.0))
        left, top, right, bottom = Preprocess(224, resize_to=256).crop_box(300, 200)
        self.assertAlmostEqual(right - left, 175.0)
        self.assertAlmostEqual(bottom - top, 175.0)
        self.assertAlmostEqual((left + right) / 2, 150.0)
        self.assertAlmostEqual((top + bottom) / 2, 100.0)

    def test_stretch_takes_everything(self):
        self.assertEqual(Preprocess(224, "stretch").crop_box(300, 200), (0.0, 0.0, 300.0, 200.0))

    def test_pad_keeps_the_shape_and_fills_with_the_colour(self):
        photo = Image.new("RGB", (100, 51), (250, 0, 0))
        out = np.asarray(Preprocess(64, "pad", pad_color=(1, 2, 3)).resized(photo))
        self.assertEqual(out.shape, (64, 64, 3))
        red = (out == (250, 0, 0)).all(2)
        rows = np.flatnonzero(red.any(1))
        self.assertEqual((rows[0], rows[-1]), (15, 47))  # 51 * 64 / 100 = 32.64, so 33 rows from (64 - 33) // 2
        self.assertTrue((out[0, 0] == (1, 2, 3)).all())
        upright = np.asarray(Preprocess(64, "pad", pad_color=(1, 2, 3)).resized(photo.transpose(Image.Transpose.ROTATE_90)))
        np.testing.assert_array_equal(upright, out.transpose(1, 0, 2))

    def test_normalises_on_the_255_scale_channels_first(self):
        out = Preprocess(2, "stretch", mean=(10, 20, 30), std=(2, 4, 5))(Image.new("RGB", (5, 5), (20, 40, 80)))
        np.testing.assert_allclose(out[:, 0, 0], [5, 5, 10])
        self.assertEqual((out.shape, out.dtype), ((3, 2, 2), np.float32))

    def test_keeps_rows_and_columns_apart(self):
        photo = Image.new("RGB", (8, 8), (0, 0, 0))
        photo.putpixel((6, 1), (255, 0, 0))  # column 6, row 1
        out = Preprocess(8, "stretch", mean=(0, 0, 0), std=(1, 1, 1))(photo)
        self.assertEqual(np.argwhere(out == 255).tolist(), [[0, 1, 6]])

    def test_json_round_trip(self):
        preprocess = Preprocess(96, "pad", mean=(1.0, 2.0, 3.0))
        self.assertEqual(Preprocess.from_json(preprocess.to_json()), preprocess)

    def test_refuses_what_no_runtime_could_do(self):
        with self.assertRaises(DataError):
            Preprocess(224, "crop")
        with self.assertRaises(DataError):
            Preprocess(224, resize_to=200)


class PhotoTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_applies_the_exif_orientation(self):
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
        photo = Image.new("RGB", (40, 20), (0, 0, 0))
        photo.paste((255, 255, 255), (0, 0, 40, 5))  # the stored top edge becomes the right edge
        photo.save(self.folder / "a.png", exif=exif)
        upright = load_photo(self.folder / "a.png")
        self.assertEqual(upright.size, (20, 40))
        self.assertEqual(upright.getpixel((19, 20)), (255, 255, 255))
        self.assertEqual(upright.getpixel((0, 20)), (0, 0, 0))

    def test_scales_16_bit_grey(self):
        Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(self.folder / "a.png")
        self.assertEqual(load_photo(self.folder / "a.png").getpixel((0, 0)), (128, 128, 128))

    def test_names_a_broken_or_missing_photo(self):
        (self.folder / "a.jpg").write_text("no photo")
        for name in ("a.jpg", "b.jpg"):
            with self.assertRaisesRegex(DataError, name):
                load_photo(self.folder / name)


class LabelsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def labels(self, *rows: str, header: str = "path\tclass\trole\tsplit"):
        path = self.folder / "labels.tsv"
        path.write_text("\n".join((header, *rows)))
        return read_labels(path, self.folder)

    def test_reads_roles_splits_and_counts(self):
        samples = self.labels("1\tb\tknown\ttrain", "2\ta\tknown\ttrain", "3\tb\tknown\ttrain", "4\tc\tunknown\tval")
        self.assertEqual(class_ids(samples), ["a", "b"])
        self.assertEqual(train_counts(samples, ["a", "b"]), [1, 2])
        self.assertEqual([s.cls for s in select(samples, "val", known=False)], ["c"])

    def test_reads_commas_and_semicolons_as_spreadsheets_write_them(self):
        for mark, begin in ((",", ""), (";", "\ufeff")):
            rows = ("path,class,role,split", '"1, 2",b,known,train', "2,a,known,train")
            path = self.folder / "labels.csv"
            path.write_text(begin + "\r\n".join(r if '"' in r and mark == "," else r.replace(",", mark) for r in rows),
                            encoding="utf-8", newline="")
            with self.subTest(mark):
                self.assertEqual([s.cls for s in read_labels(path, self.folder)], ["b", "a"])

    def test_writes_down_the_split_that_it_drew(self):
        for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/x/1.jpg", "b/2.png"):
            (self.folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "photos" / name).touch()
        photos, table = self.folder / "photos", self.folder / "labels.tsv"
        drawn = read_samples(photos, None, seed=3)
        self.assertEqual(sorted(map(str, drawn)), sorted(map(str, read_samples(self.folder, photos, seed=3))))
        write_labels(drawn, photos, table)
        self.assertEqual(sorted(map(str, drawn)), sorted(map(str, read_labels(table, photos))))

    def test_takes_splits_that_folders_say(self):
        for name in ("train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).touch()
        self.assertEqual([(s.cls, s.split) for s in read_folder(self.folder)],
                         [("a", "test"), ("a", "train"), ("b", "train")])

    def test_refuses_what_would_spoil_a_result(self):
        good = ("1\ta\tknown\ttrain", "2\tb\tknown\ttrain")
        for rows, message in (
            ((*good, "3\tc\tunknown\ttrain"), "unknown photos in the split train"),
            ((*good, "3\tc\tknown\ttest"), "without a training photo: c"),
            ((*good, "3\ta\tunknown\tval"), "both known and unknown: a"),
            ((*good, "3\ta\tknown\tdev"), "labels.tsv:4"),
            (good[:1], "at least two"),
        ):
            with self.subTest(message), self.assertRaisesRegex(DataError, message):
                self.labels(*rows)
        with self.assertRaisesRegex(DataError, "no column role, split"):
            self.labels("1\ta", header="path\tclass")

    def test_remarks_on_splits_that_lack_a_class_or_share_unknown_ones(self):
        good = ("1\ta\tknown\ttrain", "2\tb\tknown\ttrain", "3\ta\tknown\tval", "4\tb\tknown\tval", "5\ta\tknown\ttest")
        self.assertEqual(remarks(self.labels(*good, "6\tb\tknown\ttest", "7\tc\tunknown\tval", "8\td\tunknown\ttest")), [])
        first, second = remarks(self.labels(*good, "7\tc\tunknown\tval", "8\tc\tunknown\ttest"))
        self.assertIn("no photo in test of b:", first)
        self.assertIn("unknown in val and in test: c;", second)

    def test_reads_a_table_of_classes(self):
        path = self.folder / "classes.tsv"
        path.write_text("id\tname\ttrain_count\nn1\tcup\t3\nn2\t\t\n")
        self.assertEqual(read_class_table(path, 2), [{"id": "n1", "name": "cup", "train_count": 3}, {"id": "n2", "name": "n2", "train_count": 0}])
        for content, message in (("name\ncup\n", "no column id"), ("id\na\n", "1 classes, but the network has 2"), ("id\na\na\n", "twice"),
                                 ("id\ttrain_count\na\tmany\n", "whole number")):
            path.write_text(content)
            with self.subTest(message), self.assertRaisesRegex(DataError, message):
                read_class_table(path, 2)

    def test_splits_a_folder_class_by_class(self):
        write_set(self.folder, {"red": 20, "green": 3, "grey": 2, "blue": 1})
        samples = read_folder(self.folder, seed=1)
        by_class = {c: sorted(s.split for s in samples if s.cls == c) for c in class_ids(samples)}
        self.assertEqual(by_class["blue"], ["train"])
        self.assertEqual(by_class["grey"], ["train", "val"])
        self.assertEqual(by_class["green"], ["test", "train", "val"])
        self.assertEqual(by_class["red"].count("train"), 14)
        self.assertEqual(samples, read_folder(self.folder, seed=1))
        self.assertNotEqual(samples, read_folder(self.folder, seed=2))

    def test_refuses_an_empty_class(self):
        write_set(self.folder, {"red": 2, "green": 2})
        (self.folder / "empty").mkdir()
        with self.assertRaisesRegex(DataError, "empty"):
            read_folder(self.folder)


if __name__ == "__main__":
    unittest.main()
