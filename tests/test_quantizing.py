"""int8 is close to float32, the same every time, and told apart."""

import sys

import numpy as np
import pytest

from resnet_kmeans.exceptions import ExtraNotInstalledError, NetworkError
from resnet_kmeans.network import base, weights
from resnet_kmeans.network import compiled_files as store
from resnet_kmeans.network import loading as backbone
from resnet_kmeans.network.base import _fingerprint
from resnet_kmeans.network.libraries import import_tensorflow
from resnet_kmeans.network.loading import load_network, network_of
from resnet_kmeans.network.quantizing import calibration_pictures
from resnet_kmeans.network.weights import NetworkSpec

PIXELS = np.stack(calibration_pictures((32, 32))[::16])


@pytest.fixture
def spec(tiny_network):
    pytest.importorskip("nncf", reason="nncf, the int8 extra, is not installed")
    return NetworkSpec(
        weights=str(tiny_network), input_shape=(32, 32), preprocess="tf", precision="int8"
    )


@pytest.fixture
def exact(spec):
    return NetworkSpec(**{**vars(spec), "precision": "float32"})


def test_int8_points_where_float32_points_and_is_told_apart(spec, exact, capfd):
    coarse, fine = load_network(spec), load_network(exact)
    rows, expected = coarse(PIXELS), fine(PIXELS)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((rows * expected).sum(axis=1) / norms).min() > 0.98
    assert not np.allclose(rows, expected, rtol=1e-3)
    assert coarse.fingerprint != fine.fingerprint
    assert coarse.precision == "int8"
    assert capfd.readouterr().out == ""


def test_int8_is_the_same_network_every_time(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_temporary_folder", lambda: tmp_path / "temporary")
    first = load_network(spec, tmp_path / "first")(PIXELS)
    backbone._load.cache_clear()
    np.testing.assert_array_equal(load_network(spec, tmp_path / "second")(PIXELS), first)


def test_calibration_pictures_are_the_same_every_time_and_of_the_shape_asked_for():
    first, second = (np.stack(calibration_pictures((40, 32))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape[1:] == (40, 32, 3)
    assert first.dtype == np.uint8


def test_another_calibration_is_another_network(spec, exact, monkeypatch):
    def keys(spec):
        return spec.identity(), _fingerprint(spec, "weights")

    before, before_exact = keys(spec), keys(exact)
    for module in (weights, base):
        monkeypatch.setattr(module, "INT8_VERSION", 0)
    assert all(new != old for new, old in zip(keys(spec), before))
    assert keys(exact) == before_exact


def test_without_nncf_the_error_names_the_extra(spec, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    other = NetworkSpec(**{**vars(spec), "pooling": "max"})  # which no test has prepared
    with pytest.raises(ExtraNotInstalledError, match=r"nncf.*resnet-kmeans\[int8\]"):
        load_network(other, tmp_path)


def test_a_network_that_tensorflow_computes_has_no_int8(spec, monkeypatch):
    monkeypatch.setattr("resnet_kmeans.network.compiling.MAX_DIFFERENCE", -1)
    model = import_tensorflow().keras.models.load_model(spec.weights)
    with pytest.raises(NetworkError, match=r'precision="int8".*Pass precision="auto"'):
        network_of(model, spec)
