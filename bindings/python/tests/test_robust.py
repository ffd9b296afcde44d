"""What is wrong, what many threads and processes do, and what memory is taken."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import oltr

PHOTO = Path(__file__).parents[3] / "examples" / "photos" / "cup.jpg"

try:
    import numpy
except ImportError:
    numpy = None


def pixels(height, width):
    """A gray picture without NumPy."""
    return memoryview(bytes([128]) * (height * width * 3)).cast("B", (height, width, 3))


def resident():
    """Bytes of this process that are in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise unittest.SkipTest("no /proc")


class Wrong(unittest.TestCase):
    def test_what_is_no_photo_is_said_so(self):
        model = oltr.Model()
        flat = memoryview(bytes(12))
        for wrong, error in [
            (5, oltr.BadTypeError), (None, oltr.BadTypeError), ([1, 2], oltr.BadTypeError), (object(), oltr.BadTypeError),
            ("no/such.jpg", oltr.NotFoundError), (Path("/"), oltr.IoError), ("a\0b", oltr.Error), ("", oltr.Error),
            (b"", oltr.BadImageError), (b"no picture", oltr.BadImageError), (PHOTO.read_bytes()[:900], oltr.BadImageError),
            (flat.cast("B", (2, 6)), oltr.BadInputError), (flat.cast("B", (1, 3, 4)), oltr.BadInputError),
            (flat.cast("B", (3, 2, 2)), oltr.BadInputError), (flat.cast("B", (1, 2, 2, 3)), oltr.BadInputError),
            (memoryview(bytes(96)).cast("d", (2, 2, 3)), oltr.BadInputError),
            (memoryview(bytes(24)).cast("H", (2, 2, 3)), oltr.BadInputError),
            (memoryview(bytes(12)).cast("b", (2, 2, 3)), oltr.BadInputError),
            (memoryview(bytes(12)).cast("f"), oltr.BadInputError),
            (pixels(1, 200_000), oltr.LimitError),
        ]:
            with self.subTest(repr(wrong)[:60]):
                with self.assertRaises(error) as caught:
                    model.classify(wrong)
                self.assertIsInstance(caught.exception, oltr.Error)
                self.assertTrue(str(caught.exception) and caught.exception.kind)
                with self.assertRaises(error):
                    model.run(wrong)
        self.assertEqual(model.classify(PHOTO).label, "cup")

    @unittest.skipIf(numpy is None, "NumPy is not installed")
    def test_arrays_that_do_not_fit_are_said_so(self):
        model = oltr.Model()
        good = numpy.zeros((8, 8, 3), numpy.uint8)
        for wrong in (good[:0], good[:, :0], good[..., 0], good[..., :2], good.astype(float), good.astype(bool),
                      good.astype(object), good.astype("S1"), good[None], good.transpose(2, 0, 1), numpy.array(5),
                      numpy.broadcast_to(numpy.uint8(1), (200_000, 200_000, 3)), good.astype("datetime64[s]"),
                      numpy.ma.masked_array(good).astype("f4"), good.view([("r", "u1"), ("g", "u1"), ("b", "u1")])):
            with self.subTest(str(wrong.dtype) + str(wrong.shape)), self.assertRaises(oltr.Error):
                model.classify(wrong)
        self.assertEqual(model.classify(numpy.broadcast_to(numpy.uint8(1), (8, 8, 3))), model.classify(good + 1))

    def test_what_is_no_model_is_said_so(self):
        with tempfile.TemporaryDirectory() as folder:
            empty = Path(folder) / "empty.onnx"
            empty.touch()
            for wrong, error in [("no/such.onnx", oltr.NotFoundError), (PHOTO, oltr.BadModelError), (folder, oltr.Error),
                                 (empty, oltr.BadModelError)]:
                with self.subTest(wrong), self.assertRaises(error):
                    oltr.Model(wrong)
            for wrong in ({"enrolled": "no/such.enrolled"}, {"enrolled": PHOTO}, {"enrolled": 5}, {"threads": 0},
                          {"threads": 10**6}):
                with self.subTest(wrong), self.assertRaises(oltr.Error):
                    oltr.Model(**wrong)

    def test_a_closed_session_is_said_so(self):
        session = oltr.Model().session()
        with session as same:
            self.assertIs(same, session)
            self.assertFalse(session.closed)
        session.close()
        self.assertTrue(session.closed)
        for use in (session.classify, session.run):
            with self.assertRaisesRegex(oltr.BadInputError, "closed"):
                use(PHOTO)

    def test_kinds_are_those_of_the_program_and_of_python(self):
        self.assertTrue(issubclass(oltr.NotFoundError, FileNotFoundError))
        self.assertTrue(issubclass(oltr.BadTypeError, TypeError) and issubclass(oltr.BadInputError, ValueError))
        kinds = {error.kind for error in vars(oltr).values() if isinstance(error, type) and issubclass(error, oltr.Error)}
        self.assertEqual(kinds, {"not-found", "io", "bad-image", "bad-model", "limit", "bad-input", "unavailable", "busy",
                                 "config", "internal"})


