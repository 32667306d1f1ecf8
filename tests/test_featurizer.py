"""ResNetFeaturizer keeps scikit-learn's contract, over images instead of arrays."""

import pickle
import subprocess
import sys

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
    UntrainedWeightsWarning,
    WeightsMismatchError,
    WeightsNotFoundError,
)

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
def featurizer(tiny_network):
    return ResNetFeaturizer(weights=str(tiny_network), input_shape=(32, 32), preprocess="tf")


@pytest.fixture(scope="module")
def paths(pictures):
    return find_images(pictures)


@pytest.mark.parametrize("name", DATA_FREE_CHECKS)
def test_passes_the_data_free_check(name):
    check = getattr(estimator_checks, name)
    check("ResNetFeaturizer", ResNetFeaturizer())


def test_eleven_data_free_checks_are_named():
    assert len(set(DATA_FREE_CHECKS)) == 11


def test_transform_returns_one_float32_row_per_image_in_order(featurizer, paths):
    rows = featurizer.fit_transform(paths)
    assert rows.shape == (24, 16)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(featurizer.transform(paths[::-1]), rows[::-1])


def test_a_row_is_bit_identical_alone_in_any_batch_and_cached_or_not(featurizer, paths):
    rows = featurizer.fit_transform(paths)
    uncached = clone(featurizer).set_params(cache=None)
    np.testing.assert_array_equal(uncached.transform(paths[5:6]), rows[5:6])
    np.testing.assert_array_equal(uncached.transform(paths[3:17]), rows[3:17])
    shuffled = np.random.default_rng(0).permutation(24)
    np.testing.assert_array_equal(uncached.transform([paths[i] for i in shuffled]), rows[shuffled])


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        tuple,
        lambda paths: [str(path) for path in paths],
        lambda paths: np.array([str(path) for path in paths]),
        lambda paths: np.array([str(path) for path in paths]).reshape(-1, 1),
        lambda paths: pd.Series([str(path) for path in paths]),
        lambda paths: pd.DataFrame({"path": [str(path) for path in paths]}),
        lambda paths: [path.read_bytes() for path in paths],
        lambda paths: [Image.open(path) for path in paths],
        lambda paths: [np.asarray(Image.open(path)) for path in paths],
        lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths]),
    ],
    ids=[
        "list",
        "tuple",
        "str",
        "ndarray",
        "column",
        "Series",
        "DataFrame",
        "bytes",
        "PIL",
        "arrays",
        "4-D",
    ],
)
def test_any_sequence_of_images_is_accepted(featurizer, paths, wrap):
    expected = featurizer.fit_transform(paths)
    np.testing.assert_array_equal(featurizer.transform(wrap(paths)), expected)


def test_transform_works_without_fit(featurizer, paths):
    assert featurizer.transform(paths[:2]).shape == (2, 16)


def test_feature_names_are_known_after_fit(featurizer, paths):
    with pytest.raises(NotFittedError):
        featurizer.get_feature_names_out()
    names = featurizer.fit(paths).get_feature_names_out()
    assert list(names[:2]) == ["resnetfeaturizer0", "resnetfeaturizer1"]
    assert len(names) == featurizer.n_features_out_ == 16


def test_set_output_gives_a_data_frame(featurizer, paths):
    frame = featurizer.set_output(transform="pandas").fit_transform(paths)
    assert list(frame.columns) == list(featurizer.get_feature_names_out())
    assert frame.shape == (24, 16)


def test_feature_union_puts_two_poolings_side_by_side(featurizer, paths):
    most = clone(featurizer).set_params(pooling="max")
    rows = FeatureUnion([("avg", featurizer), ("max", most)]).fit_transform(paths)
    assert rows.shape == (24, 32)


def test_fit_changes_no_parameter_and_can_be_repeated(featurizer, paths):
    before = featurizer.get_params()
    first = featurizer.fit(paths).fingerprint_
    assert featurizer.fit(paths).fingerprint_ == first
    assert featurizer.get_params() == before


def test_clone_is_unfitted_with_the_same_parameters(featurizer, paths):
    copy = clone(featurizer.fit(paths))
    assert not hasattr(copy, "fingerprint_")
    assert copy.get_params() == featurizer.get_params()


def test_pickle_holds_no_network_and_gives_the_same_rows_in_another_process(
    featurizer, paths, new_cache
):
    rows = featurizer.fit_transform(paths)
    pickled = pickle.dumps(featurizer.set_params(cache=str(new_cache())))
    assert len(pickled) < 2000
    program = (
        "import pickle, sys; f, p = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(pickle.dumps(f.transform(p)))"
    )
    run = [sys.executable, "-c", program]
    both = pickle.dumps((featurizer, paths))
    answer = subprocess.run(run, input=both, stdout=subprocess.PIPE, check=True).stdout
    np.testing.assert_array_equal(pickle.loads(answer), rows)


