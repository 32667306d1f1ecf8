"""Any reducer and clusterer of scikit-learn can be a step; those by default suit the images."""

import pickle
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AffinityPropagation,
    AgglomerativeClustering,
    Birch,
    BisectingKMeans,
    FeatureAgglomeration,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
    SpectralClustering,
)
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils._param_validation import InvalidParameterError
from threadpoolctl import threadpool_info, threadpool_limits

from resnet_kmeans import (
    ClusterDiscriminantAnalysis,
    ImageFolderClusterer,
    ResNetFeaturizer,
    choose_n_clusters,
    suggest_cluster_names,
)
from resnet_kmeans.exceptions import (
    ExtraNotInstalledError,
    IgnoredParameterWarning,
    ModelFileError,
    NetworkError,
    TooFewImagesError,
)
from tests.numbered_images import NAMES, WIDTH, Noise, Numbers, Points, groups_of


def fitted(names, n_clusters=4, **steps):
    steps = {"featurizer": Numbers(), "random_state": 0, **steps}
    return ImageFolderClusterer(n_clusters, **steps).fit(names)


# Reducers


@pytest.mark.parametrize(
    ("n_images", "n_clusters", "learns"),
    [(99, 2, False), (100, 2, True), (100, 10, True), (100, 11, False)],
)
def test_auto_learns_a_space_from_enough_images_per_cluster(n_images, n_clusters, learns):
    reducer = fitted(NAMES[:n_images], n_clusters, clusterer=KMeans(n_init=1)).pipeline_["reducer"]
    assert isinstance(reducer, ClusterDiscriminantAnalysis) == learns


def test_auto_learns_no_space_if_the_clusterer_finds_the_number():
    reducer = fitted(NAMES, clusterer=DBSCAN(eps=0.4)).pipeline_["reducer"]
    assert not isinstance(reducer, ClusterDiscriminantAnalysis)


def test_pca_looks_at_directions_of_rows_in_64_dimensions():
    assert fitted(NAMES, reducer="pca").cluster_centers_.shape == (4, 64)
    assert fitted(NAMES[:64], reducer="pca").cluster_centers_.shape == (4, WIDTH)
    reducer = fitted(NAMES, reducer="pca").pipeline_["reducer"]
    rows = Numbers().transform(NAMES[:9]).astype(np.float32)
    np.testing.assert_allclose(reducer.transform(3 * rows), reducer.transform(rows), atol=1e-5)


def test_no_reducer_clusters_the_features_as_they_are():
    rows = Numbers().transform(NAMES)
    model = fitted(NAMES, reducer=None)
    means = [rows[model.labels_ == label].mean(axis=0) for label in range(4)]
    np.testing.assert_allclose(model.cluster_centers_, means, atol=1e-4)


def test_n_clusters_is_set_on_a_reducer_that_learns_clusters():
    for given in ("discriminant", ClusterDiscriminantAnalysis(9)):
        assert fitted(NAMES[:40], reducer=given).pipeline_["reducer"].n_clusters == 4


@pytest.mark.parametrize("given", [FeatureAgglomeration(3), KMeans(3, n_init=1)])
def test_n_clusters_of_a_clusterer_used_as_a_reducer_is_left_alone(given):
    assert fitted(NAMES, reducer=given).cluster_centers_.shape == (4, 3)


def test_given_steps_are_cloned_and_never_fitted():
    steps = {"featurizer": Numbers(), "reducer": TruncatedSVD(2), "clusterer": KMeans(3, n_init=1)}
    with pytest.warns(IgnoredParameterWarning, match=r"n_clusters=4 is used.*KMeans\(n_clusters=3"):
        model = fitted(NAMES, **steps)
    for given in steps.values():
        assert not [name for name in vars(given) if name.endswith("_")]
    assert steps["clusterer"].n_clusters == 3
    assert model.pipeline_["clusterer"].n_clusters == 4


@pytest.mark.parametrize(
    "steps",
    [
        {"clusterer": KMeans(algorithm="none")},
        {"reducer": PCA(whiten="none")},
        {"featurizer": ResNetFeaturizer(pooling="none")},
    ],
    ids=lambda steps: next(iter(steps)),
)
def test_parameters_of_given_estimators_are_validated(steps):
    with pytest.raises(InvalidParameterError, match="'none'"):
        fitted(NAMES, **steps)


