"""A space is learnt from rows alone, the same one every time, as scikit-learn's transformers."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from resnet_kmeans import ClusterDiscriminantAnalysis
from resnet_kmeans.clustering import discriminant, shared_work, spectral
from resnet_kmeans.clustering.mixture import fit_tied_mixture
from resnet_kmeans.clustering.neighbours import nearest
from resnet_kmeans.clustering.spectral import embed, spectral_labels, spectrum


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


def test_the_size_of_blocks_does_not_change_the_result(stretched, monkeypatch):
    rows, _ = stretched
    fitted = ClusterDiscriminantAnalysis(4, random_state=0).fit(rows)
    whole = fitted.transform(rows)
    monkeypatch.setattr(discriminant, "BLOCK_ROWS", 7)
    np.testing.assert_allclose(fitted.transform(rows), whole, atol=1e-5)


def test_the_same_seed_gives_the_same_map_without_shared_results(stretched, monkeypatch):
    rows, _ = stretched
    first = ClusterDiscriminantAnalysis(4, random_state=3).fit(rows)
    monkeypatch.setattr(shared_work, "_kept", type(shared_work._kept)())
    again = ClusterDiscriminantAnalysis(4, random_state=3).fit(rows)
    np.testing.assert_array_equal(first.components_, again.components_)
    np.testing.assert_array_equal(first.intercept_, again.intercept_)


def test_fits_with_different_n_clusters_share_the_first_round(stretched, monkeypatch):
    rows, _ = stretched
    calls = []
    monkeypatch.setattr(shared_work, "_kept", type(shared_work._kept)())
    monkeypatch.setattr(
        discriminant, "PCA", lambda *args, **kw: calls.append(1) or PCA(*args, **kw)
    )
    for n_clusters in (2, 3, 4, 17):  # 17 clusters need more eigenvectors
        ClusterDiscriminantAnalysis(n_clusters).fit(rows)
    assert len(calls) == 1


def test_more_rows_than_max_rows_are_sampled(stretched):
    rows, classes = stretched
    fitted = ClusterDiscriminantAnalysis(4, max_rows=200, random_state=0).fit(rows)
    assert len(discriminant.select_training_rows(rows, 200)) == 200
    alone = ClusterDiscriminantAnalysis(4, random_state=0).fit(
        discriminant.select_training_rows(rows, 200)
    )
    np.testing.assert_array_equal(fitted.components_, alone.components_)
    assert adjusted_mutual_info_score(classes, clustered(fitted.transform(rows), 4)) > 0.9


def test_directions_are_at_most_64_for_model_files_under_a_megabyte():
    rows = np.random.default_rng(0).gamma(1.0, size=(600, 100)).astype(np.float32)
    fitted = ClusterDiscriminantAnalysis(100, random_state=0).fit(rows)
    assert fitted.components_.shape == (64, 100)
    assert fitted.components_.dtype == np.float32


def test_equal_rows_raise_no_error():
    rows = np.ones((70, 5), dtype=np.float32)
    reduced = ClusterDiscriminantAnalysis(3).fit_transform(rows)
    np.testing.assert_allclose(reduced, reduced[:1].repeat(70, axis=0))


def test_the_mixture_equals_that_of_scikit_learn():
    rows, classes = make_blobs(300, 4, centers=3, cluster_std=2.5, random_state=0)
    mixture = fit_tied_mixture(rows, classes, 3)
    covariance = np.linalg.inv(mixture.whitening @ mixture.whitening.T)
    means = np.stack([rows[classes == k].mean(axis=0) for k in range(3)])
    theirs = GaussianMixture(
        3, covariance_type="tied", means_init=means, tol=1e-3, reg_covar=0.03 * rows.var()
    ).fit(rows)
    np.testing.assert_allclose(mixture.means, theirs.means_, atol=0.2)
    np.testing.assert_allclose(mixture.weights, theirs.weights_, atol=0.02)
    np.testing.assert_allclose(covariance, theirs.covariances_, atol=0.4)


def test_directions_equal_those_of_linear_discriminant_analysis():
    rows, classes = make_blobs(300, 4, centers=3, cluster_std=0.3, random_state=0)
    directions = discriminant._directions(fit_tied_mixture(rows, classes, 3))
    theirs = LinearDiscriminantAnalysis().fit(rows, classes).transform(rows)
    ours = rows @ directions
    # The same plane: each column of theirs is a combination of ours.
    fit = np.linalg.lstsq(np.column_stack([ours, np.ones(300)]), theirs, rcond=None)[0]
    error = theirs - np.column_stack([ours, np.ones(300)]) @ fit
    assert np.abs(error).max() < 0.1 * theirs.std()


def test_dense_and_sparse_solvers_give_the_same_eigenvectors(stretched, monkeypatch):
    rows, _ = stretched
    monkeypatch.setattr(spectral, "DENSE_UP_TO", 1000)
    neighbours = nearest(rows, 15)
    dense = spectrum(neighbours, 4)
    monkeypatch.setattr(spectral, "DENSE_UP_TO", 0)
    sparse = spectrum(neighbours, 4)
    signs = np.sign((dense * sparse).sum(axis=0))
    np.testing.assert_allclose(dense, sparse * signs, atol=1e-3)


def test_the_embedding_averages_neighbours_and_has_unit_length(stretched):
    neighbours = nearest(stretched[0], 15)
    vectors = spectrum(neighbours, 6)
    embedded = embed(neighbours, vectors, 3)
    mean = vectors[[0, *neighbours[0, :4]], :3].mean(axis=0)
    np.testing.assert_allclose(embedded[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_the_embedding_with_the_higher_modularity_gives_the_labels():
    group, part = np.arange(24) // 12, np.arange(24) % 2
    same_part = np.array([[i // 12 * 12 + (i + j) % 12 for j in (2, 4, 6)] for i in range(24)])
    other_part = np.arange(24)[:, None] // 12 * 12 + (np.arange(24)[:, None] + 1) % 12
    neighbours = np.column_stack([same_part, other_part])
    by_group, by_part = np.eye(2)[group], np.eye(2)[part]
    # Two dimensions show the groups; in four the parts, which links cross, weigh more.
    misled = np.column_stack([by_group, 5 * by_part])
    labels = spectral_labels(neighbours, misled, 2, neighbours, 0)
    assert adjusted_mutual_info_score(group, labels) == 1
    # As good in both: that of more dimensions.
    labels = spectral_labels(neighbours, np.column_stack([by_part, 5 * by_group]), 2, neighbours, 0)
    assert adjusted_mutual_info_score(group, labels) == 1
