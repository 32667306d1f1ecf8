"""ImageFolderClusterer groups a folder, says what it could not read, and knows its clusters."""

import io
import pickle
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.base import clone
from sklearn.cluster import SpectralClustering
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.utils import estimator_checks
from sklearn.utils._param_validation import InvalidParameterError

from resnet_kmeans import (
    ClusterDiscriminantAnalysis,
    ImageFolderClusterer,
    ResNetFeaturizer,
    find_images,
)
from resnet_kmeans.exceptions import (
    ClusterNameError,
    ConstantFeaturesError,
    FewerClustersWarning,
    FolderNotFoundError,
    NoImagesError,
    TooFewImagesError,
    UnreadableImagesError,
    UnreadableImagesWarning,
    WeightsMismatchError,
)
from resnet_kmeans.sample_pictures import group_of
from tests.numbered_images import NAMES, Noise, Numbers, groups_of

# parametrize_with_checks would run none of these for an estimator that takes no 2-D array.
DATA_FREE_CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_param_validation",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", ["n_clusters", "random_state"])
@pytest.mark.parametrize("kind", [ImageFolderClusterer, ClusterDiscriminantAnalysis])
def test_true_is_no_number(kind, name):
    with pytest.raises(InvalidParameterError, match=f"'{name}'.* an int in .* Got True instead"):
        kind(**{name: True}).fit(np.eye(9))


@pytest.fixture
def clusterer(stand_in):
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    return ImageFolderClusterer(6, featurizer=featurizer, random_state=0)


@pytest.fixture
def with_broken(pictures, tmp_path) -> tuple[Path, Path]:
    """A folder of pictures, and one in it that cannot be read."""
    folder = tmp_path / "photos"
    shutil.copytree(pictures, folder)
    (folder / "blue_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder, folder / "blue_broken.png"


@pytest.mark.parametrize("name", DATA_FREE_CHECKS)
def test_passes_the_data_free_check(name):
    getattr(estimator_checks, name)("ImageFolderClusterer", ImageFolderClusterer())


def test_images_of_a_folder_are_grouped_by_their_content(clusterer, pictures):
    labels = clusterer.fit_predict(pictures)
    assert clusterer.image_paths_ == find_images(pictures)
    assert adjusted_rand_score([group_of(path) for path in find_images(pictures)], labels) == 1


@pytest.mark.slow
def test_a_trained_network_groups_drawings_and_photos(real_featurizer, real_pictures):
    clusterer = ImageFolderClusterer(8, featurizer=real_featurizer, random_state=0)
    labels = clusterer.fit_predict(real_pictures)
    assert labels.shape == (48,)
    assert adjusted_rand_score([group_of(p) for p in clusterer.image_paths_], labels) > 0.9


def test_fit_sets_the_documented_attributes(clusterer, pictures):
    assert clusterer.fit(pictures) is clusterer
    assert list(clusterer.pipeline_.named_steps) == ["featurizer", "reducer", "clusterer"]
    assert (clusterer.labels_.shape, clusterer.labels_.dtype) == ((24,), np.int32)
    assert (clusterer.distances_.shape, clusterer.distances_.dtype) == ((24,), np.float32)
    assert len(clusterer.cluster_centers_) == 6
    assert clusterer.cluster_centers_.dtype == np.float32
    np.testing.assert_allclose((clusterer.distances_**2).sum(), clusterer.inertia_, rtol=1e-4)
    assert clusterer.unreadable_ == {}


def test_predict_returns_the_labels_of_the_fit_for_every_kind_of_image(clusterer, pictures):
    labels = clusterer.fit_predict(pictures)
    assert clusterer.predict(pictures).dtype == np.int32
    np.testing.assert_array_equal(clusterer.predict(pictures), labels)
    paths = find_images(pictures)
    np.testing.assert_array_equal(clusterer.predict(paths[::-1]), labels[::-1])
    np.testing.assert_array_equal(clusterer.predict([p.read_bytes() for p in paths]), labels)
    arrays = [np.array(Image.open(path)) for path in paths]
    np.testing.assert_array_equal(clusterer.predict(arrays), labels)
    np.testing.assert_array_equal(clusterer.pipeline_.predict(paths), labels)


def test_images_in_memory_are_named_by_their_places(clusterer, pictures):
    expected = clusterer.fit_predict(pictures)
    contents = [path.read_bytes() for path in find_images(pictures)]
    contents[3] = b"broken"
    with pytest.warns(UnreadableImagesWarning, match=r"X\[3\]"):
        clusterer.fit(contents)
    assert clusterer.image_paths_ == [f"X[{i}]" for i in range(24)]
    assert list(clusterer.unreadable_) == ["X[3]"]
    readable = np.arange(24) != 3
    assert adjusted_rand_score(expected[readable], clusterer.labels_[readable]) == 1


@pytest.mark.parametrize("n_images", [80, 200], ids=["few images", "enough to learn a space"])
def test_the_same_seed_gives_the_same_result(n_images):
    first = ImageFolderClusterer(4, featurizer=Numbers(), random_state=3).fit(NAMES[:n_images])
    ImageFolderClusterer(5, featurizer=Numbers(5), random_state=3).fit(NAMES)
    again = clone(first).fit(NAMES[:n_images])
    np.testing.assert_array_equal(again.labels_, first.labels_)
    np.testing.assert_array_equal(again.distances_, first.distances_)
    np.testing.assert_array_equal(again.cluster_centers_, first.cluster_centers_)


def test_fits_in_threads_give_the_result_of_fits_in_a_row():
    models = [ImageFolderClusterer(k, featurizer=Numbers(), random_state=0) for k in (3, 4)]
    given = [(model, NAMES[: 100 + 20 * i]) for i in range(3) for model in models]
    expected = [clone(model).fit_predict(names) for model, names in given]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda pair: clone(pair[0]).fit_predict(pair[1]), given)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)


