"""ImageFolderClusterer groups a folder, and knows its clusters again."""

import pickle
import shutil
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AffinityPropagation,
    AgglomerativeClustering,
    Birch,
    BisectingKMeans,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
    SpectralClustering,
)
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils import estimator_checks
from sklearn.utils._param_validation import InvalidParameterError

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images
from resnet_kmeans.sample_pictures import group_of
from resnet_kmeans.clustering.model_file import read_model, write_model
from resnet_kmeans.clustering.neighbours import modularity, nearest
from resnet_kmeans.exceptions import (
    ClusterNameError,
    ConstantFeaturesError,
    FolderNotFoundError,
    ModelFileError,
    NoImagesError,
    TooFewImagesError,
    UnreadableImagesError,
    UnreadableImagesWarning,
    WeightsMismatchError,
)
import os
TEST_ALL = bool(os.environ.get("RESNET_KMEANS_TEST_ALL"))
from tests.test_featurizer import DATA_FREE_CHECKS


class Numbers(TransformerMixin, BaseEstimator):
    """A stand-in featurizer: an image's name is its number, its row lies near a centre."""

    n_features_out_ = 100

    def __init__(self, n_groups=4):
        self.n_groups = n_groups

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        centers = np.random.default_rng(0).normal(size=(self.n_groups, 100))
        rows = [
            centers[int(x) % self.n_groups] + np.random.default_rng(int(x)).normal(size=100) / 9
            for x in X
        ]
        return np.array(rows)


NAMES = [str(i) for i in range(200)]


@pytest.fixture
def clusterer(tiny_network):
    featurizer = ResNetFeaturizer(weights=str(tiny_network), input_shape=(32, 32), preprocess="tf")
    return ImageFolderClusterer(6, featurizer=featurizer, random_state=0)


@pytest.mark.parametrize("name", DATA_FREE_CHECKS)
def test_passes_the_data_free_check(name):
    getattr(estimator_checks, name)("ImageFolderClusterer", ImageFolderClusterer())


def test_images_of_a_folder_are_grouped_by_their_content(real_featurizer, real_pictures):
    clusterer = ImageFolderClusterer(8, featurizer=real_featurizer, random_state=0)
    labels = clusterer.fit_predict(real_pictures)
    assert clusterer.image_paths_ == find_images(real_pictures)
    assert labels.shape == (48,)
    assert adjusted_rand_score([group_of(p) for p in clusterer.image_paths_], labels) > 0.9


def test_fit_sets_the_documented_attributes(clusterer, pictures):
    clusterer.fit(pictures)
    assert list(clusterer.pipeline_.named_steps) == ["featurizer", "reducer", "clusterer"]
    assert clusterer.cluster_centers_.shape == (6, 16)
    assert clusterer.inertia_ == clusterer.pipeline_["clusterer"].inertia_
    np.testing.assert_allclose((clusterer.distances_**2).sum(), clusterer.inertia_, rtol=1e-4)
    assert clusterer.unreadable_ == {}


def test_predict_returns_the_labels_of_the_fit_for_paths_and_bytes(clusterer, pictures):
    labels = clusterer.fit_predict(pictures)
    np.testing.assert_array_equal(clusterer.predict(pictures), labels)
    paths = find_images(pictures)
    np.testing.assert_array_equal(clusterer.predict(paths[::-1]), labels[::-1])
    np.testing.assert_array_equal(clusterer.predict([p.read_bytes() for p in paths]), labels)
    np.testing.assert_array_equal(clusterer.pipeline_.predict(paths), labels)


def test_the_same_seed_gives_the_same_labels(clusterer, pictures):
    labels = clusterer.fit_predict(pictures)
    np.testing.assert_array_equal(clone(clusterer).fit_predict(pictures), labels)


