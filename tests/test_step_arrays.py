"""How fitted steps become arrays, and arrays fitted steps."""

import numpy as np
import pytest
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from resnet_kmeans.clustering.recipe import new_reducer
from resnet_kmeans.clustering.step_arrays import from_arrays, new_fitted_kmeans, to_arrays
from resnet_kmeans.exceptions import ModelFileError


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    groups = random.gamma(0.5, size=(4, 100))
    return (groups[np.arange(200) % 4] + random.gamma(0.3, size=(200, 100))).astype(np.float32)


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
