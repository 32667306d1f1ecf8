"""The number of clusters is chosen by modularity, over features that are computed once."""

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from resnet_kmeans import (
    ClusterDiscriminantAnalysis,
    ImageFolderClusterer,
    ResNetFeaturizer,
    choose_n_clusters,
    find_images,
    modularity_scorer,
    silhouette_scorer,
)
from resnet_kmeans.exceptions import FlatCurveWarning, TooFewImagesError, UnreadableImagesWarning
from resnet_kmeans.sample_pictures import draw_pictures
from tests.numbered_images import NAMES, Noise, Numbers


@pytest.fixture
def featurizer(stand_in):
    return ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))


def pipeline_of(featurizer, *steps, n_clusters=4):
    kmeans = KMeans(n_clusters, n_init=3, random_state=0)
    return Pipeline([("images", featurizer), *steps, ("kmeans", kmeans)])


def defined_modularity(rows, labels, n_neighbors):
    """Modularity by its definition: a link counts at both of its ends, chance 1.5 times."""
    search = NearestNeighbors(n_neighbors=n_neighbors, metric="cosine").fit(rows)
    links = np.zeros((len(rows), len(rows)))
    np.add.at(links, (np.arange(len(rows))[:, None], search.kneighbors()[1]), 1)
    links += links.T
    degrees = links.sum(axis=0)
    chance = 1.5 * np.outer(degrees, degrees) / degrees.sum()
    same = np.equal.outer(labels, labels)
    return ((links - chance) * same).sum() / degrees.sum()


# Scorers


class Given(ClusterMixin, BaseEstimator):
    """Gives rows the labels that it was told."""

    def __init__(self, labels):
        self.labels = labels

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.asarray(self.labels)


def score(scorer, rows, labels):
    """The score of rows, which stand for their own features, with given labels."""
    pipeline = Pipeline([("rows", FunctionTransformer()), ("labels", Given(labels))])
    return scorer(pipeline.fit(rows), rows)


# Two directions with four rows each, so the three nearest of a row are the others of its four.
FOURS = np.repeat(np.eye(2), 4, axis=0) + np.random.default_rng(0).normal(0, 0.01, (8, 2))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # All links inside, a half of all ends in each cluster.
        ([0, 0, 0, 0, 1, 1, 1, 1], 1 - 1.5 * (1 / 4 + 1 / 4)),
        ([7, 7, 7, 7, -1, -1, -1, -1], 1 - 1.5 * (1 / 4 + 1 / 4)),  # noise is a cluster as others
        # A link in three stays inside pairs, of which each has a quarter of the ends.
        ([0, 0, 1, 1, 2, 2, 3, 3], 1 / 3 - 1.5 * 4 / 16),
        ([0, 0, 1, 1, 0, 0, 1, 1], 1 / 3 - 1.5 * 2 / 4),
        ([0, 1, 2, 3, 4, 5, 6, 7], -1.5 * 8 / 64),
        ([0] * 8, -1),  # not defined
    ],
)
def test_modularity_of_two_groups_of_four_is_what_is_computed_by_hand(labels, expected):
    assert score(modularity_scorer, FOURS, labels) == pytest.approx(expected)


@pytest.mark.parametrize("n_rows", [5, 60, 700])
def test_modularity_is_that_of_newman_and_girvan_on_three_neighbors(n_rows):
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(n_rows, 5)), random.integers(0, 3, n_rows)
    expected = defined_modularity(rows, labels, 3)
    assert score(modularity_scorer, rows, labels) == pytest.approx(expected)
    assert score(modularity_scorer, 9 * rows, labels) == pytest.approx(expected)  # by direction
    assert score(modularity_scorer, rows.astype(np.float32), labels) == pytest.approx(expected)


def test_modularity_of_three_rows_counts_all_others_as_neighbors():
    assert score(modularity_scorer, np.eye(3), [0, 0, 1]) == pytest.approx(
        1 / 3 - 1.5 * (4 / 9 + 1 / 9)
    )
    assert score(modularity_scorer, np.eye(2), [0, 1]) == -1


def test_modularity_of_equal_rows_is_defined():
    assert -1 < score(modularity_scorer, np.ones((6, 3)), [0, 0, 0, 1, 1, 1]) < 0.5


