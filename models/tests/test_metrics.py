"""Metrics on examples small enough to count by hand."""

import unittest

import numpy as np

from oltr_models import metrics
from oltr_models.discriminant import class_means, whitening
from oltr_models.evaluation import Answers, figures


class MetricsTest(unittest.TestCase):
    def test_shot_groups_at_their_edges(self):
        self.assertEqual([metrics.shot_group(n) for n in (100, 99, 21, 20)], ["many", "medium", "medium", "few"])

    def test_closed_set_averages_over_classes_then_groups(self):
        truth = np.array([0, 0, 0, 0, 1, 2, 2])
        predicted = np.array([0, 0, 0, 1, 1, 2, 0])
        got = metrics.closed_set(predicted, truth, [100, 20, 5])
        self.assertAlmostEqual(got["top1"], 5 / 7)
        self.assertAlmostEqual(got["macro"], (0.75 + 1 + 0.5) / 3)
        self.assertAlmostEqual(got["few"], 0.75)
        self.assertNotIn("medium", got)

    def test_auroc_counts_ties_half(self):
        self.assertEqual(metrics.auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])), 1.0)
        self.assertEqual(metrics.auroc(np.array([0.0, 1.0]), np.array([2.0, 3.0])), 0.0)
        self.assertAlmostEqual(metrics.auroc(np.array([1.0, 2.0]), np.array([1.0, 0.0])), 3.5 / 4)

    def test_threshold_accepts_at_least_the_share(self):
        scores = np.arange(20.0)
        threshold = metrics.threshold_accepting(scores, 0.95)
        self.assertEqual(threshold, 1.0)
        self.assertEqual((scores >= threshold).mean(), 0.95)
        self.assertEqual(metrics.threshold_accepting(np.arange(10.0), 0.95), 0.0)  # nine of ten are too few

    def test_fpr_and_f_measure(self):
        self.assertEqual(metrics.fpr_at(np.arange(20.0), np.array([0.0, 0.5, 1.0, 9.0])), 0.5)
        # precision 6/8, recall 6/9
        self.assertAlmostEqual(metrics.f_measure(6, 2, 3), 2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))
        self.assertEqual(metrics.f_measure(0, 2, 3), 0.0)

    def test_oscr_is_accuracy_where_scores_separate(self):
        known, unknown = np.array([5.0, 4.0, 3.0, 2.0]), np.array([1.0, 0.0])
        self.assertAlmostEqual(metrics.oscr(known, np.array([True, True, True, False]), unknown), 0.75)

    def test_figures_call_an_unreachable_known_photo_wrong(self):
        logits = np.eye(2)[[0, 1, 1]]
        known = Answers(logits, np.array([[1.0, 9.0], [9.0, 1.0], [9.0, 5.0]]))
        unknown = Answers(logits[:2], np.array([[4.0, 9.0], [9.0, 20.0]]))
        got = figures(known, np.array([0, 1, 1]), unknown, [100, 5], threshold=2.2)
        self.assertEqual(got["closed"]["top1"], 1.0)
        self.assertAlmostEqual(got["open_set"]["top1"], 2 / 3)
        self.assertAlmostEqual(got["open_set"]["known_called_open"], 1 / 3)
        self.assertAlmostEqual(got["open_set"]["open_called_known"], 1 / 2)
        self.assertAlmostEqual(got["open_set"]["f_measure"], 2 / 3)


class DiscriminantTest(unittest.TestCase):
    def test_within_class_scatter_becomes_round(self):
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(4), 500)
        features = rng.standard_normal((4, 6))[labels] * 5 + rng.standard_normal((2000, 6)) @ rng.standard_normal((6, 6))
        weight, bias = whitening(features, labels, dim=6, shrinkage=0.0)
        z = features @ weight.T + bias
        scatter = z - class_means(z, labels)[labels]
        np.testing.assert_allclose(scatter.T @ scatter / len(z), np.eye(6), atol=1e-3)

    def test_first_directions_tell_the_classes_apart(self):
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(3), 50)
        features = rng.standard_normal((150, 10))
        features[:, 7] += 8 * labels
        weight, bias = whitening(features, labels, dim=5, shrinkage=0.1)
        means = class_means(features @ weight.T + bias, labels)
        spread = means.std(0)
        self.assertGreater(spread[0], 5 * spread[2:].max())
        np.testing.assert_allclose(means.mean(0), 0, atol=1e-3)


if __name__ == "__main__":
    unittest.main()
