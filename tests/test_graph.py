"""A rewritten Keras graph computes what the graph did, with less work."""

import numpy as np
import pytest

from resnet_kmeans.network.graph import Graph, is_readable
from resnet_kmeans.network.weights import import_tensorflow

IMAGES = np.random.default_rng(0).normal(size=(2, 15, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def keras():
    return import_tensorflow().keras


@pytest.fixture(scope="module")
def layers(keras):
    return keras.layers


@pytest.fixture
def build(keras):
    """Make a model of the tensors that a function gives for the input, with random weights."""

    def build(function):
        inputs = keras.Input((15, 16, 3))
        model = keras.Model(inputs, function(inputs))
        random = np.random.default_rng(0)
        for layer in model.layers:
            shapes = [value.shape for value in layer.get_weights()]
            layer.set_weights([random.uniform(0.2, 1.5, shape) for shape in shapes])
        return model

    return build


def rewritten(model):
    """Return the graph and its rewritten model, having seen that both compute the same."""
    graph = Graph(model)
    new = graph.rewrite("float32")
    expected = model(IMAGES, training=False)
    np.testing.assert_allclose(new(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4)
    return graph, new


def names(model):
    return [type(layer).__name__ for layer in model.layers]


def test_batch_normalisation_goes_into_the_convolution_before_it(build, layers):
    model = build(lambda x: layers.BatchNormalization(epsilon=0.5)(layers.Conv2D(4, 3)(x)))
    graph, new = rewritten(model)
    assert graph.n_folded == 1
    assert "BatchNormalization" not in names(new)


def test_a_convolution_with_bias_takes_in_a_normalisation_without_scale(build, layers):
    def function(x):
        return layers.BatchNormalization(scale=False)(layers.Conv2D(4, 3, use_bias=True)(x))

    assert rewritten(build(function))[0].n_folded == 1


def test_a_convolution_that_is_read_twice_keeps_its_normalisation(build, layers):
    def function(x):
        maps = layers.Conv2D(4, 3)(x)
        return layers.Add()([layers.BatchNormalization()(maps), maps])

    assert rewritten(build(function))[0].n_folded == 0


def test_an_activation_between_keeps_the_normalisation(build, layers):
    def function(x):
        return layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x))

    assert rewritten(build(function))[0].n_folded == 0


@pytest.mark.parametrize("axis", [1, 2])
def test_a_normalisation_of_rows_or_columns_is_kept(build, layers, axis):
    model = build(lambda x: layers.BatchNormalization(axis=axis)(layers.Conv2D(4, 3)(x)))
    assert rewritten(model)[0].n_folded == 0


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [1, 3, (5, 1)])
def test_a_convolution_whose_every_second_row_is_read_computes_only_those(
    build, layers, padding, size
):
    def function(x):
        maps = layers.ReLU()(layers.Conv2D(4, size, padding=padding)(x))
        return layers.Conv2D(2, 1, strides=2)(maps)

    graph, new = rewritten(build(function))
    assert graph.n_thinned == 2
    assert [layer.strides for layer in new.layers if hasattr(layer, "kernel")] == [(2, 2), (1, 1)]


def test_the_end_of_a_stage_is_thinned_up_to_the_last_spatial_convolution(build, layers):
    def function(x):
        shortcut = layers.ReLU()(layers.Conv2D(4, 3)(x))
        maps = layers.ReLU()(layers.Conv2D(2, 3, padding="same")(shortcut))
        maps = layers.BatchNormalization()(layers.Conv2D(4, 1)(maps))
        end = layers.ReLU()(layers.Add()([shortcut, maps]))
        return layers.Add()([layers.Conv2D(3, 1, strides=2)(end) for _ in range(2)])

    graph, new = rewritten(build(function))
    assert graph.n_thinned == 6  # two convolutions, two ReLU, BatchNormalization, Add
    assert names(new).count("MaxPooling2D") == 1  # the shortcut is read whole elsewhere


def test_every_stage_but_the_last_of_a_resnet_is_thinned(keras):
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    # The last block of a stage from its 3x3 convolution on: 2 Conv2D, 2 BatchNormalization,
    # 2 ReLU and the Add.
    assert Graph(model).n_thinned == 3 * 7


def test_what_only_rows_are_skipped_of_is_computed_whole(build, layers):
    model = build(lambda x: layers.Conv2D(2, 1, strides=(2, 1))(layers.Conv2D(3, 1)(x)))
    assert rewritten(model)[0].n_thinned == 0


def test_a_convolution_with_the_channels_first_is_left_alone(build, layers):
    def function(x):
        first = {"data_format": "channels_first"}
        maps = layers.BatchNormalization()(layers.Conv2D(4, 1, **first)(x))
        return layers.Conv2D(2, 1, strides=2, **first)(maps)

    graph = Graph(build(function))  # TensorFlow computes it on a GPU alone
    assert (graph.n_folded, graph.n_thinned) == (0, 0)


def test_what_is_also_read_whole_is_computed_whole(build, layers):
    def function(x):
        maps = layers.Conv2D(3, 1)(x)
        thinned, whole = layers.Conv2D(2, 1, strides=2)(maps), layers.Conv2D(2, 3, strides=2)(maps)
        return layers.Add()([layers.GlobalMaxPooling2D()(part) for part in (thinned, whole)])

    assert rewritten(build(function))[0].n_thinned == 0


def test_an_output_of_the_model_is_computed_whole(build, layers):
    def function(x):
        maps = layers.Conv2D(3, 1)(x)
        return [maps, layers.Conv2D(2, 1, strides=2)(maps)]

    assert Graph(build(function)).n_thinned == 0


@pytest.mark.parametrize(
    "given",
    [
        {"dilation_rate": 2, "padding": "same"},
        {"padding": "same", "kernel_size": 2},
        {"padding": "same", "strides": 2},
    ],
    ids=["dilated", "even", "strided"],
)
def test_a_convolution_that_would_be_padded_otherwise_is_computed_whole(build, layers, given):
    def function(x):
        maps = layers.ReLU()(layers.Conv2D(4, **{"kernel_size": 3, **given})(x))
        return layers.Conv2D(2, 1, strides=2)(maps)

    graph, new = rewritten(build(function))
    assert graph.n_thinned == 1
    assert names(new).count("MaxPooling2D") == 1


def test_a_sum_that_repeats_one_of_its_terms_is_computed_whole(build, layers):
    def function(x):
        means = layers.GlobalAveragePooling2D(keepdims=True)(x)
        return layers.Conv2D(2, 1, strides=2)(layers.Add()([x, means]))

    assert rewritten(build(function))[0].n_thinned == 0


def test_shared_layers_nested_models_and_operations_are_not_readable(build, layers):
    shared = layers.Conv2D(3, 3, padding="same")
    assert is_readable(build(shared))
    assert not is_readable(build(lambda x: shared(shared(x))))
    assert not is_readable(build(lambda x: build(layers.ReLU())(x)))
    assert not is_readable(build(lambda x: layers.ReLU()(x / 2)))
    assert not is_readable(build(lambda x: type("Own", (layers.ReLU,), {})()(x)))
