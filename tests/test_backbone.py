"""The frozen network computes what Keras computes, the same bits every time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resnet_kmeans.network.backbone import Network, cpu_has_bfloat16
from resnet_kmeans.network.weights import NetworkSpec, import_tensorflow

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def keras():
    return import_tensorflow().keras


@pytest.fixture(scope="module")
def tiny(keras, tiny_network):
    return keras.models.load_model(tiny_network)


def spec(**changes):
    given = {"input_shape": (32, 32), "precision": "float32", "preprocess": "tf"}
    return NetworkSpec(**{**given, **changes})


def test_computes_what_keras_computes(keras, tiny):
    expected = tiny.predict(PIXELS / 127.5 - 1, verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(Network(tiny, spec())(PIXELS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_images", [1, 2, 3])
def test_any_number_of_images_gives_the_same_bits(tiny, n_images):
    network = Network(tiny, spec(batch_size=2))
    np.testing.assert_array_equal(network(PIXELS[:n_images]), network(PIXELS)[:n_images])


def test_threads_that_call_at_the_same_time_get_what_one_thread_gets(tiny):
    # A residual block whose convolution reads its own summand: TensorFlow's kernel is not
    # safe there, and without turns this crashed the process within a hundred calls.
    network = Network(tiny, spec(batch_size=2))
    alone = [network(PIXELS[[n]]) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda call: network(PIXELS[[call % 3]]), range(600)))
    np.testing.assert_array_equal(together, alone * 200)


def test_auto_is_bfloat16_only_where_the_processor_has_it(tiny):
    expected = "bfloat16" if cpu_has_bfloat16() else "float32"
    if import_tensorflow().tensorflow.config.list_physical_devices("GPU"):
        pytest.skip("a GPU decides here, not the processor")
    assert Network(tiny, spec(precision="auto")).precision == expected


def test_weights_in_bfloat16_have_a_fingerprint(keras):
    inputs = keras.Input((32, 32, 3), dtype="float32")
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, dtype="bfloat16")(inputs))
    assert len(Network(model, spec()).fingerprint) == 64
