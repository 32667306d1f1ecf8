"""Which steps are taken by default; how they become arrays."""

import sys

import numpy as np
import pytest
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils.validation import check_is_fitted

from resnet_kmeans.clustering import ClusterDiscriminantAnalysis
from resnet_kmeans.clustering.recipe import (
    MINI_BATCH_FROM,
    from_arrays,
    new_clusterer,
    new_fitted_kmeans,
    new_reducer,
    to_arrays,
)
from resnet_kmeans.exceptions import ModelFileError


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


@pytest.mark.parametrize("reducer", ["discriminant", "pca", None])
@pytest.mark.parametrize("width", [100, 50])
@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_steps_are_rebuilt_from_their_arrays(rows, reducer, width, kind):
    rows = np.ascontiguousarray(rows[:, :width])
    fitted = new_reducer(reducer, rows.shape, 4, 0).fit(rows)
    reduced = fitted.transform(rows)
    clusterer = kind(4, n_init=3, random_state=0).fit(reduced)
    fitted_again, clusterer_again = from_arrays(to_arrays(fitted, clusterer))
    reduced_again = fitted_again.transform(rows)
    np.testing.assert_allclose(reduced_again, reduced, atol=1e-6)
    np.testing.assert_array_equal(
        clusterer_again.predict(reduced_again), clusterer.predict(reduced)
    )
    assert clusterer_again.inertia_ == clusterer.inertia_


@pytest.mark.parametrize(
    ("reducer", "clusterer", "name"),
    [
        (make_pipeline(Normalizer(), TruncatedSVD(2)), KMeans(2), "Pipeline"),
        (TruncatedSVD(2), KMeans(2), "TruncatedSVD"),
        (FunctionTransformer(), BisectingKMeans(2), "BisectingKMeans"),
    ],
)
def test_custom_steps_raise_an_error_that_names_them(reducer, clusterer, name):
    with pytest.raises(ModelFileError, match=rf"got {name}\. Nothing was written\. Use joblib"):
        to_arrays(reducer, clusterer)


@pytest.mark.parametrize(
    "reducer",
    [
        FunctionTransformer(np.sqrt),
        make_pipeline(Normalizer("l1")),
        make_pipeline(Normalizer(), PCA(3, whiten=True)),
    ],
)
def test_known_steps_with_other_settings_raise_an_error(rows, reducer):
    reduced = reducer.fit_transform(rows)
    with pytest.raises(ModelFileError, match="which can be saved without code, got"):
        to_arrays(reducer, KMeans(2, n_init=1).fit(reduced))


def test_kmeans_with_given_centres_predicts_the_nearest():
    centers = np.array([[0, 0], [10, 0], [0, 10]], dtype=np.float32)
    clusterer = new_fitted_kmeans(centers, 2.5)
    rows = np.array([[9, 1], [1, 8], [1, 1]], dtype=np.float32)
    assert clusterer.predict(rows).tolist() == [1, 2, 0]
    assert clusterer.inertia_ == 2.5
    np.testing.assert_array_equal(clusterer.cluster_centers_, centers)
