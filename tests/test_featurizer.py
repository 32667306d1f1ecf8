"""ResNetFeaturizer keeps scikit-learn's contract, over images instead of arrays."""

import hashlib
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import estimator_checks

from resnet_kmeans import ResNetFeaturizer, find_images
from resnet_kmeans.exceptions import (
    InvalidImagesError,
    NoImagesError,
    UnreadableImagesError,
    UnreadableImagesWarning,
    WeightsFileError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from tests.stand_in import N_FEATURES, nan_for_black, write_stand_in

# The checks of scikit-learn that need no array of numbers. parametrize_with_checks would
# run none of them for an estimator that takes no 2-D array, and stay green.
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


@pytest.fixture
def featurizer(stand_in):
    return ResNetFeaturizer(weights=stand_in)


@pytest.fixture(scope="module")
def paths(pictures):
    return find_images(pictures)


@pytest.mark.parametrize("name", DATA_FREE_CHECKS)
def test_passes_the_data_free_check(name):
    check = getattr(estimator_checks, name)
    check("ResNetFeaturizer", ResNetFeaturizer())


def test_a_row_is_what_the_network_returns_for_the_pixels_of_its_image(featurizer):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    rows = featurizer.fit_transform(list(images))
    cells = images.reshape(3, 4, 56, 4, 56, 3).mean(axis=(2, 4))
    expected = cells.transpose(0, 3, 1, 2).reshape(3, N_FEATURES) / 255
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_rows_are_in_the_order_of_the_images(featurizer, paths):
    rows = featurizer.fit_transform(paths)
    assert rows.shape == (24, N_FEATURES)
    np.testing.assert_array_equal(featurizer.transform(paths[::-1]), rows[::-1])


@pytest.mark.parametrize("batch_size", ["auto", 1, 3, 100])
def test_a_row_is_bit_identical_alone_in_any_batch_and_cached_or_not(featurizer, paths, batch_size):
    rows = featurizer.fit_transform(paths)
    uncached = clone(featurizer).set_params(cache=None, batch_size=batch_size)
    np.testing.assert_array_equal(uncached.transform(paths[5:6]), rows[5:6])
    np.testing.assert_array_equal(uncached.transform(paths[3:17]), rows[3:17])
    shuffled = np.random.default_rng(0).permutation(24)
    np.testing.assert_array_equal(uncached.transform([paths[i] for i in shuffled]), rows[shuffled])
    np.testing.assert_array_equal(featurizer.transform(paths), rows)


KINDS = {
    "tuple": tuple,
    "str": lambda paths: [str(path) for path in paths],
    "ndarray": lambda paths: np.array([str(path) for path in paths]),
    "column": lambda paths: np.array([str(path) for path in paths]).reshape(-1, 1),
    "Series": lambda paths: pd.Series([str(path) for path in paths]),
    "DataFrame": lambda paths: pd.DataFrame({"path": [str(path) for path in paths]}),
    "bytes": lambda paths: [path.read_bytes() for path in paths],
    "PIL": lambda paths: [Image.open(path) for path in paths],
    "arrays": lambda paths: [np.asarray(Image.open(path)) for path in paths],
    "4-D": lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_sequence_of_images_is_accepted(featurizer, paths, kind):
    expected = featurizer.set_params(cache=None).fit_transform(paths)
    np.testing.assert_array_equal(featurizer.transform(KINDS[kind](paths)), expected)


def test_transform_works_without_fit(featurizer, paths):
    assert featurizer.transform(paths[:2]).shape == (2, N_FEATURES)


def test_feature_names_are_known_after_fit(featurizer, paths):
    with pytest.raises(NotFittedError):
        featurizer.get_feature_names_out()
    names = featurizer.fit(paths).get_feature_names_out()
    assert list(names[:2]) == ["resnetfeaturizer0", "resnetfeaturizer1"]
    assert len(names) == featurizer.n_features_out_ == N_FEATURES


def test_set_output_gives_a_data_frame(featurizer, paths):
    frame = featurizer.set_output(transform="pandas").fit_transform(paths)
    assert list(frame.columns) == list(featurizer.get_feature_names_out())
    assert frame.shape == (24, N_FEATURES)


def test_feature_union_puts_two_featurizers_side_by_side(featurizer, paths):
    smaller = clone(featurizer).set_params(input_shape=(32, 64))
    rows = FeatureUnion([("one", featurizer), ("other", smaller)]).fit_transform(paths)
    expected = np.hstack([featurizer.transform(paths), smaller.transform(paths)])
    np.testing.assert_array_equal(rows, expected)


def test_a_plain_pipeline_with_kmeans_clusters_paths(featurizer, paths):
    pipeline = Pipeline([("f", featurizer), ("k", KMeans(2, n_init=2, random_state=0))])
    labels = pipeline.fit_predict(paths)
    np.testing.assert_array_equal(pipeline.predict(paths), labels)


def test_fit_changes_no_parameter_and_can_be_repeated(featurizer, paths):
    before = featurizer.get_params()
    first = featurizer.fit(paths).fingerprint_
    assert featurizer.fit(paths).fingerprint_ == first
    assert featurizer.get_params() == before


def test_clone_is_unfitted_with_the_same_parameters(featurizer, paths):
    copy = clone(featurizer.fit(paths))
    assert not hasattr(copy, "fingerprint_")
    assert copy.get_params() == featurizer.get_params()


def test_a_pickle_holds_no_network_and_gives_the_same_rows(featurizer, paths):
    rows = featurizer.set_params(cache=None).fit_transform(paths)
    pickled = pickle.dumps(featurizer)
    assert len(pickled) < 2000
    np.testing.assert_array_equal(pickle.loads(pickled).transform(paths), rows)


def test_another_network_than_that_of_the_fit_raises_an_error(featurizer, paths):
    fitted = featurizer.fit(paths).fingerprint_
    featurizer.set_params(resize="pad")
    with pytest.raises(WeightsMismatchError, match=rf"{fitted[:12]}.*fit again"):
        featurizer.transform(paths)


@pytest.mark.parametrize(
    "change",
    [
        *({"pooling": "max"}, {"layer": "conv1"}, {"preprocess": "torch"}, {"resize": "pad"}),
        *({"input_shape": (32, 32)}, {"precision": "int8"}),
    ],
    ids=str,
)
def test_the_fingerprint_changes_with_every_parameter_that_determines_features(
    featurizer, paths, change
):
    fingerprint = featurizer.fit(paths).fingerprint_
    assert clone(featurizer).set_params(**change).fit(paths).fingerprint_ != fingerprint


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 3}, {"precision": "float32"}, {"precision": "bfloat16"}, {"cache": None}],
    ids=str,
)
def test_the_fingerprint_does_not_depend_on_how_the_network_runs(featurizer, paths, change):
    fingerprint = featurizer.fit(paths).fingerprint_
    assert clone(featurizer).set_params(**change).fit(paths).fingerprint_ == fingerprint