def test_silhouettes_are_those_of_scikit_learn():
    rows = np.random.default_rng(0).normal(size=(60, 3)) + np.arange(60)[:, None] % 3 * 9
    labels = np.arange(60) % 3
    expected = silhouette_score(rows, labels)
    assert score(silhouette_scorer, rows, labels) == pytest.approx(expected)
    assert score(silhouette_scorer, rows, np.arange(60)) == -1  # not defined


@pytest.mark.parametrize("scorer", [modularity_scorer, silhouette_scorer])
def test_scorers_return_minus_one_for_one_label_or_one_image(scorer):
    clusterer = ImageFolderClusterer(1, featurizer=Numbers())
    for estimator in (pipeline_of(Numbers(), n_clusters=1), clusterer):
        estimator.fit(NAMES)
        assert scorer(estimator, NAMES) == -1
        assert scorer(estimator, NAMES[:1]) == -1
    assert clusterer.score(NAMES) == -1


def test_scorers_and_score_agree_in_the_space_of_the_features(featurizer, pictures):
    paths = find_images(pictures)
    clusterer = ImageFolderClusterer(4, featurizer=featurizer, reducer="pca", random_state=0)
    features = featurizer.fit_transform(paths)
    expected = defined_modularity(features, clusterer.fit_predict(paths), 3)
    assert clusterer.score(pictures) == pytest.approx(expected, abs=1e-6)
    assert modularity_scorer(clusterer, paths) == clusterer.score(paths)
    silhouette = silhouette_score(features, clusterer.labels_)
    assert silhouette_scorer(clusterer, paths) == pytest.approx(silhouette, abs=1e-5)


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        (silhouette_scorer, silhouette_score),
        (modularity_scorer, lambda rows, labels: defined_modularity(rows, labels, 3)),
    ],
)
def test_scorers_apply_every_step_and_leave_unreadable_images_out(scorer, expected):
    pipeline = pipeline_of(Numbers(5), ("pca", PCA(3)), n_clusters=5).fit(NAMES)
    clusterer = ImageFolderClusterer(5, featurizer=Numbers(5), reducer=PCA(3), random_state=0)
    rows = Numbers(5).transform(NAMES)
    for estimator in (pipeline, clusterer.fit(NAMES)):
        wanted = pytest.approx(expected(rows, estimator.predict(NAMES)), abs=1e-5)
        assert scorer(estimator, ["unreadable", *NAMES, "broken"]) == wanted
        assert scorer(estimator, ["unreadable"]) == -1


def test_scores_of_real_files_leave_out_what_cannot_be_read(featurizer, pictures, tmp_path):
    paths = find_images(pictures)
    clusterer = ImageFolderClusterer(6, featurizer=featurizer, random_state=0).fit(paths)
    with pytest.warns(UnreadableImagesWarning):
        found = modularity_scorer(clusterer, [*paths, tmp_path / "gone.png"])
    assert found == clusterer.score(paths)


# Grid searches


@pytest.mark.parametrize("scorer", [modularity_scorer, silhouette_scorer])
def test_a_grid_search_over_a_pipeline_finds_the_groups_with_either_scorer(scorer):
    grid = {"kmeans__n_clusters": range(2, 8)}
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(pipeline_of(Numbers(5)), grid, scoring=scorer, cv=folds)
    assert search.fit(NAMES).best_params_ == {"kmeans__n_clusters": 5}


def test_a_grid_search_finds_the_groups_with_the_default_score():
    folds = KFold(3, shuffle=True, random_state=0)
    clusterer = ImageFolderClusterer(featurizer=Numbers(5), random_state=0)
    search = GridSearchCV(clusterer, {"n_clusters": range(4, 7)}, cv=folds)
    assert search.fit(NAMES).best_params_ == {"n_clusters": 5}
    assert search.predict(NAMES[:3]).shape == (3,)


def test_a_grid_search_sets_parameters_of_the_steps(featurizer, pictures):
    clusterer = ImageFolderClusterer(featurizer=featurizer, clusterer=KMeans(random_state=0))
    grid = {
        "reducer": ["auto", None],
        "featurizer__resize": ["stretch", "crop"],
        "clusterer__n_init": [1, 2],
    }
    search = GridSearchCV(clusterer, grid, cv=2, error_score="raise").fit(find_images(pictures))
    assert len(search.cv_results_["params"]) == 8
    mixture = ImageFolderClusterer(4, featurizer=Numbers(), clusterer=GaussianMixture())
    grid = {"clusterer__covariance_type": ["full", "diag"], "n_clusters": [3, 4]}
    search = GridSearchCV(mixture, grid, cv=KFold(2, shuffle=True, random_state=0))
    assert search.fit(NAMES).best_params_["n_clusters"] == 4