def test_another_network_than_that_of_the_fit_raises_an_error(featurizer, paths):
    featurizer.fit(paths).set_params(pooling="max")
    with pytest.raises(WeightsMismatchError, match=r"fingerprint \w{12}, got another.*fit again"):
        featurizer.transform(paths)


@pytest.mark.parametrize(
    "change",
    [{"pooling": "max"}, {"layer": "block1_out"}, {"preprocess": "torch"}, {"resize": "pad"}],
    ids=str,
)
def test_the_fingerprint_changes_with_every_parameter_that_determines_features(
    featurizer, paths, change
):
    fingerprint = featurizer.fit(paths).fingerprint_
    assert clone(featurizer).set_params(**change).fit(paths).fingerprint_ != fingerprint


def test_the_fingerprint_does_not_depend_on_batch_size_or_precision(featurizer, paths):
    fingerprint = featurizer.fit(paths).fingerprint_
    same = clone(featurizer).set_params(batch_size=3, precision="float32", cache=None)
    assert same.fit(paths).fingerprint_ == fingerprint


def test_bfloat16_features_are_close_to_float32_features(featurizer, paths):
    exact = featurizer.set_params(precision="float32").fit_transform(paths)
    fast = clone(featurizer).set_params(precision="bfloat16").fit_transform(paths)
    cosines = (exact * fast).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(exact, fast)


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
    featurizer.set_params(unreadable="nan")
    with pytest.warns(UnreadableImagesWarning, match=r"cannot be read.*label -1 \(1\)") as warned:
        rows = featurizer.transform([paths[0], tmp_path / "gone.jpg", paths[1]])
    assert warned[0].filename == __file__
    assert np.isnan(rows[1]).all()
    assert not np.isnan(rows[[0, 2]]).any()


def test_a_single_path_raises_an_error(featurizer, paths):
    with pytest.raises(InvalidImagesError, match=r"a single str.*Pass a list"):
        featurizer.transform(str(paths[0]))


def test_an_empty_sequence_raises_an_error(featurizer):
    with pytest.raises(NoImagesError, match="an empty sequence"):
        featurizer.transform([])


def test_an_input_shape_that_is_too_small_raises_an_error(featurizer, paths):
    with pytest.raises(ValueError, match=r"each at least 32 pixels, got \(8, 32\)"):
        featurizer.set_params(input_shape=(8, 32)).fit(paths)


def test_missing_weights_raise_an_error_before_anything_is_loaded(paths, tmp_path):
    featurizer = ResNetFeaturizer(weights=tmp_path / "none.h5")
    with pytest.raises(WeightsNotFoundError, match=r"got no file .*none\.h5.*Four ways out"):
        featurizer.fit(paths)


def test_untrained_weights_warn_and_are_deterministic(paths):
    featurizer = ResNetFeaturizer(weights=None, input_shape=(32, 32), cache=None)
    with pytest.warns(UntrainedWeightsWarning, match="little more than colour"):
        first = featurizer.fit_transform(paths[:2])
    np.testing.assert_array_equal(clone(featurizer).fit_transform(paths[:2]), first)


def test_a_plain_pipeline_with_kmeans_clusters_paths(featurizer, paths):
    pipeline = Pipeline([("f", featurizer), ("k", KMeans(2, n_init=2, random_state=0))])
    labels = pipeline.fit_predict(paths)
    np.testing.assert_array_equal(pipeline.predict(paths), labels)


def test_no_progress_is_shown_if_stderr_is_not_a_terminal(featurizer, paths, capfd):
    featurizer.set_params(verbose=1).fit_transform(paths)
    assert capfd.readouterr().err.strip() == ""


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_rows_do_not_depend_on_the_number_of_processes(featurizer, paths, n_jobs):
    rows = featurizer.fit_transform(paths)
    others = clone(featurizer).set_params(n_jobs=n_jobs, cache=None).transform(paths)
    np.testing.assert_array_equal(others, rows)


def test_a_progress_bar_is_shown_while_the_network_runs_but_not_for_the_cache(
    featurizer, paths, capfd, monkeypatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich take stderr for a terminal
    featurizer.set_params(verbose=1).transform(paths)
    assert "Features" in capfd.readouterr().err
    featurizer.transform(paths)
    assert capfd.readouterr().err == ""