def test_the_fingerprint_is_that_of_earlier_releases(featurizer, paths):
    # Model files hold it: with another one they would be refused.
    shape = "(None, 'avg', (224, 224), 'stretch', 'caffe')"
    earlier = hashlib.sha256(f"stand-in {shape}".encode()).hexdigest()
    assert featurizer.fit(paths).fingerprint_ == earlier


def test_unreadable_images_raise_one_error_that_lists_all(featurizer, paths, tmp_path):
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.png"
    empty.touch()
    text.write_text("no image")
    with pytest.raises(UnreadableImagesError) as error:
        featurizer.transform([empty, paths[0], text, tmp_path / "gone.jpg"])
    assert set(error.value.reasons) == {str(empty), str(text), str(tmp_path / "gone.jpg")}
    for part in ("empty.jpg: the file is empty", "text.png: not an image", "gone.jpg: no such"):
        assert part in str(error.value)


def test_unreadable_images_can_be_rows_of_nan(featurizer, paths, tmp_path):
    expected = featurizer.transform(paths[:2])
    featurizer.set_params(unreadable="nan")
    images = [paths[0], tmp_path / "gone.jpg", paths[1], b"no image"]
    with pytest.warns(UnreadableImagesWarning, match=r"\(2\)(?s:.*)gone\.jpg") as warned:
        rows = featurizer.transform(images)
    assert warned[0].filename == __file__
    np.testing.assert_array_equal(rows[[0, 2]], expected)
    assert np.isnan(rows[[1, 3]]).all()