def test_transform_returns_the_distance_to_each_centre(clusterer, pictures):
    distances = clusterer.fit(pictures).transform(pictures)
    assert distances.shape == (24, 6)
    np.testing.assert_array_equal(distances.argmin(axis=1), clusterer.labels_)
    np.testing.assert_allclose(distances.min(axis=1), clusterer.distances_, atol=1e-3)


def test_distances_have_feature_names(clusterer, pictures):
    frame = clusterer.set_output(transform="pandas").fit(pictures).transform(pictures)
    assert list(frame.columns) == [f"imagefolderclusterer{i}" for i in range(6)]


def test_score_is_the_modularity_in_the_space_of_the_features(clusterer, pictures):
    clusterer.fit(pictures)
    features = clusterer.pipeline_["featurizer"].transform(find_images(pictures))
    expected = modularity(nearest(features, 3), clusterer.labels_, resolution=1.5)
    assert clusterer.score(pictures) == pytest.approx(expected, abs=1e-6)


def test_score_is_minus_one_for_a_single_label(clusterer, pictures):
    assert clusterer.set_params(n_clusters=1).fit(pictures).score(pictures) == -1


def test_unreadable_images_get_the_label_minus_one_and_a_reason(clusterer, pictures, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(pictures, folder)
    (folder / "blue_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.warns(UnreadableImagesWarning, match=r"(?s) \(1\):.*blue_broken\.png"):
        clusterer.fit(folder)
    bad = folder / "blue_broken.png"
    assert list(clusterer.unreadable_) == [str(bad)]
    assert clusterer.labels_[clusterer.image_paths_.index(bad)] == -1
    assert (clusterer.labels_ == -1).sum() == 1
    with pytest.warns(UnreadableImagesWarning):
        assert list(clusterer.predict([bad])) == [-1]
    with pytest.warns(UnreadableImagesWarning):
        assert np.isnan(clusterer.transform([bad])).all()


def test_equal_features_of_all_images_raise_an_error():
    clusterer = ImageFolderClusterer(4, featurizer=Numbers(n_groups=1), random_state=0)
    with pytest.raises(ConstantFeaturesError, match=r"all 5 images.*layer=NAME"):
        clusterer.fit(["7"] * 5)
    assert clusterer.set_params(n_clusters=1).fit(["7"] * 5).inertia_ == 0


def test_unreadable_images_raise_an_error_if_asked_for(clusterer, pictures, tmp_path):
    paths = [*find_images(pictures), tmp_path / "gone.png"]
    with pytest.raises(UnreadableImagesError, match=r"gone\.png: no such file"):
        clusterer.set_params(unreadable="raise").fit(paths)


def test_a_folder_of_only_unreadable_images_raises_an_error_that_lists_them(clusterer, tmp_path):
    (tmp_path / "a.png").touch()
    with (
        pytest.warns(UnreadableImagesWarning),
        pytest.raises(UnreadableImagesError, match="the file is empty"),
    ):
        clusterer.fit(tmp_path)


def test_fewer_images_than_clusters_raise_an_error(clusterer, pictures):
    with pytest.raises(TooFewImagesError, match="n_clusters=6 readable images, got 5"):
        clusterer.fit(find_images(pictures)[:5])


def test_a_folder_without_images_raises_an_error(clusterer, tmp_path):
    with pytest.raises(NoImagesError, match=r"extensions .*\.jpg"):
        clusterer.fit(tmp_path)


def test_a_missing_folder_raises_an_error(clusterer, tmp_path):
    with pytest.raises(FolderNotFoundError, match="not a folder"):
        clusterer.fit(tmp_path / "gone")


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_methods_raise_an_error_before_fit(clusterer, pictures, method):
    with pytest.raises(NotFittedError):
        getattr(clusterer, method)(pictures)


def test_given_estimators_are_cloned_and_never_fitted(clusterer, pictures):
    kmeans, pca = KMeans(3, n_init=1), PCA(2)
    clusterer.set_params(clusterer=kmeans, reducer=pca).fit(pictures)
    for given in (kmeans, pca, clusterer.featurizer):
        assert not [name for name in vars(given) if name.endswith("_")]
    assert clusterer.pipeline_["clusterer"].n_clusters == 6


@pytest.mark.parametrize(
    "steps",
    [
        {"clusterer": KMeans(algorithm="none")},
        {"reducer": PCA(whiten="none")},
        {"featurizer": ResNetFeaturizer(backbone="none")},
    ],
    ids=lambda steps: next(iter(steps)),
)
def test_parameters_of_given_estimators_are_validated(steps):
    clusterer = ImageFolderClusterer(4, **{"featurizer": Numbers(), **steps})
    with pytest.raises(InvalidParameterError, match="'none'"):
        clusterer.fit(NAMES)


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
    kept = {"featurizer": Numbers(), "reducer": "pca", "random_state": 0}
    clusterer = ImageFolderClusterer(4, clusterer=given, **kept)
    labels = clusterer.fit_predict(NAMES)
    assert adjusted_rand_score([int(n) % 4 for n in NAMES], labels) > 0.9
    np.testing.assert_array_equal(clusterer.predict(NAMES), labels)
    new = [str(i) for i in range(300, 340)]
    assert adjusted_rand_score([int(n) % 4 for n in new], clusterer.predict(new)) > 0.9
    n_found = labels.max() + 1
    assert len(clusterer.cluster_centers_) == n_found
    assert clusterer.cluster_centers_.dtype == np.float32
    assert clusterer.transform(new).shape == (40, n_found)
    assert len(clusterer.cluster_names_) == n_found
    assert clusterer.unreadable_ == {}
    assert clusterer.inertia_ > 0
    np.testing.assert_array_equal(np.isnan(clusterer.distances_), labels < 0)


@pytest.mark.parametrize(
    "given", [GaussianMixture(2), AgglomerativeClustering(2), SpectralClustering(2), Birch()]
)
def test_n_clusters_is_set_on_clusterers_that_take_a_number(given):
    clusterer = ImageFolderClusterer(3, featurizer=Numbers(3), reducer="pca", clusterer=given)
    assert set(clusterer.fit_predict(NAMES[:60])) == {0, 1, 2}
    with pytest.raises(TooFewImagesError):
        clusterer.fit(NAMES[:2])


def test_n_clusters_is_ignored_if_the_clusterer_finds_the_number():
    clusterer = ImageFolderClusterer(99, featurizer=Numbers(2), clusterer=DBSCAN(eps=0.4))
    assert len(clusterer.fit(NAMES[:40]).cluster_centers_) == 2


class NumbersAndNoise(Numbers):
    """Numbers from 1000 on lie far from all centres and from each other."""

    def transform(self, X):
        rows = super().transform(X)
        for row, x in zip(rows, map(int, X)):
            if x >= 1000:
                row[:] = 0
                row[x % 100] = 100
        return rows


def test_noise_has_a_label_of_its_own():
    clusterer = ImageFolderClusterer(
        4, featurizer=NumbersAndNoise(), reducer=None, clusterer=HDBSCAN(40, copy=True)
    )
    far = [str(i) for i in range(1000, 1030)]
    labels = clusterer.fit_predict([*NAMES, *far])
    assert set(labels[200:]) == {-2}
    assert clusterer.unreadable_ == {}
    assert np.isnan(clusterer.distances_[200:]).all()
    assert clusterer.predict(["1000", "0"]).tolist() == [-2, labels[0]]
    assert np.isfinite(clusterer.transform(["1000"])).all()
    assert clusterer.score([*NAMES, *far]) > 0


def test_new_images_near_noise_are_noise():
    clusterer = ImageFolderClusterer(
        4, featurizer=NumbersAndNoise(), reducer=None, clusterer=DBSCAN(eps=2.5, min_samples=5)
    )
    labels = clusterer.fit_predict([*NAMES, *["1000"] * 2])
    assert labels[0] >= 0
    assert labels[-1] == -2
    assert clusterer.predict(["1000"]).tolist() == [-2]


def test_all_images_may_be_noise():
    clusterer = ImageFolderClusterer(featurizer=Numbers(), clusterer=DBSCAN(eps=1e-6))
    assert set(clusterer.fit_predict(NAMES)) == {-2}
    assert clusterer.cluster_names_ == []
    assert clusterer.transform(NAMES).shape == (200, 0)
    assert set(clusterer.predict(NAMES)) == {-2}
    assert clusterer.inertia_ == 0


@pytest.mark.parametrize(
    "given", [None, GaussianMixture(random_state=0)], ids=["KMeans", "mixture"]
)
def test_auto_finds_the_number_of_clusters(given):
    clusterer = ImageFolderClusterer("auto", featurizer=Numbers(), clusterer=given, random_state=0)
    labels = clusterer.fit_predict(NAMES[:80])
    assert adjusted_rand_score([int(n) % 4 for n in NAMES[:80]], labels) == 1
    assert clusterer.n_clusters == "auto"
    assert clusterer.cluster_names_ == [f"cluster_{i}" for i in range(4)]


def test_auto_chooses_no_number_if_the_clusterer_finds_it(monkeypatch):
    monkeypatch.setattr(ImageFolderClusterer, "_choose", None)
    clusterer = ImageFolderClusterer("auto", featurizer=Numbers(2), clusterer=DBSCAN(eps=0.4))
    assert set(clusterer.fit_predict(NAMES[:40])) == {0, 1}


def test_grid_search_sets_n_components_of_a_mixture():
    clusterer = ImageFolderClusterer(4, featurizer=Numbers(), clusterer=GaussianMixture())
    grid = {"clusterer__covariance_type": ["full", "diag"], "n_clusters": [3, 4]}
    search = GridSearchCV(clusterer, grid, cv=KFold(2, shuffle=True, random_state=0))
    assert search.fit(NAMES).best_params_["n_clusters"] == 4


def test_a_grid_search_gives_the_same_result_in_several_processes(clusterer, pictures):
    paths = find_images(pictures)
    folds = KFold(2, shuffle=True, random_state=0)
    grid = {"n_clusters": [2, 3, 4]}
    one, two = (
        GridSearchCV(clusterer, grid, cv=folds, n_jobs=n_jobs, error_score="raise").fit(paths)
        for n_jobs in (None, 2)
    )
    scores = one.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(two.cv_results_["mean_test_score"], scores)
    np.testing.assert_array_equal(two.predict(paths), one.predict(paths))


@pytest.mark.skipif(
    not TEST_ALL,
    reason="umap-learn compiles itself for 15 seconds; RESNET_KMEANS_TEST_ALL is not set",
)
def test_predict_works_with_umap():
    pytest.importorskip("umap", reason="the umap extra is not installed")
    clusterer = ImageFolderClusterer(4, featurizer=Numbers(), reducer="umap")
    labels = clusterer.fit_predict(NAMES)
    assert adjusted_rand_score([int(n) % 4 for n in NAMES], labels) > 0.9
    np.testing.assert_array_equal(clusterer.predict(NAMES), labels)


def test_rows_beyond_working_memory_are_reduced_in_blocks_with_the_same_labels():
    clusterer = ImageFolderClusterer(4, featurizer=Numbers(), random_state=0)
    whole = clusterer.fit_predict(NAMES)
    with config_context(working_memory=0.04):  # 104 rows of 100 float32
        streamed = clone(clusterer).fit(NAMES)
    assert adjusted_rand_score(whole, streamed.labels_) == 1
    np.testing.assert_array_equal(streamed.predict(NAMES), streamed.labels_)


def test_grid_search_finds_the_number_of_clusters():
    search = GridSearchCV(
        ImageFolderClusterer(featurizer=Numbers(), random_state=0),
        {"n_clusters": range(2, 8)},
        cv=KFold(3, shuffle=True, random_state=0),
    )
    search.fit(NAMES)
    assert search.best_params_ == {"n_clusters": 4}
    assert search.predict(NAMES[:3]).shape == (3,)


def test_grid_search_sets_parameters_of_the_steps(clusterer, pictures):
    grid = {
        "reducer": ["auto", None],
        "featurizer__pooling": ["avg", "max"],
        "clusterer__n_init": [1, 2],
    }
    clusterer.set_params(clusterer=KMeans(random_state=0))
    search = GridSearchCV(clusterer, grid, cv=2, error_score="raise")
    assert len(search.fit(find_images(pictures)).cv_results_["params"]) == 8


def test_a_grid_search_runs_the_network_once_per_image(clusterer, pictures, monkeypatch):
    from resnet_kmeans.network.loading import Network

    seen = []
    call = Network.__call__
    monkeypatch.setattr(Network, "__call__", lambda s, p: seen.append(len(p)) or call(s, p))
    search = GridSearchCV(clusterer, {"n_clusters": [2, 3, 4]}, cv=3)
    search.fit(find_images(pictures))
    search.predict(find_images(pictures))
    search.score(find_images(pictures))
    assert sum(seen) == 24


def test_a_pickled_model_labels_images_in_another_process(clusterer, pictures, tmp_path):
    labels = clusterer.fit_predict(pictures)
    program = (
        "import sys, joblib\n"
        "for path in sys.argv[2:]:\n"
        "    print(*joblib.load(path).predict(sys.argv[1]), 'tensorflow' in sys.modules)\n"
    )
    run = [sys.executable, "-c", program, str(pictures)]
    for name, dump in (("pickle", pickle.dump), ("joblib", joblib.dump)):
        with open(tmp_path / name, "wb") as file:
            dump(clusterer, file)
        assert (tmp_path / name).stat().st_size < 1e6
        run.append(str(tmp_path / name))
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    # Every image is in the cache, so TensorFlow is not even imported.
    assert printed == [" ".join([*map(str, labels), "False"])] * 2


def test_a_saved_model_can_be_loaded(clusterer, pictures, tmp_path):
    labels = clusterer.fit_predict(pictures)
    clusterer.save(tmp_path / "model.safetensors")
    loaded = ImageFolderClusterer.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(pictures), labels)
    np.testing.assert_allclose(loaded.transform(pictures), clusterer.transform(pictures))
    assert loaded.get_params()["n_clusters"] == 6
    assert loaded.inertia_ == clusterer.inertia_


def test_load_accepts_a_new_path_of_the_weights(clusterer, pictures, tmp_path, tiny_network):
    moved = shutil.copy(tiny_network, tmp_path / "moved.keras")
    labels = clusterer.fit_predict(pictures)
    clusterer.save(tmp_path / "model")
    loaded = ImageFolderClusterer.load(tmp_path / "model", weights=moved)
    np.testing.assert_array_equal(loaded.predict(pictures), labels)


def test_cluster_names_can_be_set_and_are_reset_by_fit():
    clusterer = ImageFolderClusterer(11, featurizer=Numbers(), random_state=0)
    with pytest.raises(AttributeError):
        _ = clusterer.cluster_names_
    with pytest.raises(NotFittedError):
        clusterer.set_cluster_names({0: "cats"})
    names = clusterer.fit(NAMES).cluster_names_
    assert names == [*(f"cluster_0{i}" for i in range(10)), "cluster_10"]
    labels = clusterer.labels_.copy()
    assert clusterer.set_cluster_names({3: "cats", 7: "cats"}) is clusterer
    expected = [*names[:3], "cats", *names[4:7], "cats", *names[8:]]
    assert clusterer.cluster_names_ == expected
    with pytest.raises(ClusterNameError, match="con: Windows"):
        clusterer.set_cluster_names({3: "con"})
    assert clusterer.cluster_names_ == expected
    np.testing.assert_array_equal(clusterer.predict(NAMES), labels)
    assert clusterer.fit(NAMES).cluster_names_ == names
    assert not hasattr(clone(clusterer), "cluster_names_")


@pytest.mark.parametrize("way", ["load", "pickle"])
def test_files_keep_cluster_names(clusterer, pictures, tmp_path, way):
    clusterer.fit(pictures).set_cluster_names({1: "猫", 2: "dogs"})
    if way == "load":
        clusterer.save(tmp_path / "model")
        model = ImageFolderClusterer.load(tmp_path / "model")
    else:
        model = pickle.loads(pickle.dumps(clusterer))
    assert model.cluster_names_ == [
        "cluster_0",
        "猫",
        "dogs",
        "cluster_3",
        "cluster_4",
        "cluster_5",
    ]


def test_a_model_file_without_names_can_be_loaded(clusterer, pictures, tmp_path):
    clusterer.fit(pictures).save(tmp_path / "model")
    header, arrays = read_model(tmp_path / "model")
    header.pop("names")
    write_model(tmp_path / "model", header, arrays)
    names = ImageFolderClusterer.load(tmp_path / "model").cluster_names_
    assert names == [f"cluster_{i}" for i in range(6)]


@pytest.mark.parametrize("names", [["a"], ["con"] * 6, 3], ids=str)
def test_a_model_file_with_invalid_names_raises_an_error(clusterer, pictures, tmp_path, names):
    clusterer.fit(pictures).save(tmp_path / "model")
    header, arrays = read_model(tmp_path / "model")
    write_model(tmp_path / "model", {**header, "names": names}, arrays)
    with pytest.raises(ModelFileError, match="got others"):
        ImageFolderClusterer.load(tmp_path / "model")


@pytest.mark.parametrize("way", ["load", "pickle"])
def test_predict_with_another_network_raises_an_error(clusterer, pictures, tmp_path, way):
    clusterer.fit(pictures).save(tmp_path / "model")
    if way == "load":
        model = ImageFolderClusterer.load(tmp_path / "model", layer="block1_out")
    else:
        model = pickle.loads(pickle.dumps(clusterer))
        model.pipeline_["featurizer"].set_params(layer="block1_out")
    with pytest.raises(WeightsMismatchError, match="the network of the fit"):
        model.predict(pictures)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"reducer": PCA(2)}, "PCA"),
        ({"clusterer": BisectingKMeans()}, "BisectingKMeans"),
        ({"clusterer": AgglomerativeClustering()}, "AgglomerativeClustering"),
        ({"featurizer": Numbers()}, "Numbers"),
    ],
    ids=["reducer", "clusterer", "clusterer that cannot predict", "featurizer"],
)
def test_saving_custom_steps_raises_an_error_that_names_the_alternatives(
    clusterer, pictures, tmp_path, changes, name
):
    X = NAMES if "featurizer" in changes else pictures
    clusterer.set_params(**changes).fit(X)
    with pytest.raises(ModelFileError, match=rf"got {name}.*joblib\.dump"):
        clusterer.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "header",
    [{}, {"featurizer": {"input_shape": [32, 32], "unknown": 1}, "clusterer": {}}],
    ids=["empty", "unknown parameter"],
)
def test_a_model_file_with_other_contents_raises_an_error(tmp_path, header):
    write_model(tmp_path / "model", header, {"cluster_centers": np.zeros((2, 3), np.float32)})
    with pytest.raises(ModelFileError, match="got others"):
        ImageFolderClusterer.load(tmp_path / "model")


def test_a_model_file_does_not_set_the_cache_folder(clusterer, pictures, tmp_path):
    clusterer.set_params(featurizer__cache=str(tmp_path / "cache")).fit(pictures)
    clusterer.save(tmp_path / "model")
    assert ImageFolderClusterer.load(tmp_path / "model").featurizer.cache == "default"
