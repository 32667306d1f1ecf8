"""A backbone by its name: what is wrong with it is said at once, and a default can be set."""

import sys

import numpy as np
import pytest

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import ExtraNotInstalledError, NetworkError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
UNREADABLE = [b"no image, which nobody finds out"]


@pytest.fixture
def without_hub(monkeypatch):
    """Neither keras-hub nor TensorFlow, whose import would take seconds."""
    for name in ("keras_hub", "tensorflow", "keras"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("name", "guess"), [("resnet5O", "resnet50"), ("efficientnet_lite9", "efficientnet_lite")]
)
def test_a_misspelled_backbone_is_refused_before_any_image_is_read(without_hub, name, guess):
    with pytest.raises(NetworkError, match=rf"got '{name}'.*Did you mean .*{guess}") as caught:
        ResNetFeaturizer(backbone=name).fit(UNREADABLE)
    assert "Known are resnet50, resnet101" in str(caught.value)
    assert "resnet-kmeans[hub]" in str(caught.value)


def test_the_command_refuses_it_too(without_hub, pictures, tmp_path, capsys):
    assert main(["cluster", str(pictures), str(tmp_path / "out"), "--backbone", "resnet5O"]) == 2
    assert "Did you mean resnet50" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["hf://timm/resnet18.a1_in1k", "kaggle://a/b/keras/c/1"])
def test_a_preset_without_keras_hub_raises_an_error_that_names_the_extra(without_hub, name):
    with pytest.raises(ExtraNotInstalledError, match=r"resnet-kmeans\[hub\]"):
        ResNetFeaturizer(backbone=name).fit(UNREADABLE)


@pytest.mark.parametrize("params", [{"weights": None}, {"weights": "a.h5"}, {"preprocess": "tf"}])
def test_a_preset_has_its_own_weights_and_preprocessing(without_hub, params):
    with pytest.raises(NetworkError, match=r'weights="imagenet".*hf://a/b.*stand for its own'):
        ResNetFeaturizer(backbone="hf://a/b", **params).fit(UNREADABLE)


def test_a_whole_network_needs_no_backbone(stand_in):
    given = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    named = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32), backbone="hf://a/b")
    rows = given.fit_transform(IMAGES)
    np.testing.assert_array_equal(named.set_params(preprocess="caffe").fit_transform(IMAGES), rows)


@pytest.mark.parametrize("weights", ["nowhere.keras", "nowhere.h5", "nowhere.onnx"])
def test_missing_weights_are_refused_before_any_image_is_read(
    without_hub, weights, tmp_path, capsys
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    command = ["cluster", str(tmp_path / "in"), str(tmp_path / "out"), "-k", "1"]
    assert main([*command, "--weights", weights, "--preprocess", "tf"]) == 2
    assert f"There is no weights file {weights}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_user_sets_the_default(monkeypatch):
    monkeypatch.setenv("RESNET_KMEANS_BACKBONE", "efficientnet_lite0")
    clusterer = ImageFolderClusterer(2, reducer=None).fit(IMAGES)
    assert clusterer.pipeline_["featurizer"].backbone == "efficientnet_lite0"
    assert ResNetFeaturizer().backbone == "resnet50"


def test_a_default_that_is_none_raises_an_error_that_names_the_variable(
    monkeypatch, without_hub, pictures, tmp_path, capsys
):
    monkeypatch.setenv("RESNET_KMEANS_BACKBONE", "resnet5O")
    with pytest.raises(NetworkError, match=r"'resnet5O' \(the value of RESNET_KMEANS_BACKBONE\)"):
        ImageFolderClusterer(2).fit(IMAGES)
    assert main(["cluster", str(pictures), str(tmp_path / "out")]) == 2
    assert "RESNET_KMEANS_BACKBONE" in capsys.readouterr().err


def test_a_strangers_model_loads_no_preset(stand_in, tmp_path, monkeypatch, without_hub):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "me"))
    model = ImageFolderClusterer(2, featurizer=ResNetFeaturizer(weights=stand_in), reducer=None)
    model.fit(IMAGES).pipeline_["featurizer"].set_params(weights="imagenet", backbone="hf://a/b")
    model.save(tmp_path / "model")
    with pytest.raises(ExtraNotInstalledError):  # mine is imported
        ImageFolderClusterer.load(tmp_path / "model").predict(IMAGES)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "stranger"))
    loaded = ImageFolderClusterer.load(tmp_path / "model")
    with pytest.raises(NetworkError, match=r"another user.*hf://a/b.*not opened.*backbone=PRESET"):
        loaded.predict(IMAGES)
    loaded.save(tmp_path / "again")  # which does not make it ours
    with pytest.raises(NetworkError, match="not opened"):
        ImageFolderClusterer.load(tmp_path / "again").predict(IMAGES)
    with pytest.raises(ExtraNotInstalledError):
        ImageFolderClusterer.load(tmp_path / "model", backbone="hf://a/b").predict(IMAGES)