@pytest.mark.slow
def test_a_grid_search_gives_the_same_result_in_several_processes(featurizer, pictures):
    paths = find_images(pictures)
    folds = KFold(2, shuffle=True, random_state=0)
    clusterer = ImageFolderClusterer(featurizer=featurizer, random_state=0)
    one, two = (
        GridSearchCV(
            clusterer, {"n_clusters": [2, 3, 4]}, cv=folds, n_jobs=n_jobs, error_score="raise"
        ).fit(paths)
        for n_jobs in (None, 2)
    )
    scores = one.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(two.cv_results_["mean_test_score"], scores)
    np.testing.assert_array_equal(two.predict(paths), one.predict(paths))


# The choice of a number


def test_finds_the_number_of_clear_groups():
    estimator = ImageFolderClusterer(featurizer=Numbers(7), random_state=0)
    choice = choose_n_clusters(NAMES, range(4, 10), estimator=estimator)
    assert choice.n_clusters == 7
    assert not choice.is_flat
    assert [score.n_clusters for score in choice.table] == list(range(4, 10))
    best = max(choice.table, key=lambda score: score.modularity)
    assert best.n_clusters == 7
    assert best.smallest_cluster == 28
    assert f"{best.modularity:.2f}" in choice.reason
    assert choose_n_clusters(NAMES, range(4, 10), estimator=estimator).table == choice.table


def test_finds_the_groups_of_a_folder(featurizer, tmp_path):
    for picture in draw_pictures(tmp_path, n_each=12):
        if "orange" in picture.name:  # too close to yellow for this network
            picture.unlink()
    estimator = ImageFolderClusterer(featurizer=featurizer, random_state=0)
    choice = choose_n_clusters(tmp_path, range(2, 12), estimator=estimator)
    assert choice.n_clusters == 5
    assert choice.table[3].smallest_cluster == 12


def test_features_are_computed_once_for_all_candidates():
    Numbers.forget()
    for estimator in (ImageFolderClusterer(featurizer=Numbers()), pipeline_of(Numbers())):
        choose_n_clusters(NAMES, range(2, 7), estimator=estimator)
    assert Numbers.seen == [NAMES, NAMES]


@pytest.mark.parametrize(
    ("estimator", "error"),
    [
        (ImageFolderClusterer(reducer="umpa"), "'reducer'"),
        (ImageFolderClusterer(unreadable="skipp"), "'unreadable'"),
        (KMeans(), "Pipeline.* KMeans"),
    ],
)
def test_invalid_estimators_raise_an_error(estimator, error):
    with pytest.raises((TypeError, ValueError), match=error):
        choose_n_clusters(NAMES, estimator=estimator)


def test_a_pipeline_takes_a_folder_and_a_clusterer_without_predict(featurizer, pictures):
    steps = [("features", featurizer), ("groups", AgglomerativeClustering())]
    choice = choose_n_clusters(pictures, range(2, 9), estimator=Pipeline(steps))
    assert [score.n_clusters for score in choice.table] == list(range(2, 9))


def test_unreadable_images_are_left_out():
    estimator = ImageFolderClusterer(featurizer=Numbers(5), random_state=0)
    for given in (pipeline_of(Numbers(5)), estimator):
        choice = choose_n_clusters(["unreadable", *NAMES[1:]], range(4, 7), estimator=given)
        assert choice.n_clusters == 5
        assert choice.table[1].smallest_cluster == 39


def test_the_given_estimator_is_not_fitted():
    pipeline = pipeline_of(Numbers(5), ("pca", PCA(3)))
    assert choose_n_clusters(NAMES, range(4, 7), estimator=pipeline).n_clusters == 5
    assert not hasattr(pipeline["pca"], "components_")
    assert pipeline["kmeans"].n_clusters == 4


