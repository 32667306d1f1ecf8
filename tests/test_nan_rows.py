"""Rows keep their places: what cannot be read stays NaN, or gets the label -1."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import config_context
from sklearn.cluster import KMeans
from sklearn.preprocessing import FunctionTransformer

from resnet_kmeans.clustering import nan_rows

UNREADABLE = 2
ROWS = np.array([[0, 0], [3, 4], [np.nan, np.nan], [6, 8]], dtype=np.float32)
NONE = np.full((2, 3), np.nan, dtype=np.float32)
CENTERS = np.array([[0, 0], [6, 8]], dtype=np.float32)


@pytest.fixture(autouse=True, params=[1, 3, 100])
def _blocks(request, monkeypatch):
    """Blocks shorter than the rows, that do not divide them, and longer."""
    monkeypatch.setattr(nan_rows, "BLOCK_ROWS", request.param)


def test_a_row_of_nan_is_unreadable():
    assert nan_rows.is_readable(ROWS).tolist() == [True, True, False, True]


def test_all_readable_rows_are_returned_without_a_copy():
    whole = ROWS[:2]
    assert nan_rows.select_readable(whole, nan_rows.is_readable(whole)) is whole
    assert len(nan_rows.select_readable(ROWS, nan_rows.is_readable(ROWS))) == 3


def test_reducing_keeps_the_places_of_unreadable_rows():
    first_column = FunctionTransformer(lambda readable: readable[:, :1].astype(np.float64))
    reduced = nan_rows.reduce(first_column, ROWS)
    assert reduced.dtype == np.float32
    np.testing.assert_array_equal(reduced, [[0], [3], [np.nan], [6]])


def test_unreadable_rows_alone_get_the_given_width():
    assert nan_rows.reduce(None, NONE, width=5).shape == (2, 5)
    assert np.isnan(nan_rows.reduce(None, NONE)).all()


def test_reduced_rows_have_the_width_of_the_reducer():
    twice = FunctionTransformer(lambda readable: np.hstack([readable, readable]))
    reduced = nan_rows.reduce(twice, ROWS)
    np.testing.assert_array_equal(reduced, np.hstack([ROWS, ROWS]))
    np.testing.assert_array_equal(nan_rows.reduce(twice, ROWS[:2]), reduced[:2])


def test_features_are_converted_to_float32():
    doubles = FunctionTransformer(lambda sources: np.array(sources, dtype=np.float64))
    features = nan_rows.features_of(doubles, [[1, 2], [3, 4]])
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, [[1, 2], [3, 4]])


def test_unreadable_rows_get_the_label_minus_one():
    clusterer = KMeans(2, n_init=1, random_state=0).fit(np.delete(ROWS, UNREADABLE, axis=0))
    labels = nan_rows.predict(clusterer, ROWS)
    assert labels.dtype == np.int32
    assert labels[UNREADABLE] == -1
    assert labels[0] != labels[3]
    assert nan_rows.predict(clusterer, NONE[:, :2]).tolist() == [-1, -1]


def test_distances_to_all_centres_and_to_the_own_centre():
    distances = nan_rows.distances(ROWS, CENTERS)
    np.testing.assert_allclose(distances, [[0, 10], [5, 5], [np.nan, np.nan], [10, 0]])
    own = nan_rows.own_distances(ROWS, CENTERS, np.array([0, 1, -1, 1]))
    np.testing.assert_allclose(own, [0, 5, np.nan, 0])
    assert distances.dtype == own.dtype == np.float32


def test_unreadable_rows_alone_have_no_distances():
    distances = nan_rows.distances(NONE[:, :2], CENTERS)
    np.testing.assert_array_equal(distances, np.full((2, 2), np.nan))


def test_centres_are_those_of_the_clusterer():
    clusterer = SimpleNamespace(cluster_centers_=CENTERS + 1)
    np.testing.assert_array_equal(
        nan_rows.centers_of(clusterer, ROWS, np.array([0, 1, -1, 1])), CENTERS + 1
    )


def test_centres_are_means_if_the_clusterer_has_none():
    found = nan_rows.centers_of(object(), ROWS, np.array([0, 1, -1, 1]))
    np.testing.assert_allclose(found, [[0, 0], [4.5, 6]])
    np.testing.assert_allclose(found[np.array([1, 0])], [[4.5, 6], [0, 0]])  # by labels


def test_working_memory_limits_the_number_of_rows():
    with config_context(working_memory=1):
        assert nan_rows.n_in_memory(width=2048) == 64  # never less
        assert nan_rows.n_in_memory(width=16) == 2**20 // (4 * 4 * 16)


def test_a_sample_is_sorted_without_repeats_and_deterministic():
    drawn = nan_rows.sample(1000, 50, random_state=0)
    assert len(set(drawn)) == 50
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, nan_rows.sample(1000, 50, random_state=0))
    np.testing.assert_array_equal(nan_rows.sample(3, 50, random_state=0), [0, 1, 2])