def test_an_image_that_the_network_returns_nan_for_is_told_apart_from_unreadable_ones(tmp_path):
    file = write_stand_in(tmp_path / "nan.network", "divides", nan_for_black)
    black, white = (np.full((40, 40, 3), value, np.uint8) for value in (0, 255))
    featurizer = ResNetFeaturizer(weights=file, unreadable="nan")
    for _ in "12":  # a NaN is not taken from the cache either
        with pytest.warns(UnreadableImagesWarning, match=r"X\[1\]: .*returns NaN"):
            rows = featurizer.transform([white, black, black, white])
        assert np.isnan(rows).all(axis=1).tolist() == [False, True, True, False]


def test_a_single_path_raises_an_error(featurizer, paths):
    with pytest.raises(InvalidImagesError, match=r"a single str.*list"):
        featurizer.transform(str(paths[0]))


def test_an_empty_sequence_raises_an_error(featurizer):
    with pytest.raises(NoImagesError, match="empty sequence"):
        featurizer.transform([])


@pytest.mark.parametrize("shape", [(8, 32), (64,), (32, 32.5)], ids=str)
def test_an_input_shape_that_is_no_shape_or_too_small_raises_an_error(featurizer, paths, shape):
    with pytest.raises(ValueError, match=r"32 pixels, got \(.*\(224, 224\)"):
        featurizer.set_params(input_shape=shape).fit(paths)


def test_missing_weights_raise_an_error_before_anything_is_loaded(paths, tmp_path):
    for name in ("none.network", "none.keras", "none.h5"):
        featurizer = ResNetFeaturizer(weights=tmp_path / name)
        with pytest.raises(WeightsNotFoundError, match=name.replace(".", r"\.")):
            featurizer.fit(paths)


@pytest.mark.parametrize("damage", ["cut short", "empty", "flipped bit", "text"])
def test_a_damaged_compiled_network_raises_an_error_that_names_it(
    stand_in, paths, tmp_path, damage
):
    whole = stand_in.read_bytes()
    place = len(whole) // 2
    contents = {
        "cut short": whole[:-100],
        "empty": b"",
        "flipped bit": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        "text": b"nothing of the kind",
    }
    file = tmp_path / "damaged.network"
    file.write_bytes(contents[damage])
    with pytest.raises(WeightsFileError, match=r"damaged\.network"):
        ResNetFeaturizer(weights=file).fit(paths)


def test_no_progress_is_shown_if_stderr_is_not_a_terminal(featurizer, paths, capfd):
    featurizer.set_params(verbose=1).fit_transform(paths)
    assert capfd.readouterr().err.strip() == ""


def test_a_progress_bar_is_shown_while_the_network_runs_but_not_for_the_cache(
    featurizer, paths, capfd, monkeypatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich take stderr for a terminal
    featurizer.set_params(verbose=1).transform([*paths, paths[0]])
    shown = capfd.readouterr().err
    assert "Features" in shown
    assert "25/25" in shown
    featurizer.transform(paths)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [2, -1])
def test_rows_do_not_depend_on_the_number_of_processes(featurizer, paths, n_jobs):
    rows = featurizer.fit_transform(paths)
    others = clone(featurizer).set_params(n_jobs=n_jobs, cache=None).transform(paths)
    np.testing.assert_array_equal(others, rows)


@pytest.mark.slow
def test_dask_workers_give_the_same_rows(featurizer, paths):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    rows = featurizer.fit_transform(paths)
    others = clone(featurizer).set_params(n_jobs=2, cache=None)
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        np.testing.assert_array_equal(others.transform(paths), rows)
