"""The network that is named is loaded: compiled once, found again, TensorFlow where it must be."""

import logging
import os
import subprocess
import sys
import threading
from functools import cache

import numpy as np
import pytest

from resnet_kmeans.exceptions import NetworkError, UntrainedWeightsWarning
from resnet_kmeans.network import compiled_files as store
from resnet_kmeans.network import loading as backbone
from resnet_kmeans.network.compiled_files import CompiledFile
from resnet_kmeans.network.compiled_files import cached_networks as compiled_files
from resnet_kmeans.network.libraries import import_tensorflow
from resnet_kmeans.network.loading import compiled_spec, load_network, network_of
from resnet_kmeans.network.openvino_network import CompiledNetwork
from resnet_kmeans.network.tensorflow_network import FrozenNetwork
from resnet_kmeans.network.weights import NetworkSpec

MAKE_TEMPORARY_FOLDER = store._temporary_folder.__wrapped__  # while no fixture replaces it
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def spec(tiny_network):
    return NetworkSpec(weights=str(tiny_network), input_shape=(32, 32), preprocess="tf")


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """Let every test load its networks itself."""
    backbone._load.cache_clear()
    monkeypatch.setattr(store, "_temporary_folder", cache(MAKE_TEMPORARY_FOLDER))


@pytest.fixture
def built(monkeypatch):
    """The specs that a Keras model was built for."""
    specs, build = [], backbone.build_model
    monkeypatch.setattr(backbone, "build_model", lambda spec: specs.append(spec) or build(spec))
    return specs


def test_a_network_is_compiled_once_and_the_log_says_so(spec, built, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "resnet_kmeans"):
        rows = load_network(spec, tmp_path)(PIXELS)
        backbone._load.cache_clear()
        np.testing.assert_array_equal(load_network(spec, tmp_path)(PIXELS), rows)
    assert built == [spec]
    assert caplog.messages == ["Preparing tiny.keras (first use only)."]


def test_a_compiled_network_does_not_import_tensorflow(spec, tmp_path):
    rows = load_network(spec, tmp_path)(PIXELS)
    given, got = tmp_path / "pixels.npy", tmp_path / "rows.npy"
    np.save(given, PIXELS)
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from resnet_kmeans.network import NetworkSpec, load_network\n"
        f"network = load_network({spec!r}, Path({str(tmp_path)!r}))\n"
        f"np.save({str(got)!r}, network(np.load({str(given)!r})))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    np.testing.assert_array_equal(np.load(got), rows)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(flipped(file.read_bytes())),
        lambda file: rewrite(file, b'"format": 1', b'"format": 9'),
    ],
    ids=["cut short", "empty", "a flipped bit", "another format"],
)
def test_a_damaged_file_is_compiled_again_and_the_log_says_so(spec, tmp_path, caplog, spoil):
    rows = load_network(spec, tmp_path)(PIXELS)
    (file,) = compiled_files(tmp_path)
    spoil(file)
    backbone._load.cache_clear()
    np.testing.assert_array_equal(load_network(spec, tmp_path)(PIXELS), rows)
    assert "cannot be used" in caplog.text
    assert "compiled again" in caplog.text
    assert CompiledFile.read(file).n_features == 16


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def rewrite(file, old, new):
    """Change a part of the file that says about the rest, its sum included."""
    import zipfile

    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("json") else content)


def test_other_library_versions_get_another_file(spec, tmp_path, monkeypatch):
    load_network(spec, tmp_path)
    monkeypatch.setattr(
        "resnet_kmeans.network.weights.library_versions", lambda *more: {"openvino": "1999.1"}
    )
    load_network(spec, tmp_path)
    assert len(compiled_files(tmp_path)) == 2


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"batch_size": 3}, {"resize": "pad"}], ids=str
)
def test_parameters_that_do_not_change_the_graph_share_a_file(spec, tmp_path, built, changes):
    load_network(spec, tmp_path)
    load_network(NetworkSpec(**{**vars(spec), **changes}), tmp_path)
    assert len(built) == 1


