"""Which steps are taken by default."""

import sys

import numpy as np
import pytest
from sklearn.cluster import BisectingKMeans, FeatureAgglomeration, KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.validation import check_is_fitted

from resnet_kmeans.clustering import ClusterDiscriminantAnalysis
from resnet_kmeans.clustering.recipe import (
    MINI_BATCH_FROM,
    new_clusterer,
    new_reducer,
)


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    groups = random.gamma(0.5, size=(4, 100))
    return (groups[np.arange(200) % 4] + random.gamma(0.3, size=(200, 100))).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((200, 100), [Normalizer, PCA]),
        ((65, 65), [Normalizer, PCA]),
        ((64, 100), [Normalizer]),
        ((200, 64), [Normalizer]),
    ],
)
def test_rows_are_normalised_and_shortened_to_64_where_they_are_longer(shape, steps):
    reducer = new_reducer("pca", shape, 4, 0)
    assert [type(step) for _, step in reducer.steps] == steps
    reduced = reducer.fit_transform(np.random.default_rng(0).random(shape, dtype=np.float32))
    assert reduced.shape[1] == min(64, *shape) if PCA in steps else shape[1]
    assert reduced.dtype == np.float32


@pytest.mark.parametrize(
    ("n_rows", "n_clusters", "kind"),
    [
        (99, 2, Pipeline),
        (100, 2, ClusterDiscriminantAnalysis),
        (100, 10, ClusterDiscriminantAnalysis),
        (100, 11, Pipeline),
        (1_000_000, 500, ClusterDiscriminantAnalysis),
        (1_000_000, 501, Pipeline),
        (1_000_000, None, Pipeline),
    ],
)
def test_auto_learns_a_space_from_enough_rows(n_rows, n_clusters, kind):
    assert type(new_reducer("auto", (n_rows, 100), n_clusters, 0)) is kind


def test_n_clusters_is_set_on_a_reducer_that_takes_it():
    for given in ("discriminant", ClusterDiscriminantAnalysis(9)):
        assert new_reducer(given, (20, 100), 4, 0).n_clusters == 4


def test_n_clusters_of_a_clusterer_used_as_a_reducer_is_left_alone():
    for given in (FeatureAgglomeration(3), KMeans(3)):
        assert new_reducer(given, (20, 100), 4, 0).n_clusters == 3


def test_no_reducer_leaves_rows_unchanged(rows):
    np.testing.assert_array_equal(new_reducer(None, rows.shape, 4, 0).fit_transform(rows), rows)


def test_a_given_reducer_is_cloned(rows):
    given = TruncatedSVD(3)
    reducer = new_reducer(given, rows.shape, 4, 0).fit(rows)
    assert reducer is not given
    with pytest.raises(NotFittedError):
        check_is_fitted(given)


def test_umap_has_fewer_neighbours_and_dimensions_for_few_rows():
    pytest.importorskip("umap", reason="umap-learn, the umap extra, is not installed")
    assert new_reducer("umap", (200, 100), 4, 0).get_params()["n_components"] == 10
    small = new_reducer("umap", (6, 100), 4, 0).get_params()
    assert (small["n_components"], small["n_neighbors"]) == (4, 5)


def test_without_umap_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"needs the umap extra: .*resnet-kmeans\[umap\]"):
        new_reducer("umap", (200, 100), 4, 0)


@pytest.mark.parametrize(
    ("n_rows", "kind"), [(MINI_BATCH_FROM - 1, KMeans), (MINI_BATCH_FROM, MiniBatchKMeans)]
)
def test_100_000_rows_are_clustered_by_mini_batch_kmeans(n_rows, kind):
    assert MINI_BATCH_FROM == 100_000
    clusterer = new_clusterer(None, 7, n_rows, 3)
    assert type(clusterer) is kind
    parameters = clusterer.get_params()
    assert (parameters["n_clusters"], parameters["n_init"], parameters["random_state"]) == (
        7,
        10,
        3,
    )


def test_a_given_clusterer_is_cloned_with_n_clusters():
    given = BisectingKMeans(3)
    clusterer = new_clusterer(given, 7, MINI_BATCH_FROM, 0)
    assert (type(clusterer), clusterer.n_clusters, given.n_clusters) == (BisectingKMeans, 7, 3)