def test_transform_returns_the_distance_to_each_center(clusterer, pictures):
    distances = clusterer.fit(pictures).transform(pictures)
    assert (distances.shape, distances.dtype) == ((24, 6), np.float32)
    np.testing.assert_array_equal(distances.argmin(axis=1), clusterer.labels_)
    np.testing.assert_allclose(distances.min(axis=1), clusterer.distances_, atol=1e-3)
    rows = clusterer.pipeline_[:-1].transform(find_images(pictures))
    gaps = np.linalg.norm(rows[:, None] - clusterer.cluster_centers_, axis=2)
    np.testing.assert_allclose(distances, gaps, atol=1e-3)


def test_distances_have_feature_names(clusterer, pictures):
    frame = clusterer.set_output(transform="pandas").fit(pictures).transform(pictures)
    assert list(frame.columns) == [f"imagefolderclusterer{i}" for i in range(6)]


def test_unreadable_images_get_the_label_minus_three_and_a_reason(clusterer, with_broken):
    folder, broken = with_broken
    with pytest.warns(UnreadableImagesWarning, match=r"(?s)1.*blue_broken\.png"):
        clusterer.fit(folder)
    assert list(clusterer.unreadable_) == [str(broken)]
    assert "Pillow cannot read" in clusterer.unreadable_[str(broken)]
    position = clusterer.image_paths_.index(broken)
    assert np.flatnonzero(clusterer.labels_ == -3).tolist() == [position]
    assert np.flatnonzero(np.isnan(clusterer.distances_)).tolist() == [position]
    good = [path for path in find_images(folder) if path != broken]
    groups = [group_of(path) for path in good]
    assert adjusted_rand_score(groups, np.delete(clusterer.labels_, position)) == 1


def test_unreadable_images_have_neither_cluster_nor_distances_later(clusterer, with_broken):
    folder, broken = with_broken
    good = [path for path in find_images(folder) if path != broken]
    labels = clusterer.fit_predict(good)
    with pytest.warns(UnreadableImagesWarning):
        assert clusterer.predict([good[0], broken, good[1]]).tolist() == [labels[0], -3, labels[1]]
    with pytest.warns(UnreadableImagesWarning):
        assert clusterer.predict([broken]).tolist() == [-3]
    with pytest.warns(UnreadableImagesWarning):
        distances = clusterer.transform([broken, good[0]])
    assert np.isnan(distances).all(axis=1).tolist() == [True, False]
    with pytest.warns(UnreadableImagesWarning):
        assert clusterer.transform([broken]).shape == (1, 6)


def test_unreadable_images_raise_an_error_if_asked_for(clusterer, pictures, tmp_path):
    paths = [*find_images(pictures), tmp_path / "gone.png"]
    with pytest.raises(UnreadableImagesError, match=r"gone\.png: no such file"):
        clusterer.set_params(unreadable="raise").fit(paths)


def test_a_folder_of_only_unreadable_images_raises_an_error_that_lists_them(clusterer, tmp_path):
    (tmp_path / "a.png").touch()
    with (
        pytest.warns(UnreadableImagesWarning),
        pytest.raises(UnreadableImagesError, match=r"a\.png: the file is empty"),
    ):
        clusterer.fit(tmp_path)


def test_equal_features_of_all_images_raise_an_error():
    clusterer = ImageFolderClusterer(4, featurizer=Numbers(n_groups=1), random_state=0)
    with pytest.raises(ConstantFeaturesError, match=r"5 images.*layer=NAME"):
        clusterer.fit(["7"] * 5)
    assert clusterer.set_params(n_clusters=1).fit(["7"] * 5).inertia_ == 0


