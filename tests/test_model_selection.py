"""The number of clusters is chosen by a score, over features that are computed once."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, normalize

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


def defined_score(rows, labels):
    """The difference in BIC to one Gaussian, a row and a dimension, with a doubled penalty."""
    scaled = normalize(np.copysign(np.sqrt(np.abs(rows)), rows))
    rows = PCA(min(32, len(rows) // 5), random_state=0, iterated_power=7).fit_transform(scaled)
    classes = np.unique(labels)
    covariance = sum((labels == c).mean() * np.cov(rows[labels == c].T, ddof=0) for c in classes)
    n_rows, width = rows.shape
    ridge = 1e-3 * rows.var(axis=0).mean() * np.eye(width)
    fits = [np.linalg.slogdet(c + ridge)[1] for c in (np.cov(rows.T, ddof=0), covariance)]
    penalty = 2 * (len(classes) - 1) * np.log(n_rows) / n_rows
    return ((fits[0] - fits[1]) / width - penalty) / 2


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
    clusterer = ImageFolderClusterer(1, featurizer=Numbers())  # its score has a test of its own
    for estimator in (pipeline_of(Numbers(), n_clusters=1), clusterer):
        estimator.fit(NAMES)
        assert scorer(estimator, NAMES) == -1
        assert scorer(estimator, NAMES[:1]) == -1
    assert clusterer.score(NAMES) == -1


def test_scorers_score_an_image_clusterer_in_the_space_of_the_features(featurizer, pictures):
    paths = find_images(pictures)
    clusterer = ImageFolderClusterer(4, featurizer=featurizer, reducer="pca", random_state=0)
    features = featurizer.fit_transform(paths)
    expected = defined_modularity(features, clusterer.fit_predict(paths), 3)
    assert modularity_scorer(clusterer, paths) == pytest.approx(expected, abs=1e-6)
    assert modularity_scorer(clusterer, str(pictures)) == modularity_scorer(clusterer, paths)
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
        found = clusterer.score([*paths, tmp_path / "gone.png"])
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
    best = max(choice.table, key=lambda row: row.score)
    assert best.n_clusters == 7
    assert best.smallest_cluster == 28
    assert choice.reason == f"the highest score, {best.score:.2f}"
    assert choose_n_clusters(NAMES, range(4, 10), estimator=estimator).table == choice.table


def test_finds_the_groups_of_a_folder(featurizer, tmp_path):
    for picture in draw_pictures(tmp_path, n_each=24):
        if "orange" in picture.name:  # too close to yellow for this network
            picture.unlink()
    estimator = ImageFolderClusterer(featurizer=featurizer, random_state=0)
    choice = choose_n_clusters(tmp_path, range(2, 12), estimator=estimator)
    assert choice.n_clusters == 5
    assert choice.table[3].smallest_cluster == 24


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
        assert score.score == pytest.approx(defined_score(rows, kmeans.labels_), abs=1e-6)
        assert score.smallest_cluster == np.bincount(kmeans.labels_).min()


def test_candidates_end_at_the_number_of_different_images():
    names = ["0", "1", "2"] * 5
    for candidates in ([2, 3, 6], None):
        choice = choose_n_clusters(names, candidates, estimator=pipeline_of(Numbers()))
        assert choice.n_clusters == 3
        assert [row.smallest_cluster for row in choice.table] == [5, 5]


@pytest.mark.parametrize(("n_groups", "n_images"), [(2, 100), (6, 120), (40, 800)])
def test_without_candidates_the_search_goes_as_far_as_the_score_rises(n_groups, n_images):
    names = [str(i) for i in range(n_images)]
    estimator = ImageFolderClusterer(featurizer=Numbers(n_groups), random_state=0)
    choice = choose_n_clusters(names, estimator=estimator)
    assert choice.n_clusters == n_groups
    numbers = [row.n_clusters for row in choice.table]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 2
    assert numbers[-1] < max(4 * n_groups, 17)
    assert choice.reason.endswith(f"{max(row.score for row in choice.table):.2f}")


@pytest.mark.parametrize(("candidates", "words"), [([2, 3], "more"), ([6, 7], "fewer")])
def test_a_choice_at_the_edge_of_the_candidates_says_so(candidates, words):
    estimator = ImageFolderClusterer(featurizer=Numbers(), random_state=0)
    choice = choose_n_clusters(NAMES, candidates, estimator=estimator)
    assert f"{words} clusters may be better" in choice.reason


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
        assert max(row.score for row in choice.table) < 0.005


def test_candidates_not_below_the_number_of_images_are_ignored():
    estimator = ImageFolderClusterer(featurizer=Numbers(3), random_state=0)
    choice = choose_n_clusters(NAMES[:9], estimator=estimator)
    assert [score.n_clusters for score in choice.table] == list(range(2, 9))
    choice = choose_n_clusters(NAMES[:9], [3, 9, 10], estimator=estimator)
    assert [score.n_clusters for score in choice.table] == [3]


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


@pytest.mark.parametrize("given", [5, True, "auto"])
def test_one_number_is_no_range_of_candidates(given):
    Numbers.forget()
    with pytest.raises(TypeError, match=rf"to try, got '?{given}'?\. Nothing .* range\(2, 31\)"):
        choose_n_clusters(NAMES, given, estimator=ImageFolderClusterer(featurizer=Numbers()))
    assert Numbers.seen == []


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