@pytest.mark.slow
@pytest.mark.parametrize("n_images", [200, 3, 2])
def test_umap_suits_few_images_too(n_images):
    pytest.importorskip("umap", reason="umap-learn, the umap extra, is not installed")
    names = NAMES[:n_images]
    model = fitted(names, min(4, n_images - 1), reducer="umap")
    np.testing.assert_array_equal(model.predict(names), model.labels_)
    if len(names) == 200:
        assert adjusted_rand_score(groups_of(names), model.labels_) > 0.9


@pytest.mark.slow
def test_umap_puts_copies_of_an_image_at_one_place():
    pytest.importorskip("umap", reason="umap-learn, the umap extra, is not installed")
    names = [name for name in NAMES[:8] for _ in range(10)]
    model = fitted(names, 8, reducer="umap")
    assert model.labels_.reshape(8, 10).std(axis=1).max() == 0
    np.testing.assert_array_equal(model.predict(names), model.labels_)


@pytest.mark.parametrize("n_clusters", [4, "auto"])
def test_without_umap_the_error_names_the_extra_before_an_image_is_read(monkeypatch, n_clusters):
    monkeypatch.setitem(sys.modules, "umap", None)
    Numbers.forget()
    message = r"umap-learn.* reducer='umap', is not .* Nothing was .*'resnet-kmeans\[umap\]"
    with pytest.raises(ExtraNotInstalledError, match=message):
        fitted(NAMES, n_clusters, reducer="umap")
    assert Numbers.seen == []


# Clusterers


@pytest.mark.parametrize(
    "given",
    [
        *(MiniBatchKMeans(n_init=3), BisectingKMeans(), KMeans(n_init=1), Birch(threshold=0.1)),
        *(GaussianMixture(random_state=0), AgglomerativeClustering()),
        SpectralClustering(random_state=0),
        *(DBSCAN(eps=0.4), HDBSCAN(copy=True), OPTICS(min_samples=10), MeanShift(bandwidth=0.6)),
        *(
            AgglomerativeClustering(n_clusters=None, distance_threshold=2),
            AffinityPropagation(damping=0.9),
        ),
        make_pipeline(Normalizer(), KMeans(4, n_init=1)),
    ],
    ids=lambda given: type(given).__name__,
)
def test_any_clusterer_of_scikit_learn_can_be_used(given):
    # Groups as far apart as in a learnt space make SpectralClustering warn.
    model = fitted(NAMES, clusterer=given, reducer="pca")
    labels = model.labels_
    assert adjusted_rand_score(groups_of(NAMES), labels) > 0.9
    np.testing.assert_array_equal(model.predict(NAMES), labels)
    new = [str(i) for i in range(300, 340)]
    assert adjusted_rand_score(groups_of(new), model.predict(new)) > 0.9
    n_found = labels.max() + 1
    assert len(model.cluster_centers_) == n_found
    assert model.cluster_centers_.dtype == np.float32
    assert model.transform(new).shape == (40, n_found)
    assert len(model.cluster_names_) == n_found
    assert model.unreadable_ == {}
    assert model.inertia_ > 0
    np.testing.assert_array_equal(np.isnan(model.distances_), labels < 0)


@pytest.mark.parametrize(
    "given", [GaussianMixture(3), AgglomerativeClustering(3), SpectralClustering(), Birch()]
)
def test_n_clusters_is_set_on_clusterers_that_take_a_number(given):
    steps = {"featurizer": Numbers(3), "reducer": "pca", "clusterer": given}
    assert set(fitted(NAMES[:60], 3, **steps).labels_) == {0, 1, 2}
    with pytest.raises(TooFewImagesError):
        fitted(NAMES[:2], 3, **steps)


def test_n_clusters_is_ignored_if_the_clusterer_finds_the_number():
    found = fitted(NAMES[:40], 99, featurizer=Numbers(2), clusterer=DBSCAN(eps=0.4))
    assert len(found.cluster_centers_) == 2


