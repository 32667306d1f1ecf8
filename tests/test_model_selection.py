"""The number of clusters is chosen from one curve, computed over features once."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples, silhouette_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info

from resnet_kmeans import (
    ClusterDiscriminantAnalysis,
    ImageFolderClusterer,
    ResNetFeaturizer,
    choose_n_clusters,
    find_images,
    modularity_scorer,
    silhouette_scorer,
)
from resnet_kmeans.clustering import modularity_score
from resnet_kmeans.clustering.neighbours import modularity, nearest
from resnet_kmeans.exceptions import FlatCurveWarning, TooFewImagesError
from tests.test_clusterer import NAMES, Numbers


class Noise(Numbers):
    """A stand-in featurizer without any structure."""

    def transform(self, X):
        return np.stack([np.random.default_rng(int(x)).normal(size=100) for x in X])


class Unreadable(Numbers):
    """A stand-in featurizer that can read all but the first image."""

    def transform(self, X):
        rows = super().transform(X)
        rows[0] = np.nan
        return rows


@pytest.fixture
def featurizer(tiny_network):
    return ResNetFeaturizer(weights=str(tiny_network), input_shape=(32, 32), preprocess="tf")


def test_finds_the_number_of_clear_groups():
    estimator = ImageFolderClusterer(featurizer=Numbers(7), random_state=0)
    choice = choose_n_clusters(NAMES, range(2, 12), estimator=estimator)
    assert choice.n_clusters == 7
    assert [score.n_clusters for score in choice.table] == list(range(2, 12))
    best = max(choice.table, key=lambda score: score.modularity)
    assert best.n_clusters == 7
    assert best.smallest_cluster == 28
    assert f"highest modularity, {best.modularity:.2f}" in choice.reason


def test_the_default_estimator_is_the_same_at_every_call(monkeypatch):
    used = []
    monkeypatch.setattr(
        ImageFolderClusterer, "_choose", lambda self, *given: used.append(self.get_params())
    )
    choose_n_clusters("photos")
    assert used == [ImageFolderClusterer(random_state=0).get_params()]


@pytest.mark.parametrize(
    ("estimator", "error"),
    [
        (ImageFolderClusterer(reducer="umpa"), "'reducer' parameter"),
        (ImageFolderClusterer(unreadable="skipp"), "'unreadable' parameter"),
        (KMeans(), "Expected an ImageFolderClusterer or a Pipeline, got a KMeans"),
    ],
)
def test_invalid_estimators_raise_an_error(estimator, error):
    with pytest.raises((TypeError, ValueError), match=error):
        choose_n_clusters(NAMES, estimator=estimator)


def test_a_pipeline_takes_a_folder_and_a_clusterer_without_predict(featurizer, pictures):
    steps = [("features", featurizer), ("groups", AgglomerativeClustering())]
    choice = choose_n_clusters(pictures, range(2, 9), estimator=Pipeline(steps))
    assert [score.n_clusters for score in choice.table] == list(range(2, 9))


def test_a_pipeline_uses_a_sample_of_many_images(monkeypatch):
    monkeypatch.setattr("resnet_kmeans.clusterer.MAX_ROWS", 20)
    pipeline = Pipeline([("numbers", Numbers(5)), ("kmeans", KMeans(n_init=3, random_state=0))])
    choice = choose_n_clusters(NAMES[:30], [19, 20], estimator=pipeline)
    assert [score.n_clusters for score in choice.table] == [19]


def test_the_number_can_be_chosen_for_a_pipeline():
    pipeline = Pipeline([("numbers", Numbers(5)), ("kmeans", KMeans(n_init=3, random_state=0))])
    assert choose_n_clusters(NAMES, range(2, 9), estimator=pipeline).n_clusters == 5


def test_unreadable_images_are_left_out_for_a_pipeline():
    pipeline = Pipeline([("numbers", Unreadable(5)), ("kmeans", KMeans(n_init=3, random_state=0))])
    choice = choose_n_clusters(NAMES, range(2, 9), estimator=pipeline)
    assert choice.n_clusters == 5
    assert choice.table[3].smallest_cluster == 39


def test_the_given_estimator_is_not_fitted():
    pipeline = Pipeline([("numbers", Numbers(5)), ("pca", PCA(3)), ("kmeans", KMeans(4))])
    choose_n_clusters(NAMES, range(4, 7), estimator=pipeline)
    assert not hasattr(pipeline["pca"], "components_")
    assert pipeline["kmeans"].n_clusters == 4


def test_the_table_contains_inertia_and_silhouette_of_each_candidate():
    pipeline = Pipeline([("numbers", Numbers(5)), ("kmeans", KMeans(n_init=3, random_state=0))])
    rows = Numbers(5).transform(NAMES)
    table = choose_n_clusters(NAMES, [5, 4, 5], estimator=pipeline).table
    assert [score.n_clusters for score in table] == [4, 5]
    for score in table:
        kmeans = KMeans(score.n_clusters, n_init=3, random_state=0).fit(rows)
        silhouettes = silhouette_samples(rows, kmeans.labels_)
        assert score.inertia == pytest.approx(kmeans.inertia_)
        assert score.silhouette == pytest.approx(silhouettes.mean())
        assert score.standard_error == pytest.approx(silhouettes.std() / len(rows) ** 0.5)
        expected = modularity(nearest(rows, 15), kmeans.labels_, resolution=1.5)
        assert score.modularity == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_more_clusters_than_distinct_images_leave_some_empty():
    pipeline = Pipeline([("numbers", Numbers()), ("kmeans", KMeans(n_init=1, random_state=0))])
    choice = choose_n_clusters(["0", "1", "2"] * 5, [2, 3, 6], estimator=pipeline)
    assert choice.n_clusters == 3
    assert [score.smallest_cluster for score in choice.table] == [5, 5, 0]
    assert choice.table[2].inertia == pytest.approx(0)


def test_a_reducer_with_n_clusters_is_fitted_for_each_candidate(monkeypatch):
    seen = []
    reducer = ClusterDiscriminantAnalysis(random_state=0)
    monkeypatch.setattr(
        ClusterDiscriminantAnalysis,
        "fit",
        lambda self, X, y=None, fit=ClusterDiscriminantAnalysis.fit: (
            seen.append(self.n_clusters) or fit(self, X)
        ),
    )
    pipeline = Pipeline([("n", Numbers(5)), ("learn", reducer), ("k", KMeans(n_init=3))])
    assert choose_n_clusters(NAMES, [4, 5, 6], estimator=pipeline).n_clusters == 5
    assert seen == [4, 5, 6]


def test_a_reducer_without_n_clusters_is_fitted_once():
    fits = []

    class Counted(PCA):
        def fit_transform(self, X, y=None):
            fits.append(1)
            return super().fit_transform(X)

    estimator = ImageFolderClusterer(featurizer=Numbers(5), reducer=Counted(3), random_state=0)
    assert choose_n_clusters(NAMES, [4, 5, 6], estimator=estimator).n_clusters == 5
    assert len(fits) == 1


def test_few_rows_are_clustered_on_one_thread():
    seen = []

    class Watched(KMeans):
        def fit(self, X, y=None, sample_weight=None):
            seen.extend(library["num_threads"] for library in threadpool_info())
            return super().fit(X)

    estimator = ImageFolderClusterer(featurizer=Numbers(5), clusterer=Watched(n_init=1))
    choose_n_clusters(NAMES, [4, 5], estimator=estimator)
    assert set(seen) == {1}


def test_noise_warns_that_no_number_stands_out():
    estimator = ImageFolderClusterer(featurizer=Noise(), random_state=0)
    pipeline = Pipeline([("n", Noise()), ("k", KMeans(n_init=3, random_state=0))])
    for given in (estimator, pipeline):
        with pytest.warns(FlatCurveWarning, match="No number of clusters stands out") as warned:
            choice = choose_n_clusters(NAMES, range(2, 9), estimator=given)
        assert choice.is_flat
        assert warned[0].filename == __file__  # the line of the caller is shown


def test_two_candidates_never_warn_of_a_flat_curve():
    estimator = ImageFolderClusterer(featurizer=Noise(), random_state=0)
    assert not choose_n_clusters(NAMES, [5, 6], estimator=estimator).is_flat


def test_candidates_not_below_the_number_of_images_are_ignored():
    estimator = ImageFolderClusterer(featurizer=Numbers(3), random_state=0)
    choice = choose_n_clusters(NAMES[:9], estimator=estimator)
    assert [score.n_clusters for score in choice.table] == list(range(2, 9))


@pytest.mark.parametrize("n_images", [9, 18, 24])
def test_few_images_are_not_chosen_to_be_clusters_of_one(n_images):
    estimator = ImageFolderClusterer(featurizer=Numbers(3), random_state=0)
    assert choose_n_clusters(NAMES[:n_images], estimator=estimator).n_clusters == 3


def test_candidates_that_do_not_fit_the_images_raise_an_error():
    estimator = ImageFolderClusterer(featurizer=Numbers())
    with pytest.raises(TooFewImagesError, match=r"more readable images than the lowest.*got 2"):
        choose_n_clusters(NAMES[:2], estimator=estimator)
    with pytest.raises(TooFewImagesError, match="try lower numbers"):
        choose_n_clusters(NAMES[:9], [50, 60], estimator=estimator)
    with pytest.raises(ValueError, match="numbers of clusters of 2 or more, got none"):
        choose_n_clusters(NAMES[:9], [1], estimator=estimator)


def test_scorer_and_score_agree(featurizer, pictures):
    paths = find_images(pictures)
    clusterer = ImageFolderClusterer(4, featurizer=featurizer, reducer=None, random_state=0)
    pipeline = Pipeline([("f", featurizer), ("k", KMeans(4, n_init=10, random_state=0))])
    expected = clusterer.fit(paths).score(paths)
    assert modularity_scorer(pipeline.fit(paths), paths) == pytest.approx(expected)
    assert modularity_scorer(clusterer, paths) == expected
    features = featurizer.fit_transform(paths)
    assert expected == pytest.approx(modularity(nearest(features, 3), clusterer.labels_, 1.5))
    assert silhouette_scorer(clusterer, paths) == pytest.approx(
        silhouette_score(features, clusterer.labels_), abs=1e-6
    )


@pytest.mark.parametrize("scorer", [modularity_scorer, silhouette_scorer])
def test_a_grid_search_over_a_pipeline_finds_the_groups_with_either_scorer(scorer):
    pipeline = Pipeline([("numbers", Numbers(5)), ("kmeans", KMeans(n_init=3, random_state=0))])
    folds = KFold(3, shuffle=True, random_state=0)
    grid = {"kmeans__n_clusters": range(2, 8)}
    search = GridSearchCV(pipeline, grid, scoring=scorer, cv=folds)
    assert search.fit(NAMES).best_params_ == {"kmeans__n_clusters": 5}


def test_a_grid_search_finds_the_groups_with_the_default_score():
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(
        ImageFolderClusterer(featurizer=Numbers(5)), {"n_clusters": range(2, 8)}, cv=folds
    )
    assert search.fit(NAMES).best_params_ == {"n_clusters": 5}


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        (silhouette_scorer, silhouette_score),
        (modularity_scorer, lambda rows, labels: modularity(nearest(rows, 3), labels, 1.5)),
    ],
)
def test_scorers_apply_every_step_and_leave_unreadable_images_out(scorer, expected):
    steps = [("numbers", Numbers(5)), ("pca", PCA(3)), ("kmeans", KMeans(5, random_state=0))]
    pipeline = Pipeline(steps).fit(NAMES)
    rows = Numbers(5).transform(NAMES)[1:]
    labels = pipeline.predict(NAMES)[1:]
    pipeline.steps[0] = ("numbers", Unreadable(5))
    assert scorer(pipeline, NAMES) == pytest.approx(expected(rows, labels))
    assert scorer(pipeline, NAMES[:1]) == -1


@pytest.mark.parametrize("scorer", [modularity_scorer, silhouette_scorer])
def test_scorers_return_minus_one_for_one_label_or_one_row(scorer):
    pipeline = Pipeline([("numbers", Numbers()), ("kmeans", KMeans(1))]).fit(NAMES)
    assert scorer(pipeline, NAMES) == -1
    assert scorer(pipeline, NAMES[:1]) == -1


def test_noise_counts_as_a_cluster_in_the_score():
    rows, labels = np.eye(6)[[0, 0, 1, 1, 2, 2]], np.array([0, 0, 1, 1, -2, -2])
    assert modularity_score(rows, labels) == modularity_score(rows, labels % 5)
