"""The mean of two trainings."""

import copy
import unittest

import torch

from oltr_models.average import average
from oltr_models.checkpoint import Checkpoint
from oltr_models.data import Preprocess
from oltr_models.network import Architecture, Oltr


def checkpoint(seed: int, **changes) -> Checkpoint:
    """A network with random weights for three classes."""
    torch.manual_seed(seed)
    values = {"preprocess": Preprocess(64), "classes": ["a", "b", "c"]} | changes
    return Checkpoint(Oltr(Architecture(64, 3, 8)), values["preprocess"], values["classes"], [3, 2, 1], {"seed": seed})


class AverageTest(unittest.TestCase):
    def test_every_tensor_is_the_weighted_mean(self):
        first, second = checkpoint(1), checkpoint(2)
        a, b = first.net.state_dict(), copy.deepcopy(second.net.state_dict())
        mean = average(first, second, 0.75)
        self.assertEqual(mean.options, {"seed": 2})
        for name, value in mean.net.state_dict().items():
            torch.testing.assert_close(value, 0.25 * a[name] + 0.75 * b[name], msg=name)

    def test_refuses_what_has_no_mean(self):
        for other in (checkpoint(2, classes=["a", "b", "d"]), checkpoint(2, preprocess=Preprocess(64, "pad"))):
            with self.assertRaisesRegex(ValueError, "differ in architecture, classes or preprocessing"):
                average(checkpoint(1), other, 0.5)
        with self.assertRaisesRegex(ValueError, "--share 1.5: .* from 0 to 1"):
            average(checkpoint(1), checkpoint(2), 1.5)


if __name__ == "__main__":
    unittest.main()
