"""Weights are found, loaded or refused, never silently replaced."""

import os
import random
import time
import zipfile

import numpy as np
import pytest

from resnet_kmeans.exceptions import (
    ExtraNotInstalledError,
    NetworkError,
    WeightsFileError,
    WeightsNotFoundError,
)
from resnet_kmeans.network import weights
from resnet_kmeans.network.weights import (
    NetworkSpec,
    build_model,
    imagenet_file,
    import_imagenet_file,
    import_tensorflow,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """ResNet50 with random weights, saved as Keras saves weights, both ways."""
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(7)
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    folder = tmp_path_factory.mktemp("weights")
    model.save_weights(folder / "new.weights.h5")
    return folder, model.get_weights()


def test_a_weights_file_is_loaded(saved):
    folder, values = saved
    spec = NetworkSpec(weights=str(folder / "new.weights.h5"), input_shape=(32, 32))
    for loaded, value in zip(build_model(spec).get_weights(), values):
        np.testing.assert_array_equal(loaded, value)


def test_weights_of_another_network_raise_an_error_that_names_both(saved):
    path = str(saved[0] / "new.weights.h5")
    with pytest.raises(WeightsFileError, match=r"weights for ResNet101, got .*new\.weights\.h5"):
        build_model(NetworkSpec(weights=path, backbone="resnet101", input_shape=(32, 32)))


@pytest.mark.parametrize("given", [None, "imagenet"])
def test_a_too_small_input_shape_raises_an_error_before_any_download(given):
    with pytest.raises(NetworkError, match=r"at least 32 x 32 pixels for ResNet50, got \(32, 31\)"):
        build_model(NetworkSpec(weights=given, input_shape=(32, 31)))


@pytest.mark.filterwarnings("ignore::resnet_kmeans.exceptions.UntrainedWeightsWarning")
def test_untrained_weights_do_not_change_the_state_of_random():
    random.seed(3)
    expected = random.random()
    random.seed(3)
    numbers = np.random.get_state()[1].copy()
    build_model(NetworkSpec(weights=None, input_shape=(32, 32)))
    assert random.random() == expected
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)


@pytest.mark.parametrize("name", ["broken.h5", "broken.weights.h5", "broken.keras"])
def test_a_file_without_weights_raises_an_error(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsFileError, match="which cannot be loaded"):
        build_model(NetworkSpec(weights=str(path), input_shape=(32, 32), preprocess="tf"))


def test_a_model_of_another_keras_raises_an_error_with_both_versions(tmp_path):
    path = tmp_path / "newer.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "99.1.0"}')
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsFileError, match=r"saved by Keras 99\.1\.0, installed is \d"):
        build_model(NetworkSpec(weights=str(path), preprocess="tf"))


def test_a_failed_download_raises_an_error_with_the_ways_out(monkeypatch):
    # A proxy on a closed port makes every download fail, with and without a connection.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(WeightsNotFoundError) as error:
        build_model(NetworkSpec())
    assert time.monotonic() - begin < 60
    assert error.value.__suppress_context__  # Keras' own chain of errors is 60 lines long
    ways = ["weights=PATH", "connect to the internet", "resnet-kmeans[lite]"]
    for part in (str(imagenet_file("resnet50")), *ways):
        assert part in str(error.value)
    assert not imagenet_file("resnet50").exists()


def test_imagenet_weights_are_looked_for_under_keras_home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    name = "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert imagenet_file("resnet101") == tmp_path / "models" / name


def test_only_files_that_keras_publishes_are_imported(tmp_path):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"mine")
    with pytest.raises(WeightsFileError, match="not that of a file published by Keras"):
        import_imagenet_file(path)
    assert not imagenet_file("resnet50").exists()


def test_a_published_file_is_imported(tmp_path, monkeypatch):
    path = tmp_path / "file.h5"
    path.write_bytes(b"published")
    import hashlib

    md5 = hashlib.md5(b"published", usedforsecurity=False).hexdigest()
    monkeypatch.setitem(weights.IMAGENET_MD5, "resnet152", md5)
    assert import_imagenet_file(path) == imagenet_file("resnet152")
    assert imagenet_file("resnet152").read_bytes() == b"published"


def test_the_identity_follows_the_file(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"1")
    spec = NetworkSpec(weights=str(path))
    before = spec.identity()
    assert NetworkSpec(weights=str(path)).identity() == before
    os.utime(path, ns=(1, 1))
    assert spec.identity() != before


@pytest.mark.parametrize(
    ("backbone", "mode"),
    [("resnet50", "caffe"), ("resnet152", "caffe"), ("efficientnet_lite0", "tf")],
)
def test_auto_scales_pixels_as_the_backbone_was_trained(backbone, mode):
    spec = NetworkSpec(backbone=backbone)
    assert spec.preprocess == mode
    assert spec == NetworkSpec(backbone=backbone, preprocess=mode)


def test_a_whole_model_needs_preprocess(tmp_path):
    path = tmp_path / "own.keras"
    with pytest.raises(WeightsNotFoundError, match=r"got no file .*own\.keras"):
        build_model(NetworkSpec(weights=str(path)))
    path.touch()
    with pytest.raises(NetworkError, match=r'"caffe", "tf", "torch" or "none" .*own\.keras'):
        NetworkSpec(weights=str(path))
    assert NetworkSpec(weights=str(path), preprocess="none").preprocess == "none"


def test_a_model_of_keras_hub_raises_an_error_that_names_the_package(tmp_path, monkeypatch):
    path = tmp_path / "transformer.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"module": "keras_hub.src.models.vit.vit_backbone"}')
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    message = r"keras-hub, which provides the layers of .*transformer\.keras.*resnet-kmeans\[hub\]"
    with pytest.raises(ExtraNotInstalledError, match=message):
        build_model(NetworkSpec(weights=str(path), preprocess="none"))
