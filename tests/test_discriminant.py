"""A space is learnt from rows alone, the same one every time, as scikit-learn's transformers."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from resnet_kmeans import ClusterDiscriminantAnalysis


@parametrize_with_checks([ClusterDiscriminantAnalysis(3)])
@pytest.mark.filterwarnings("ignore:Skipping check")
def test_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def stretched():
    """Four groups, apart in few features, spread far along others that tell nothing."""
    random = np.random.default_rng(0)
    classes = np.arange(400) % 4
    rows = random.gamma(2.0, size=(400, 40))
    rows[:, 4:10] *= random.gamma(0.5, 4.0, size=(400, 1))
    rows[np.arange(400), classes] += 10
    return rows.astype(np.float32), classes


def clustered(rows, n_clusters):
    return KMeans(n_clusters, n_init=10, random_state=0).fit_predict(rows)


def test_groups_stay_apart_where_pca_mixes_them(stretched):
    rows, classes = stretched
    learnt = ClusterDiscriminantAnalysis(4, random_state=0).fit_transform(rows)
    assert learnt.shape == (400, 3)
    assert adjusted_mutual_info_score(classes, clustered(learnt, 4)) > 0.95
    assert adjusted_mutual_info_score(classes, clustered(PCA(3).fit_transform(rows), 4)) < 0.3


def test_clusters_of_very_different_sizes_are_found():
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [300, 60, 25])
    rows = random.gamma(2.0, size=(385, 30)) + 8 * np.eye(30)[classes]
    learnt = ClusterDiscriminantAnalysis(3, random_state=0).fit_transform(rows)
    assert adjusted_mutual_info_score(classes, clustered(learnt, 3)) > 0.9


def test_transform_is_linear_after_scaling(stretched):
    rows, _ = stretched
    fitted = ClusterDiscriminantAnalysis(4, random_state=0).fit(rows[:300])
    signed = rows * np.array([[1], [-1]], dtype=np.float32)[np.arange(400) % 2]
    roots = np.sign(signed) * np.sqrt(np.abs(signed))
    scaled = roots / np.linalg.norm(roots, axis=1, keepdims=True)
    expected = scaled @ fitted.components_.T + fitted.intercept_
    np.testing.assert_allclose(fitted.transform(signed), expected, atol=1e-4)
    assert fitted.transform(signed).dtype == np.float32
    np.testing.assert_allclose(fitted.transform(rows[:300]).mean(axis=0), 0, atol=1e-3)


def test_many_rows_are_transformed_as_each_alone(stretched):
    rows, _ = stretched
    fitted = ClusterDiscriminantAnalysis(4, random_state=0).fit(rows)
    whole = fitted.transform(np.tile(rows, (25, 1)))  # 10,000 rows
    np.testing.assert_allclose(whole, np.tile(fitted.transform(rows), (25, 1)), atol=1e-4)


def test_float64_rows_give_the_same_space(stretched):
    rows, _ = stretched
    single = ClusterDiscriminantAnalysis(4, random_state=0).fit_transform(rows)
    double = ClusterDiscriminantAnalysis(4, random_state=0).fit_transform(rows.astype(np.float64))
    assert double.dtype == np.float64
    signs = np.sign((single * double).sum(axis=0))
    np.testing.assert_allclose(double * signs, single, atol=0.05)


def test_the_same_seed_gives_the_same_map_whatever_was_fitted_before(stretched):
    rows, _ = stretched
    first = ClusterDiscriminantAnalysis(4, random_state=3).fit(rows)
    for i in range(20):  # more work than is kept in memory
        ClusterDiscriminantAnalysis(2).fit(rows[i : i + 20])
    for again in (rows, rows.copy(order="F")):
        fitted = ClusterDiscriminantAnalysis(4, random_state=3).fit(again)
        np.testing.assert_array_equal(fitted.components_, first.components_)
        np.testing.assert_array_equal(fitted.intercept_, first.intercept_)


def test_rows_changed_in_place_are_learnt_anew(stretched):
    rows = stretched[0][:120].copy()
    first = ClusterDiscriminantAnalysis(3, random_state=0).fit(rows)
    rows += np.random.default_rng(1).gamma(2.0, size=rows.shape).astype(np.float32)
    changed = ClusterDiscriminantAnalysis(3, random_state=0).fit(rows)
    alone = ClusterDiscriminantAnalysis(3, random_state=0).fit(rows.copy())
    np.testing.assert_array_equal(changed.components_, alone.components_)
    assert not np.array_equal(changed.components_, first.components_)


def test_fits_in_threads_give_the_result_of_fits_in_a_row(stretched):
    rows, _ = stretched

    def fit(n_clusters):
        fitted = ClusterDiscriminantAnalysis(n_clusters, random_state=0)
        return fitted.fit(rows[: 100 + n_clusters // 2]).components_

    given = [2, 4, 6] * 2
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fit, given))
    for components, n_clusters in zip(found, given):
        np.testing.assert_array_equal(components, fit(n_clusters))


def test_an_unpickled_map_is_the_same(stretched):
    rows, _ = stretched
    fitted = ClusterDiscriminantAnalysis(4, random_state=0).fit(rows)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(rows), fitted.transform(rows))


def test_more_rows_than_max_rows_are_sampled(stretched):
    rows, classes = stretched
    fitted = ClusterDiscriminantAnalysis(4, max_rows=200, random_state=0).fit(rows)
    again = ClusterDiscriminantAnalysis(4, max_rows=200, random_state=0).fit(rows)
    np.testing.assert_array_equal(fitted.components_, again.components_)
    whole = ClusterDiscriminantAnalysis(4, random_state=0).fit(rows)
    assert not np.array_equal(fitted.components_, whole.components_)
    assert adjusted_mutual_info_score(classes, clustered(fitted.transform(rows), 4)) > 0.9


def test_directions_are_one_less_than_clusters_and_at_most_128():
    rows = np.random.default_rng(0).gamma(1.0, size=(700, 140)).astype(np.float32)
    for n_clusters, n_directions in ((1, 1), (2, 1), (5, 4), (140, 128)):
        fitted = ClusterDiscriminantAnalysis(n_clusters, random_state=0).fit(rows)
        assert fitted.components_.shape == (n_directions, 140)
        assert fitted.components_.dtype == np.float32


def test_few_or_equal_rows_raise_no_error():
    rows = np.ones((70, 5), dtype=np.float32)
    reduced = ClusterDiscriminantAnalysis(3).fit_transform(rows)
    np.testing.assert_allclose(reduced, reduced[:1].repeat(70, axis=0))
    few = np.random.default_rng(0).gamma(1.0, size=(3, 5))
    assert np.isfinite(ClusterDiscriminantAnalysis(8).fit_transform(few)).all()