@pytest.mark.parametrize("given", [None, GaussianMixture(random_state=0)], ids=str)
def test_auto_finds_the_number_of_clusters(given):
    model = fitted(NAMES[:80], "auto", clusterer=given)
    assert adjusted_rand_score(groups_of(NAMES[:80]), model.labels_) == 1
    assert model.n_clusters == "auto"
    assert model.cluster_names_ == [f"cluster_{i}" for i in range(4)]


def test_auto_chooses_no_number_if_the_clusterer_finds_it():
    Numbers.forget()
    model = fitted(NAMES[:40], "auto", featurizer=Numbers(2), clusterer=DBSCAN(eps=0.4))
    assert set(model.labels_) == {0, 1}
    assert len(Numbers.seen) == 1  # features are computed for the fit alone


class Sides(TransformerMixin, BaseEstimator):
    """Cheap features of very many images: even numbers lie apart from odd ones."""

    n_features_out_ = 2

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        numbers = np.array(X, dtype=int)
        return np.column_stack([9 * (numbers % 2), numbers % 7 / 7])


@pytest.mark.slow
def test_100_000_images_are_clustered_in_mini_batches():
    names = [str(i) for i in range(100_000)]
    steps = {"featurizer": Sides(), "reducer": None}
    model = fitted(names, 2, **steps)
    assert type(model.pipeline_["clusterer"]) is MiniBatchKMeans
    assert adjusted_rand_score(groups_of(names, 2), model.labels_) == 1
    assert type(fitted(names[:-1], 2, **steps).pipeline_["clusterer"]) is KMeans
    given = fitted(names, 2, **steps, clusterer=BisectingKMeans())
    assert type(given.pipeline_["clusterer"]) is BisectingKMeans


def test_few_rows_are_clustered_on_one_thread_and_the_others_given_back():
    seen = []

    class Watched(KMeans):
        def fit(self, X, y=None, sample_weight=None):
            for library in threadpool_info():
                # Other tests load the readers of images, which K-Means does not use.
                if not any(reader in library["filepath"] for reader in ("imagecodecs", "rawpy")):
                    seen.append(library["num_threads"])
            return super().fit(X)

    with threadpool_limits(2):
        model = fitted(NAMES, clusterer=Watched(n_init=1))
        choose_n_clusters(NAMES, [4, 5], estimator=model)
        assert {library["num_threads"] for library in threadpool_info()} == {2}
    assert set(seen) == {1}
    assert len(seen) >= 3


# Noise

FAR = [str(i) for i in range(1000, 1030)]


def test_noise_has_a_label_of_its_own():
    model = fitted([*NAMES, *FAR], reducer=None, clusterer=HDBSCAN(40, copy=True))
    labels = model.labels_
    assert adjusted_rand_score(groups_of(NAMES), labels[:200]) == 1
    assert set(labels[200:]) == {-1}
    assert model.unreadable_ == {}
    assert np.isnan(model.distances_[200:]).all()
    assert model.predict(["1000", "0"]).tolist() == [-1, labels[0]]
    assert np.isfinite(model.transform(["1000"])).all()
    assert model.score([*NAMES, *FAR]) > 0


def test_noise_and_unreadable_images_are_told_apart():
    names = [*NAMES, "1000", "unreadable"]
    model = fitted(names, reducer=None, clusterer=DBSCAN(eps=2.5, min_samples=5))
    assert model.labels_[-2:].tolist() == [-1, -3]
    assert list(model.unreadable_) == ["unreadable"]
    assert model.predict(["unreadable", "1000"]).tolist() == [-3, -1]


def test_all_images_may_be_noise():
    model = fitted(NAMES, clusterer=DBSCAN(eps=1e-6))
    assert set(model.labels_) == {-1}
    assert model.cluster_names_ == []
    assert model.transform(NAMES).shape == (200, 0)
    assert set(model.predict(NAMES)) == {-1}
    assert model.inertia_ == 0


# New images of a clusterer that has no `predict`


def points_fitted(names, n_clusters, clusterer):
    given = {"featurizer": Points(), "reducer": None, "clusterer": clusterer}
    return fitted(names, n_clusters, **given)