class Together(unittest.TestCase):
    def test_threads_share_a_model(self):
        model = oltr.Model()
        expected, wrong = model.classify(PHOTO), []

        def work():
            for _ in range(5):
                if model.classify(PHOTO) != expected:
                    wrong.append(1)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_threads_that_enrol_at_once_lose_nothing(self):
        model, photo = oltr.Model(), PHOTO.read_bytes()
        names = [f"class {number}" for number in range(12)]
        started, interval = threading.Barrier(6), sys.getswitchinterval()

        def work(mine):
            started.wait()
            for name in mine:
                model.enrol(name, [photo, photo])
                model.enrol("passing " + name, [photo, photo])
                model.forget("passing " + name)

        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=work, args=(names[at::6],)) for at in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        self.assertEqual(sorted(model.enrolled), sorted(names))

    def test_a_class_that_is_enrolled_while_others_are_saved_is_not_taken_for_saved(self):
        model, photo = oltr.Model(), PHOTO.read_bytes()
        model.enrol("first", [photo, photo])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mine.enrolled"
            stop = threading.Event()
            saved = []

            def save():
                while not stop.is_set():
                    model.save_enrolled(file)
                    saved.append(1)

            thread = threading.Thread(target=save)
            thread.start()
            try:
                for number in range(20):
                    model.enrol("second", [photo] * (2 + number % 2))
                    model.forget("second")
            finally:
                stop.set()
                thread.join()
            model.save_enrolled(file)
            self.assertTrue(saved)
            self.assertEqual(pickle.loads(pickle.dumps(model)).enrolled, ["first"])

    def test_a_process_that_forks_while_threads_enrol_goes_on(self):
        model, photo, stop = oltr.Model(), PHOTO.read_bytes(), threading.Event()

        def work():
            while not stop.is_set():
                model.enrol("moth", [photo, photo])

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    # A lock that was taken by a thread of the other process would never be given back.
                    signal.alarm(20)
                    model.enrolled
                    os._exit(0)
                self.assertEqual(os.waitpid(child, 0)[1], 0)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_the_interpreter_runs_meanwhile(self):
        model, ran, gate = oltr.Model(), [], threading.Lock()
        gate.acquire()
        thread = threading.Thread(target=lambda: ran.append(gate.acquire()))
        thread.start()
        interval = sys.getswitchinterval()
        # So long that the thread runs only where the lock of the interpreter is given up.
        sys.setswitchinterval(100)
        try:
            gate.release()
            for _ in range(20):
                if not ran:
                    model.classify(PHOTO)
            self.assertTrue(ran)
        finally:
            sys.setswitchinterval(interval)
            thread.join()

    def test_a_session_is_of_one_thread_at_a_time(self):
        session, errors, started = oltr.Model().session(), [], threading.Barrier(4)

        def work():
            started.wait()
            for _ in range(5):
                try:
                    session.classify(PHOTO)
                except oltr.BusyError as error:
                    errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(errors)
        self.assertEqual(session.classify(PHOTO).label, "cup")

    def test_a_forked_process_classifies(self):
        for threads in (1, 2):
            model = oltr.Model(threads=threads)
            session = model.session()
            expected = model.classify(PHOTO)
            session.classify(PHOTO)
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = int(not (model.classify(PHOTO) == expected == session.classify(PHOTO)))
                    session.close()
                    del model, session
                finally:
                    os._exit(code)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertEqual(session.classify(PHOTO), expected)

    def test_answers_and_models_go_to_other_processes(self):
        model = oltr.Model()
        answer = model.classify(PHOTO)
        self.assertEqual(pickle.loads(pickle.dumps(answer)), answer)
        self.assertEqual(copy.deepcopy(answer), answer)
        there = pickle.loads(pickle.dumps(model))
        self.assertEqual((there.sha256, there.classify(PHOTO)), (model.sha256, answer))

    def test_import_needs_nothing_else(self):
        code = ("import sys, oltr; assert not {'numpy', 'PIL'} & set(sys.modules); "
                "sys.modules['numpy'] = None; out = oltr.Model().run(sys.argv[1]); "
                "assert all(isinstance(v, list) for v in out.values()); print(len(out['logits']))")
        run = subprocess.run([sys.executable, "-c", code, str(PHOTO)], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertGreater(int(run.stdout), 1)


class Memory(unittest.TestCase):
    def test_ten_thousand_calls_take_no_more(self):
        model = oltr.Model()
        session = model.session()
        # What is refused returns at once: ten thousand of these, and some photos of each kind.
        small, photo = pixels(40, 60), PHOTO.read_bytes()

        def calls(many):
            for number in range(many):
                try:
                    model.classify(b"no picture" if number % 2 else "no/such.jpg")
                except oltr.Error:
                    pass
            for _ in range(many // 250):
                model.classify(small)
                session.run(small)
                model.classify(photo)

        calls(2500)
        before = resident()
        calls(10_000)
        self.assertLess(resident() - before, 2 << 20)


if __name__ == "__main__":
    unittest.main()