def test_the_least_recently_used_files_are_deleted_first(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MAX_FILES", 2)
    specs = [NetworkSpec(**{**vars(spec), "pooling": pooling}) for pooling in ("avg", "max", None)]
    for age, one in enumerate(specs[:2]):
        load_network(one, tmp_path)
        os.utime(compiled_files(tmp_path)[0], (age, age))
    first, second = reversed(compiled_files(tmp_path))
    backbone._load.cache_clear()
    load_network(specs[0], tmp_path)  # now the second one is the older one
    load_network(specs[2], tmp_path)
    assert first in compiled_files(tmp_path)
    assert second not in compiled_files(tmp_path)


def test_stale_unfinished_files_are_deleted_and_recent_ones_kept(spec, tmp_path):
    left, fresh = tmp_path / ".left.part.network", tmp_path / ".fresh.part.network"
    for part in (left, fresh):
        part.touch()
    os.utime(left, (1, 1))
    load_network(spec, tmp_path)
    assert not left.exists()
    assert fresh.exists()


def test_a_folder_that_cannot_be_written_is_not_needed(spec, tmp_path, caplog):
    (tmp_path / "file").touch()
    rows = load_network(spec, tmp_path / "file" / "networks")(PIXELS)
    assert caplog.text == ""  # the feature cache beside it warns already
    np.testing.assert_array_equal(rows, load_network(spec)(PIXELS))


def test_processes_that_compile_at_the_same_time_never_read_half_a_file(spec, tmp_path, caplog):
    load_network(spec, tmp_path)
    (file,) = compiled_files(tmp_path)
    compiled = CompiledFile.read(file)
    writers = [
        threading.Thread(target=lambda: [compiled.write(file) for _ in range(20)]) for _ in "12"
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert CompiledFile.read(file).n_features == 16
    assert compiled_files(tmp_path) == [file]


def test_the_spec_for_other_processes_needs_no_weights(spec, tmp_path, built):
    elsewhere = compiled_spec(spec, tmp_path)
    assert elsewhere.is_compiled
    network = load_network(elsewhere)
    assert network.fingerprint == load_network(spec, tmp_path).fingerprint
    np.testing.assert_array_equal(network(PIXELS), load_network(spec, tmp_path)(PIXELS))
    assert len(built) == 1


def test_a_missing_compiled_network_raises_an_error(spec, tmp_path):
    from resnet_kmeans.exceptions import WeightsFileError

    gone = NetworkSpec(**{**vars(spec), "weights": str(tmp_path / "gone.network")})
    with pytest.raises(WeightsFileError, match=r"gone\.network"):
        load_network(gone)


def test_tensorflow_runs_the_network_on_a_gpu(spec, monkeypatch):
    monkeypatch.setattr(backbone, "has_gpu", lambda: True)
    assert isinstance(load_network(spec), FrozenNetwork)
    assert compiled_spec(spec) == spec


def test_tensorflow_runs_what_openvino_cannot_and_the_log_says_so(spec, caplog):
    libraries = import_tensorflow()

    class Odd(libraries.keras.layers.Layer):
        def call(self, inputs):
            sines = libraries.tensorflow.numpy_function(np.sin, [inputs], "float32")
            return libraries.tensorflow.ensure_shape(sines, inputs.shape)

        def compute_output_shape(self, shape):
            return shape

    inputs = libraries.keras.Input((32, 32, 3))
    network = network_of(libraries.keras.Model(inputs, Odd()(inputs), name="odd"), spec)
    assert isinstance(network, FrozenNetwork)
    expected = np.sin((PIXELS / 127.5 - 1).astype(np.float32)).mean(axis=(1, 2))
    np.testing.assert_allclose(network(PIXELS), expected, rtol=1e-4, atol=1e-5)
    assert [
        m for m in caplog.messages if m.startswith("OpenVINO cannot run odd, so TensorFlow does")
    ]


def test_a_wrong_conversion_is_not_used(spec, monkeypatch, caplog):
    monkeypatch.setattr("resnet_kmeans.network.compiling.MAX_DIFFERENCE", -1)
    model = import_tensorflow().keras.models.load_model(spec.weights)
    assert isinstance(network_of(model, spec), FrozenNetwork)
    assert "differ from those of Keras" in caplog.text


def test_tensorflow_runs_the_network_if_openvino_is_missing(spec, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = import_tensorflow().keras.models.load_model(spec.weights)
    assert isinstance(network_of(model, spec), FrozenNetwork)
    assert "openvino" in caplog.text


def test_a_model_in_memory_is_compiled(spec):
    model = import_tensorflow().keras.models.load_model(spec.weights)
    network = network_of(model, spec)
    assert isinstance(network, CompiledNetwork)
    np.testing.assert_array_equal(network(PIXELS), load_network(spec)(PIXELS))


def test_an_invalid_parameter_raises_an_error_instead_of_using_tensorflow(spec):
    with pytest.raises(NetworkError, match="Close names"):
        load_network(NetworkSpec(**{**vars(spec), "layer": "block1_ou"}))


def test_untrained_weights_warn_whether_compiled_before_or_not(tmp_path):
    spec = NetworkSpec(weights=None, backbone="efficientnet_lite0", input_shape=(32, 32))
    for _ in range(2):
        backbone._load.cache_clear()
        with pytest.warns(UntrainedWeightsWarning):
            load_network(spec, tmp_path)


def test_a_forked_process_loads_its_own_network(spec):
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork on this system")
    mine = backbone._load.cache_info()
    load_network(spec)
    assert backbone._load.cache_info().misses == mine.misses + 1
    process = os.getpid()
    try:
        os.getpid = lambda: process + 1
        load_network(spec)
    finally:
        os.getpid = lambda: process
    assert backbone._load.cache_info().misses == mine.misses + 2
