"""TensorFlow's frozen function computes what Keras computes, the same bits every time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resnet_kmeans.network import tensorflow_network
from resnet_kmeans.network.libraries import has_gpu, import_tensorflow
from resnet_kmeans.network.tensorflow_network import FrozenNetwork
from resnet_kmeans.network.weights import NetworkSpec

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def tiny(keras, tiny_network):
    """A model for each test alone, since bfloat16 changes the types of its layers."""
    return keras.models.load_model(tiny_network)


def spec(**changes):
    given = {"input_shape": (32, 32), "precision": "float32", "preprocess": "tf"}
    return NetworkSpec(**{**given, **changes})


def test_returns_the_features_of_keras(tiny):
    expected = tiny.predict(PIXELS / 127.5 - 1, verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(FrozenNetwork(tiny, spec())(PIXELS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_images", [1, 2, 3])
def test_any_number_of_images_gives_the_same_bits(tiny, n_images):
    network = FrozenNetwork(tiny, spec(batch_size=2))
    np.testing.assert_array_equal(network(PIXELS[:n_images]), network(PIXELS)[:n_images])


def test_concurrent_calls_return_the_rows_of_a_single_thread(tiny):
    # A residual block whose convolution reads its own summand: TensorFlow's kernel is not
    # safe there, and without turns this crashed the process within a hundred calls.
    network = FrozenNetwork(tiny, spec(batch_size=2))
    alone = [network(PIXELS[[n]]) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda call: network(PIXELS[[call % 3]]), range(600)))
    np.testing.assert_array_equal(together, alone * 200)


def test_a_processor_computes_in_float32_for_any_precision(tiny):
    assert FrozenNetwork(tiny, spec(precision="bfloat16")).precision == "float32"


@pytest.mark.parametrize(
    ("precision", "capability", "expected"),
    [
        ("auto", (8, 0), "bfloat16"),
        ("auto", (7, 5), "float32"),
        ("bfloat16", (7, 5), "bfloat16"),
        ("float32", (9, 0), "float32"),
    ],
)
def test_a_gpu_computes_in_bfloat16_if_it_can(tiny, monkeypatch, precision, capability, expected):
    config = import_tensorflow().tensorflow.config
    details = {"compute_capability": capability}
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["the first"])
    monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu: details)
    monkeypatch.setattr(tensorflow_network, "may_have_gpu", lambda: True)
    exact = tiny.predict(PIXELS / 127.5 - 1, verbose=0).mean(axis=(1, 2))
    network = FrozenNetwork(tiny, spec(precision=precision, batch_size=2))
    assert has_gpu()
    assert network.precision == expected
    rows = network(PIXELS)
    assert np.allclose(rows, exact, rtol=1e-5, atol=1e-5) == (expected == "float32")
    cosines = (rows * exact).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() > 0.999
    assert network.fingerprint == FrozenNetwork(tiny, spec()).fingerprint


def test_weights_in_bfloat16_have_a_fingerprint():
    keras = import_tensorflow().keras
    inputs = keras.Input((32, 32, 3), dtype="float32")
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, dtype="bfloat16")(inputs))
    assert len(FrozenNetwork(model, spec()).fingerprint) == 64