def test_fewer_readable_images_than_clusters_raise_an_error(clusterer, pictures):
    with pytest.raises(TooFewImagesError, match=r"n_clusters=6 .* 5"):
        clusterer.fit(find_images(pictures)[:5])
    clusterer = ImageFolderClusterer(6, featurizer=Numbers())
    with pytest.raises(TooFewImagesError, match=r"n_clusters=6 .* 5"):
        clusterer.fit([*NAMES[:5], "unreadable", "broken"])
    assert set(clusterer.fit_predict(NAMES[:6])) == set(range(6))


@pytest.mark.parametrize("n_clusters", [7, 8, 14])
@pytest.mark.parametrize(
    "steps",
    [{"reducer": "pca"}, {"reducer": "discriminant"}, {"clusterer": SpectralClustering()}],
    ids=lambda steps: "-".join(map(str, steps.values())),
)
def test_copies_of_an_image_are_in_one_cluster(steps, n_clusters):
    names = [name for name in NAMES[:8] for _ in range(10)]
    clusterer = ImageFolderClusterer(n_clusters, featurizer=Noise(), random_state=0, **steps)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        labels = clusterer.fit_predict(names)
    fewer = [str(w.message) for w in told if w.category is FewerClustersWarning]
    assert bool(fewer) == (n_clusters == 14)
    assert all("n_clusters=14 different images, got 8" in text for text in fewer)
    of_each = labels.reshape(8, 10)
    assert (of_each == of_each[:, :1]).all()
    assert set(labels) == set(range(clusterer.n_clusters_)) == set(range(min(8, n_clusters)))
    np.testing.assert_array_equal(clusterer.predict(names), labels)
    np.testing.assert_array_equal(clusterer.predict(names[::-9]), labels[::-9])
    assert np.isfinite(clusterer.transform(names)).all()
    assert (np.diff(clusterer.distances_.reshape(8, 10)) == 0).all()


def test_copies_are_known_among_more_images_than_memory_holds():
    names = [*NAMES[:100], *NAMES[:100]]
    clusterer = ImageFolderClusterer(8, featurizer=Noise(), reducer="pca", random_state=0)
    with sklearn.config_context(working_memory=0.1):  # of 65 rows
        labels, distances = clusterer.fit_predict(names), clusterer.distances_
    np.testing.assert_array_equal(labels[100:], labels[:100])
    np.testing.assert_array_equal(distances[100:], distances[:100])


def test_a_folder_without_images_raises_an_error(clusterer, tmp_path):
    with pytest.raises(NoImagesError, match=r"\.jpg"):
        clusterer.fit(tmp_path)
    with pytest.raises(FolderNotFoundError, match="gone"):
        clusterer.fit(tmp_path / "gone")


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_methods_raise_an_error_before_fit(clusterer, pictures, method):
    with pytest.raises(NotFittedError):
        getattr(clusterer, method)(pictures)


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


@pytest.mark.parametrize("package", [pickle, joblib])
def test_a_pickled_model_is_the_same_but_without_the_network(clusterer, pictures, package):
    clusterer.fit(pictures).set_cluster_names({1: "猫", 2: "dogs"})
    file = io.BytesIO()
    package.dump(clusterer, file)
    assert file.tell() < 100_000
    file.seek(0)
    again = package.load(file)
    np.testing.assert_array_equal(again.labels_, clusterer.labels_)
    np.testing.assert_array_equal(again.predict(pictures), clusterer.labels_)
    np.testing.assert_array_equal(again.transform(pictures), clusterer.transform(pictures))
    assert again.image_paths_ == clusterer.image_paths_
    assert again.cluster_names_ == clusterer.cluster_names_


def test_a_pickled_model_refuses_another_network(clusterer, pictures):
    model = pickle.loads(pickle.dumps(clusterer.fit(pictures)))
    model.pipeline_["featurizer"].set_params(input_shape=(48, 48))
    with pytest.raises(WeightsMismatchError, match="fit"):
        model.predict(pictures)


@pytest.mark.slow
def test_a_pickled_model_labels_images_in_another_process(tiny_network, pictures, tmp_path):
    featurizer = ResNetFeaturizer(weights=tiny_network, input_shape=(32, 32), preprocess="tf")
    clusterer = ImageFolderClusterer(6, featurizer=featurizer, random_state=0)
    labels = clusterer.fit_predict(pictures)
    joblib.dump(clusterer, tmp_path / "model")
    program = (
        "import sys, joblib\n"
        "print(*joblib.load(sys.argv[1]).predict(sys.argv[2]), 'tensorflow' in sys.modules)\n"
    )
    run = [sys.executable, "-c", program, str(tmp_path / "model"), str(pictures)]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    # Every image is in the cache, so TensorFlow is not even imported.
    assert printed.split() == [*map(str, labels), "False"]


def test_groups_are_found_among_many_images_too():
    labels = ImageFolderClusterer(4, featurizer=Numbers(), random_state=0).fit_predict(NAMES)
    assert adjusted_rand_score(groups_of(NAMES), labels) == 1