def test_the_table_contains_the_scores_of_each_candidate():
    rows = Numbers(5).transform(NAMES)
    table = choose_n_clusters(NAMES, [5, 4, 5], estimator=pipeline_of(Numbers(5))).table
    assert [score.n_clusters for score in table] == [4, 5]
    for score in table:
        kmeans = KMeans(score.n_clusters, n_init=3, random_state=0).fit(rows)
        silhouettes = silhouette_samples(rows, kmeans.labels_)
        assert score.inertia == pytest.approx(kmeans.inertia_)
        assert score.silhouette == pytest.approx(silhouettes.mean())
        assert score.standard_error == pytest.approx(silhouettes.std() / len(rows) ** 0.5)
        expected = defined_modularity(rows, kmeans.labels_, 15)
        assert score.modularity == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_more_clusters_than_distinct_images_leave_some_empty():
    choice = choose_n_clusters(["0", "1", "2"] * 5, [2, 3, 6], estimator=pipeline_of(Numbers()))
    assert choice.n_clusters == 3
    assert [score.smallest_cluster for score in choice.table] == [5, 5, 0]
    assert choice.table[2].inertia == pytest.approx(0)


class Counted(ClusterDiscriminantAnalysis):
    """Counts its fits by their number of clusters."""

    fits: list[int] = []

    def fit(self, X, y=None):
        self.fits.append(self.n_clusters)
        return super().fit(X)


def test_a_reducer_with_n_clusters_is_fitted_for_each_candidate():
    Counted.fits.clear()
    pipeline = pipeline_of(Numbers(5), ("learn", Counted(random_state=0)))
    assert choose_n_clusters(NAMES, [4, 5, 6], estimator=pipeline).n_clusters == 5
    assert Counted.fits == [4, 5, 6]


def test_a_reducer_without_n_clusters_is_fitted_once():
    fits = []

    class CountedPCA(PCA):
        def fit_transform(self, X, y=None):
            fits.append(1)
            return super().fit_transform(X)

    estimator = ImageFolderClusterer(featurizer=Numbers(5), reducer=CountedPCA(3), random_state=0)
    assert choose_n_clusters(NAMES, [4, 5, 6], estimator=estimator).n_clusters == 5
    assert len(fits) == 1


def test_noise_warns_that_no_number_stands_out():
    for given in (ImageFolderClusterer(featurizer=Noise(), random_state=0), pipeline_of(Noise())):
        with pytest.warns(FlatCurveWarning, match=r"(?i)no number .*stands out") as warned:
            choice = choose_n_clusters(NAMES, range(2, 6), estimator=given)
        assert choice.is_flat
        assert warned[0].filename == __file__  # the line of the caller is shown
        with warnings.catch_warnings():  # two candidates are too few to call a curve flat
            warnings.simplefilter("error")
            assert not choose_n_clusters(NAMES, [5, 6], estimator=given).is_flat


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
    with pytest.raises(TooFewImagesError, match="2"):
        choose_n_clusters(NAMES[:2], estimator=estimator)
    with pytest.raises(TooFewImagesError, match="lower numbers"):
        choose_n_clusters(NAMES[:9], [50, 60], estimator=estimator)
    with pytest.raises(ValueError, match="2 or more"):
        choose_n_clusters(NAMES[:9], [1], estimator=estimator)


class Angles(Numbers):
    """Cheap features of very many images: three directions."""

    n_features_out_ = 2

    def transform(self, X):
        Numbers.seen.append(list(X))
        numbers = np.array(X, dtype=int)
        angles = 2 * (numbers % 3) + numbers % 997 / 9970
        return np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.mark.slow
def test_of_many_images_a_fixed_sample_of_10_000_is_used():
    names = [str(i) for i in range(10_100)]
    clusterer = ImageFolderClusterer(3, featurizer=Angles(), reducer=None, random_state=0)
    pipeline = pipeline_of(Angles())
    clusterer.fit(names)
    Numbers.forget()
    for estimator in (clusterer, pipeline):
        assert choose_n_clusters(names, [3], estimator=estimator).n_clusters == 3
    assert clusterer.score(names) > 0
    drawn = Numbers.seen[0]
    assert [*map(int, drawn)] == sorted({*map(int, drawn)})
    assert len(drawn) == 10_000
    assert Numbers.seen[1:] == [drawn, drawn]