def test_new_images_get_the_label_of_the_nearest_images_of_the_fit():
    names = [f"{x} 0" for x in (0, 1, 2, 3, 4, 20, 21, 22, 23, 24)]
    model = points_fitted(names, 2, AgglomerativeClustering())
    first, last = model.labels_[[0, -1]]
    assert model.labels_.tolist() == [first] * 5 + [last] * 5
    assert model.predict(["-3 1", "40 2", "11.4 0"]).tolist() == [first, last, first]


def test_images_of_the_fit_keep_their_labels_beside_nearer_ones_of_another():
    names = ["0", "1", "1.1", "1.2", "1.3", "9"]
    model = points_fitted(names, 2, DBSCAN(eps=0.5, min_samples=2))
    assert model.labels_.tolist() == [-1, 0, 0, 0, 0, -1]
    assert model.predict(names).tolist() == model.labels_.tolist()


def test_near_images_count_more_than_a_majority_of_far_ones():
    names = ["0", "0.1", "4", "4.1", "4.2"]
    model = points_fitted(names, 2, AgglomerativeClustering())
    first, last = model.labels_[[0, -1]]
    assert model.predict(["0.05", "2.5"]).tolist() == [first, last]


def test_new_images_can_be_predicted_from_fewer_than_five():
    model = points_fitted(["0", "1"], 1, AgglomerativeClustering())
    assert model.predict(["7", "-7", "0.5"]).tolist() == [0, 0, 0]


def test_new_images_among_noise_are_noise():
    names = [*(f"{x} 0" for x in range(5)), *["90 0"] * 3]
    model = points_fitted(names, 2, DBSCAN(eps=2, min_samples=5))
    assert model.predict(["88 0", "2 1"]).tolist() == [-1, 0]


# Several networks, several numbers


def test_two_featurizers_side_by_side_are_a_feature_union(tmp_path):
    union = FeatureUnion([("fives", Numbers(5)), ("threes", Numbers(3))])
    model = ImageFolderClusterer(15, featurizer=union, random_state=0)
    labels = model.fit_predict([*NAMES, "unreadable"])
    assert adjusted_rand_score([i % 15 for i in range(200)], labels[:200]) == 1
    assert labels[200] == -3
    again = pickle.loads(pickle.dumps(model))
    assert again.predict(["unreadable", *NAMES]).tolist() == [-3, *labels[:200]]
    assert model.score(NAMES) > 0
    assert choose_n_clusters(NAMES, [5, 15], estimator=model).n_clusters == 15
    with pytest.raises(ModelFileError, match=r"FeatureUnion.*joblib\.dump"):
        model.save(tmp_path / "model")
    with pytest.raises(NetworkError, match=r"FeatureUnion.*set_cluster_names"):
        suggest_cluster_names(model)


@pytest.mark.parametrize(
    "given", [KMeans(n_init=1), KMeans(4, n_init=1), DBSCAN(eps=0.4), Birch(n_clusters=KMeans(9))]
)
def test_a_number_that_nobody_gave_twice_is_not_warned_of(given):
    fitted(NAMES, clusterer=given)


def test_the_number_of_clusters_of_a_fit_is_known():
    assert fitted(NAMES).n_clusters_ == 4
    assert fitted(NAMES, "auto").n_clusters_ == 4
    assert fitted(NAMES[:60], clusterer=DBSCAN(eps=0.4)).n_clusters_ == 4


# The score


def test_the_score_is_that_of_the_images_of_the_fit_and_the_new_ones_together():
    found = {k: fitted(NAMES[:120], k).score(NAMES[120:]) for k in (2, 3, 4, 5, 6)}
    assert max(found, key=found.get) == 4
    assert all(0 < value < 3 for value in found.values())
    noise = fitted(NAMES[:120], 6, featurizer=Noise())
    assert -1 <= noise.score(NAMES[120:]) < 0


def test_without_new_images_or_with_one_cluster_the_score_is_the_lowest():
    assert fitted(NAMES, 1).score(NAMES) == -1
    assert fitted(NAMES).score(["unreadable"]) == -1
    assert fitted(NAMES).score(NAMES[:1]) > -1
