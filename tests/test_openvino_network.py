"""A compiled network gives the same bits alone, in any batch, stream and thread."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resnet_kmeans.exceptions import ConstantFeaturesError
from resnet_kmeans.network.libraries import cpu_has_bfloat16
from resnet_kmeans.network.loading import compile_model
from resnet_kmeans.network.openvino_network import CompiledNetwork
from resnet_kmeans.network.weights import NetworkSpec

TEST_ALL = bool(os.environ.get("RESNET_KMEANS_TEST_ALL"))

LARGE = pytest.mark.skipif(not TEST_ALL, reason="RESNET_KMEANS_TEST_ALL is not set")
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def compiled(tiny):
    return compile_model(tiny, spec())


def spec(**changes):
    given = {"input_shape": (32, 32), "precision": "float32", "preprocess": "tf"}
    return NetworkSpec(**{**given, **changes})


@pytest.mark.parametrize(
    "name", ["ResNet50", *(pytest.param(f"ResNet{n}", marks=LARGE) for n in (101, 152))]
)
def test_equals_keras_applications(keras, name):
    model = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    )
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    prepared = keras.applications.resnet.preprocess_input(PIXELS.astype(np.float32))
    expected = np.asarray(model(prepared, training=False))
    given = spec(preprocess="caffe")
    rows = CompiledNetwork(compile_model(model, given), given)(PIXELS)
    assert (rows.shape, rows.dtype) == ((5, 2048), np.float32)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_a_network_that_returns_a_constant_is_refused_before_any_image(keras, tiny):
    constant = keras.models.clone_model(tiny)
    constant.set_weights([np.zeros_like(value) for value in constant.get_weights()])
    with pytest.raises(ConstantFeaturesError, match=r"black image and noise.*--layer NAME"):
        compile_model(constant, spec())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_rows_are_bit_identical_in_any_batch_thread_and_stream(compiled, precision, n_threads):
    given = spec(batch_size=2, precision=precision)
    alone = [CompiledNetwork(compiled, given, 1)(PIXELS[[n]])[0] for n in range(5)]
    network = CompiledNetwork(compiled, given, n_threads)
    assert network.n_streams == n_threads
    np.testing.assert_array_equal(network(PIXELS), alone)
    np.testing.assert_array_equal(network(PIXELS[1:4]), alone[1:4])
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda call: network(PIXELS[[call % 5]])[0], range(200)))
    np.testing.assert_array_equal(together, alone * 40)


def test_rows_are_copies_that_the_next_call_does_not_change(compiled):
    network = CompiledNetwork(compiled, spec(), 1)
    rows = network(PIXELS[:1])
    before = rows.copy()
    network(PIXELS[1:2])
    np.testing.assert_array_equal(rows, before)


def test_pixels_need_not_be_contiguous(compiled):
    network = CompiledNetwork(compiled, spec())
    np.testing.assert_array_equal(network(PIXELS[:, :, ::-1]), network(PIXELS[:, :, ::-1].copy()))


def test_auto_is_bfloat16_only_if_the_processor_has_it(compiled):
    expected = "bfloat16" if cpu_has_bfloat16() else "float32"
    assert CompiledNetwork(compiled, spec(precision="auto")).precision == expected


def test_bfloat16_is_close_to_float32(compiled):
    exact, fast = (
        CompiledNetwork(compiled, spec(precision=p))(PIXELS) for p in ("float32", "bfloat16")
    )
    cosines = (exact * fast).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosines.min() > 0.999
