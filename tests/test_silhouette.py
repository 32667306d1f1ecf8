"""Silhouettes are scikit-learn's, sampled above a bound, -1 where undefined."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from resnet_kmeans.clustering.silhouette import mean_silhouette, silhouette_sample

ROWS = np.random.default_rng(0).normal(size=(60, 3)) + np.arange(60)[:, None] % 3 * 9
LABELS = np.arange(60) % 3


def test_silhouettes_equal_those_of_scikit_learn():
    assert mean_silhouette(ROWS, LABELS) == pytest.approx(silhouette_score(ROWS, LABELS))


def test_many_rows_are_scored_on_a_fixed_sample():
    positions, silhouettes = silhouette_sample(ROWS, LABELS, max_rows=30)
    assert len(positions) == len(silhouettes) == len(set(positions)) == 30
    np.testing.assert_array_equal(positions, silhouette_sample(ROWS, LABELS, max_rows=30)[0])


@pytest.mark.parametrize("labels", [np.zeros(60, int), np.arange(60)], ids=["one", "each"])
def test_undefined_silhouettes_are_minus_one(labels):
    assert mean_silhouette(ROWS, labels) == -1


def test_the_mean_over_no_rows_is_minus_one():
    assert mean_silhouette(ROWS[:0], LABELS[:0]) == -1
