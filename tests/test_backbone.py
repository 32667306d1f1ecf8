"""The frozen network computes what Keras computes, whatever is folded."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resnet_kmeans.exceptions import NetworkError
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


def random_statistics(keras, model):
    """Give batch normalisation something to do, as training would."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shapes = [w.shape for w in layer.get_weights()]
            layer.set_weights([random.uniform(0.5, 1.5, shape) for shape in shapes])
    return model


def assert_close(rows, expected):
    np.testing.assert_allclose(rows, expected, rtol=2e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152"])
def test_equals_keras_applications_with_its_own_preprocessing(keras, name):
    model = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    )
    random_statistics(keras, model)
    prepared = keras.applications.resnet.preprocess_input(PIXELS.astype(np.float32))
    rows = Network(model, spec(preprocess="caffe"))(PIXELS)
    assert rows.shape == (3, 2048)
    assert_close(rows, np.asarray(model(prepared, training=False)))


@pytest.mark.parametrize("preprocess", ["caffe", "tf", "torch"])
def test_equals_keras_for_a_whole_model_and_every_preprocessing(keras, tiny, preprocess):
    scale = keras.applications.imagenet_utils.preprocess_input
    maps = tiny.predict(scale(PIXELS.astype(np.float32), mode=preprocess), verbose=0)
    rows = Network(tiny, spec(preprocess=preprocess))(PIXELS)
    assert_close(rows, maps.mean(axis=(1, 2)))


def test_stops_at_a_named_layer(keras, tiny):
    inner = keras.Model(tiny.inputs, tiny.get_layer("block1_out").output)
    maps = inner.predict(PIXELS / 127.5 - 1, verbose=0)
    assert_close(Network(tiny, spec(layer="block1_out"))(PIXELS), maps.mean(axis=(1, 2)))


@pytest.mark.parametrize(("pooling", "width"), [("avg", 16), ("max", 16), (None, 14 * 14 * 16)])
def test_pooling_decides_the_width(tiny, pooling, width):
    network = Network(tiny, spec(pooling=pooling))
    assert network.n_features == width
    assert network(PIXELS).shape == (3, width)


def test_names_the_layers_that_are_close_to_a_wrong_name(tiny):
    with pytest.raises(NetworkError, match=r"got 'block1_ou'.*Close names: block1_out"):
        Network(tiny, spec(layer="block1_ou"))


def test_names_the_layers_that_begin_with_a_wrong_name(tiny):
    with pytest.raises(NetworkError, match=r"Close names: block2_bn, block2_add, block2_out"):
        Network(tiny, spec(layer="block2_"))


def test_refuses_an_input_shape_that_the_network_does_not_take(tiny):
    with pytest.raises(NetworkError, match=r"input_shape that the network takes, got \(64, 64\)"):
        Network(tiny, spec(input_shape=(64, 64)))


def test_a_model_with_a_shared_layer_runs_unfolded(keras):
    inputs = keras.Input((32, 32, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same")
    model = keras.Model(inputs, keras.layers.BatchNormalization()(shared(shared(inputs))))
    random_statistics(keras, model)
    network = Network(model, spec(precision="bfloat16"))
    assert network.precision == "float32"
    expected = model.predict(PIXELS / 127.5 - 1, verbose=0).mean(axis=(1, 2))
    assert_close(network(PIXELS), expected)


def test_a_subclassed_model_runs(keras):
    class Halved(keras.Model):
        def call(self, inputs):
            return inputs / 2

    rows = Network(Halved(), spec())(PIXELS)
    assert_close(rows, (PIXELS / 127.5 - 1).mean(axis=(1, 2)) / 2)


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
