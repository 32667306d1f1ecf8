"""One Keras model from pixels to features computes what Keras computes step by step."""

import numpy as np
import pytest

from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.network.extractor import build_extractor
from resnet_kmeans.network.weights import NetworkSpec

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def spec(**changes):
    return NetworkSpec(**{"input_shape": (32, 32), "preprocess": "tf", **changes})


def features(model, **changes):
    return np.asarray(build_extractor(model, spec(**changes))(PIXELS))


def random_statistics(keras, model):
    """Give batch normalisation something to do, as training would."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shapes = [w.shape for w in layer.get_weights()]
            layer.set_weights([random.uniform(0.5, 1.5, shape) for shape in shapes])
    return model


def assert_close(rows, expected):
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("preprocess", ["caffe", "tf", "torch"])
def test_equals_keras_for_a_whole_model_and_every_preprocessing(keras, tiny, preprocess):
    scale = keras.applications.imagenet_utils.preprocess_input
    maps = tiny.predict(scale(PIXELS.astype(np.float32), mode=preprocess), verbose=0)
    assert_close(features(tiny, preprocess=preprocess), maps.mean(axis=(1, 2)))


def test_a_network_that_scales_its_own_pixels_gets_them_as_they_are(tiny):
    maps = tiny.predict(PIXELS.astype(np.float32), verbose=0)
    assert_close(features(tiny, preprocess="none"), maps.mean(axis=(1, 2)))


def test_stops_at_a_named_layer(keras, tiny):
    inner = keras.Model(tiny.inputs, tiny.get_layer("block1_out").output)
    maps = inner.predict(PIXELS / 127.5 - 1, verbose=0)
    assert_close(features(tiny, layer="block1_out"), maps.mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("avg", lambda maps: maps.mean(axis=(1, 2))),
        ("max", lambda maps: maps.max(axis=(1, 2))),
        (None, lambda maps: maps.reshape(3, 14 * 14 * 16)),
    ],
    ids=["avg", "max", "flat"],
)
def test_pools_feature_maps_to_rows(tiny, pooling, pool):
    maps = tiny.predict(PIXELS / 127.5 - 1, verbose=0)
    assert_close(features(tiny, pooling=pooling), pool(maps))


def test_has_the_weights_of_the_network_and_no_others(tiny):
    weights = build_extractor(tiny, spec()).get_weights()
    assert len(weights) == len(tiny.get_weights())
    for value, expected in zip(weights, tiny.get_weights()):
        np.testing.assert_array_equal(value, expected)


def test_names_the_layers_that_are_close_to_a_wrong_name(tiny):
    with pytest.raises(NetworkError, match=r"got 'block1_ou'.*: block1_out, .*block2_out\."):
        build_extractor(tiny, spec(layer="block1_ou"))


def test_names_the_layers_that_begin_with_a_wrong_name(tiny):
    with pytest.raises(NetworkError, match=r"layers: block2_bn, block2_add, block2_out\."):
        build_extractor(tiny, spec(layer="block2_"))


def test_refuses_an_input_shape_that_the_network_does_not_take(tiny):
    with pytest.raises(NetworkError, match=r"input_shape that the network takes, got \(64, 64\)"):
        build_extractor(tiny, spec(input_shape=(64, 64)))


def test_a_model_with_a_shared_layer_is_taken(keras):
    inputs = keras.Input((32, 32, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same")
    model = keras.Model(inputs, keras.layers.BatchNormalization()(shared(shared(inputs))))
    random_statistics(keras, model)
    expected = model.predict(PIXELS / 127.5 - 1, verbose=0).mean(axis=(1, 2))
    assert_close(features(model), expected)


def test_a_subclassed_model_without_a_mode_is_taken(keras):
    class Halved(keras.Model):
        def call(self, inputs):
            return inputs / 2

    assert_close(features(Halved()), (PIXELS / 127.5 - 1).mean(axis=(1, 2)) / 2)


def test_a_subclassed_model_does_not_train(keras):
    class Doubled(keras.Model):
        def call(self, inputs, training=True):
            return inputs * (1 if training else 2)

    assert_close(features(Doubled()), (PIXELS / 127.5 - 1).mean(axis=(1, 2)) * 2)


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("avg", lambda tokens: tokens.mean(axis=1)),
        ("max", lambda tokens: tokens.max(axis=1)),
        ("token", lambda tokens: tokens[:, 0]),
        (None, lambda tokens: tokens.reshape(3, 14 * 14 * 16)),
    ],
    ids=["avg", "max", "token", "flat"],
)
def test_pools_tokens_to_rows(keras, tiny, pooling, pool):
    model = keras.Model(tiny.inputs, keras.layers.Reshape((14 * 14, 16))(tiny.output))
    tokens = model.predict(PIXELS / 127.5 - 1, verbose=0)
    assert_close(features(model, pooling=pooling), pool(tokens))


def test_rows_need_no_pooling(keras, tiny):
    model = keras.Model(tiny.inputs, keras.layers.GlobalAveragePooling2D()(tiny.output))
    rows = model.predict(PIXELS / 127.5 - 1, verbose=0)
    for pooling in ("avg", "max", "token", None):
        assert_close(features(model, pooling=pooling), rows)


def test_maps_have_no_first_token(tiny):
    with pytest.raises(NetworkError, match=r"tokens to pool with pooling='token'.*\(14, 14, 16\)"):
        features(tiny, pooling="token")


def test_an_output_that_is_neither_maps_nor_tokens_is_refused(keras, tiny):
    model = keras.Model(tiny.inputs, keras.layers.Reshape((14, 14, 4, 4))(tiny.output))
    with pytest.raises(NetworkError, match=r"maps or tokens to pool.*\(14, 14, 4, 4\)"):
        features(model)


def test_several_outputs_are_refused_by_name_unless_a_layer_is_named(keras, tiny):
    stages = {name: tiny.get_layer(f"{name}_out").output for name in ("block1", "block2")}
    model = keras.Model(tiny.inputs, stages)
    with pytest.raises(NetworkError, match=r"one output, got 2: block1, block2\. .*layer="):
        features(model)
    assert features(model, layer="block1_out").shape == (3, 16)


def test_a_dict_of_one_output_is_taken(keras, tiny):
    assert_close(features(keras.Model(tiny.inputs, {"maps": tiny.output})), features(tiny))


def test_several_inputs_are_refused_by_name(keras, tiny):
    words = keras.Input((4,), name="token_ids")
    images = keras.Input((32, 32, 3), name="images")
    both = keras.ops.add(keras.ops.mean(tiny(images), axis=(1, 2, 3))[:, None], words)
    model = keras.Model({"images": images, "token_ids": words}, both)
    with pytest.raises(NetworkError, match="one input, got 2: images, token_ids"):
        features(model)


def test_several_outputs_of_a_model_without_a_graph_are_refused_by_name(keras):
    class Twice(keras.Model):
        def call(self, inputs):
            return {"first": inputs, "second": inputs}

    with pytest.raises(NetworkError, match="one output, got 2: first, second"):
        features(Twice())
