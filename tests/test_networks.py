"""Networks of Keras give the features that Keras computes, whoever runs them and how often."""

import logging
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, extract_features, find_images
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import (
    ConstantFeaturesError,
    ExtraNotInstalledError,
    NetworkError,
    UntrainedWeightsWarning,
    WeightsFileError,
    WeightsMismatchError,
)

pytestmark = pytest.mark.slow
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def featurizer(tiny_network, tmp_path, new_cache):
    """A network that no other test has compiled: it is a file of its own."""
    (tmp_path / "own").mkdir()
    return ResNetFeaturizer(
        weights=shutil.copy(tiny_network, tmp_path / "own"),
        input_shape=(32, 32),
        preprocess="tf",
        precision="float32",
        cache=new_cache(),
    )


@pytest.fixture
def maps(tiny):
    return tiny.predict(PIXELS / 127.5 - 1, verbose=0)


def features(model, **params):
    """Return what a model that is saved to a file gives for the pixels."""
    given = {"input_shape": (32, 32), "preprocess": "tf", "precision": "float32", "cache": None}
    return ResNetFeaturizer(weights=model, **{**given, **params}).fit_transform(PIXELS)


@pytest.fixture
def saved(tmp_path):
    """A function that saves a model and returns the file."""

    def save(model):
        model.save(tmp_path / f"{model.name}.keras")
        return tmp_path / f"{model.name}.keras"

    return save


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def prepared(keras):
    """The pixels as the original functions prepare them."""
    return keras.applications.resnet50.preprocess_input(PIXELS.astype(np.float32))


def assert_close(rows, expected):
    tolerance = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=tolerance)


def without_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)


# ONEDNN_MAX_CPU_ISA hides instructions from oneDNN, but not from OpenVINO and TensorFlow, which
# then ask it for what it lacks. On a processor without the instructions they do not ask.
hides_bfloat16 = pytest.mark.skipif(
    os.environ.get("ONEDNN_MAX_CPU_ISA", "").startswith(("SSE41", "AVX2")),
    reason="ONEDNN_MAX_CPU_ISA hides the bfloat16 that TensorFlow sees",
)


def processor_flags():
    """Return the names of the processor's instruction sets, where Linux lists them."""
    file = Path("/proc/cpuinfo")
    return file.read_text().split() if file.exists() else []


# From pixels to features


@pytest.mark.parametrize("preprocess", ["caffe", "tf", "torch"])
def test_pixels_are_scaled_as_keras_scales_them(keras, tiny, tiny_network, preprocess):
    scale = keras.applications.imagenet_utils.preprocess_input
    maps = tiny.predict(scale(PIXELS.astype(np.float32), mode=preprocess), verbose=0)
    assert_close(features(tiny_network, preprocess=preprocess), maps.mean(axis=(1, 2)))


def test_a_network_that_scales_its_own_pixels_gets_them_as_they_are(tiny, tiny_network):
    maps = tiny.predict(PIXELS.astype(np.float32), verbose=0)
    assert_close(features(tiny_network, preprocess="none"), maps.mean(axis=(1, 2)))


def test_a_named_layer_is_the_last_one(keras, tiny, tiny_network):
    inner = keras.Model(tiny.inputs, tiny.get_layer("block1_out").output)
    maps = inner.predict(PIXELS / 127.5 - 1, verbose=0)
    assert_close(features(tiny_network, layer="block1_out"), maps.mean(axis=(1, 2)))


@pytest.mark.parametrize("pooling", ["avg", "max", None])
def test_feature_maps_are_pooled_to_rows(tiny_network, maps, pooling):
    expected = {"avg": maps.mean(axis=(1, 2)), "max": maps.max(axis=(1, 2))}
    rows = features(tiny_network, pooling=pooling)
    assert_close(rows, expected.get(pooling, maps.reshape(len(maps), -1)))


@pytest.mark.parametrize("pooling", ["avg", "max", "token", None])
def test_tokens_are_pooled_to_rows(keras, tiny, maps, saved, pooling):
    model = keras.Model(tiny.inputs, keras.layers.Reshape((14 * 14, 16))(tiny.output))
    tokens = maps.reshape(len(maps), 14 * 14, 16)
    expected = {"avg": tokens.mean(axis=1), "max": tokens.max(axis=1), "token": tokens[:, 0]}
    rows = features(saved(model), pooling=pooling)
    assert_close(rows, expected.get(pooling, maps.reshape(len(maps), -1)))


def test_rows_need_no_pooling(keras, tiny, maps, saved):
    file = saved(keras.Model(tiny.inputs, keras.layers.GlobalAveragePooling2D()(tiny.output)))
    for pooling in ("avg", "token"):
        assert_close(features(file, pooling=pooling), maps.mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layer": "block1_ou"}, r"'block1_ou'.*: block1_out, .*block2_out"),
        ({"layer": "block2_"}, "block2_bn, block2_add, block2_out"),
        ({"input_shape": (64, 64)}, r"\(64, 64\)"),
        ({"pooling": "token"}, r"pooling='token'.*\(14, 14, 16\)"),
        ({"preprocess": "auto"}, r'preprocess="caffe", "tf", "torch" or "none".*tiny\.keras'),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_parameter_that_does_not_fit_the_network_is_refused(tiny_network, params, message):
    with pytest.raises(NetworkError, match=message):
        features(tiny_network, **params)


def test_an_output_that_is_neither_maps_nor_tokens_is_refused(keras, tiny, saved):
    model = keras.Model(tiny.inputs, keras.layers.Reshape((14, 14, 4, 4))(tiny.output))
    with pytest.raises(NetworkError, match=r"\(14, 14, 4, 4\)"):
        features(saved(model))


def test_several_outputs_are_refused_by_name_unless_a_layer_is_named(keras, tiny, saved):
    stages = {name: tiny.get_layer(f"{name}_out").output for name in ("block1", "block2")}
    file = saved(keras.Model(tiny.inputs, stages))
    with pytest.raises(NetworkError, match=r"2: block1, block2\. .*layer="):
        features(file)
    assert features(file, layer="block1_out").shape == (5, 16)


def test_several_inputs_are_refused_by_name(keras, tiny, saved):
    words = keras.Input((4,), name="token_ids")
    images = keras.Input((32, 32, 3), name="images")
    both = keras.layers.Add()([keras.layers.Dense(4)(keras.layers.Flatten()(images)), words])
    file = saved(keras.Model({"images": images, "token_ids": words}, both))
    with pytest.raises(NetworkError, match="2: images, token_ids"):
        features(file)


def test_a_dict_of_one_output_is_taken(keras, tiny, maps, saved):
    file = saved(keras.Model(tiny.inputs, {"maps": tiny.output}))
    assert_close(features(file), maps.mean(axis=(1, 2)))


# Networks of one's own, however they were built


def parts(keras):
    """Return the layers of a small network, one of which would give other numbers in training."""
    layers = keras.layers
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    return [conv, layers.BatchNormalization(), layers.GlobalAveragePooling2D()]


def in_a_row(keras, *first):
    return keras.Sequential([keras.Input((32, 32, 3)), *first])


def graph(keras, *layers):
    tensor = inputs = keras.Input((32, 32, 3))
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


def used(model):
    model(PIXELS[:2].astype(np.float32))
    return model


def built(model):
    model.build((None, 32, 32, 3))
    return model


def with_the_shape_in_its_first_layer(keras):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras prefers an Input
        first = keras.layers.Conv2D(4, 3, name="conv", input_shape=(32, 32, 3))
    return keras.Sequential([first, *parts(keras)[1:]])


def grown(keras):
    model = in_a_row(keras)
    for layer in [*parts(keras), keras.layers.Dense(2)]:
        model.add(layer)
    model.pop()
    return model


def trained(model):
    model.compile("adam", "mse")
    model.fit(PIXELS / np.float32(255), np.ones((5, 4)), verbose=0)
    return model


def subclassed(keras, **ways):
    """Return a model without a graph that registers its class, so that it can be loaded."""

    @keras.saving.register_keras_serializable("tests")
    class Own(keras.Model):
        def __init__(self, **given):
            super().__init__(**given)
            self.parts = parts(keras)

        def call(self, images):
            for part in self.parts:
                images = part(images)
            return images

    @keras.saving.register_keras_serializable("tests")
    class OwnThatTrains(Own):
        def call(self, images, training=True):
            return super().call(-images if training else images)

    return (OwnThatTrains if ways else Own)()


def in_half_precision(keras, policy):
    keras.config.set_dtype_policy(policy)
    try:
        return in_a_row(keras, *parts(keras))
    finally:
        keras.config.set_dtype_policy("float32")


SEQUENTIALS = {
    "Input": lambda keras: in_a_row(keras, *parts(keras)),
    "InputLayer": lambda keras: keras.Sequential(
        [keras.layers.InputLayer(shape=(32, 32, 3)), *parts(keras)]
    ),
    "input_shape=": with_the_shape_in_its_first_layer,
    "used": lambda keras: used(keras.Sequential(parts(keras))),
    "built": lambda keras: built(keras.Sequential(parts(keras))),
    "grown": grown,
    "for any size": lambda keras: keras.Sequential([keras.Input((None, None, 3)), *parts(keras)]),
}
WAYS = {
    **SEQUENTIALS,
    "in a Sequential": lambda keras: in_a_row(keras, keras.Sequential(parts(keras))),
    "first in a Sequential": lambda keras: keras.Sequential(
        [in_a_row(keras, *parts(keras)), keras.layers.Dense(3)]
    ),
    "in a graph": lambda keras: graph(keras, keras.Sequential(parts(keras)), keras.layers.ReLU()),
    "graph in a Sequential": lambda keras: keras.Sequential([graph(keras, *parts(keras))]),
    "subclassed": lambda keras: used(subclassed(keras)),
    "subclassed, training": lambda keras: used(subclassed(keras, training=True)),
    "subclassed in a Sequential": lambda keras: in_a_row(keras, subclassed(keras)),
    "for one image": lambda keras: keras.Sequential(
        [keras.Input(batch_shape=(1, 32, 32, 3)), *parts(keras), keras.layers.Reshape((2, 2))]
    ),
    "of bytes": lambda keras: keras.Sequential(
        [keras.Input((32, 32, 3), dtype="uint8"), keras.layers.Rescaling(1), *parts(keras)]
    ),
    "trained": lambda keras: trained(in_a_row(keras, *parts(keras))),
    "trained unbuilt": lambda keras: trained(keras.Sequential(parts(keras))),
    "frozen": lambda keras: keras.Sequential(
        [keras.Input((32, 32, 3)), *parts(keras)], name="own", trainable=False
    ),
    "float64": lambda keras: in_half_precision(keras, "float64"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_network_is_taken_whichever_way_it_was_built(keras, saved, way):
    model = WAYS[way](keras)
    given = {"preprocess": "none", "pooling": None}
    images = PIXELS.astype(np.float32)
    expected = np.concatenate([model(images[[n]], training=False) for n in range(5)])
    file = saved(model)
    assert_close(features(file, **given), expected.reshape(5, -1))
    (conv,) = [layer for layer in model._flatten_layers() if layer.name == "conv"]
    assert_close(features(file, layer="conv", **given), np.reshape(conv(images), (5, -1)))


@pytest.mark.parametrize("way", SEQUENTIALS)
def test_a_sequential_model_in_memory_is_taken(keras, folder, prepared, way):
    model = SEQUENTIALS[way](keras)
    rows, _ = extract_features(folder, model, (32, 32))
    assert_close(rows, model.predict(prepared, verbose=0))


def test_preprocessing_layers_work_and_augmentation_does_not(keras, saved):
    layers = keras.layers
    scale = [layers.Resizing(24, 24), layers.Rescaling(1 / 127.5, -1)]
    augment = [layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomContrast(0.5)]
    model = in_a_row(keras, keras.Sequential(augment), *scale, *parts(keras), layers.Dropout(0.5))
    expected = model(PIXELS.astype(np.float32), training=False)
    np.testing.assert_allclose(features(saved(model), preprocess="none"), expected, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_network_that_was_trained_in_mixed_precision_runs_in_that_of_the_featurizer(
    keras, saved, caplog, policy
):
    model = in_half_precision(keras, policy)
    file, images = saved(model), PIXELS.astype(np.float32)
    for layer in model.layers:
        layer.dtype_policy = "float32"
    assert_close(features(file, preprocess="none"), model(images, training=False))
    assert caplog.text == ""


@pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method:UserWarning")
def test_a_quantized_network_is_taken(keras, saved):
    model = in_a_row(keras, *parts(keras), keras.layers.Dense(4))
    model.quantize("int8")
    expected = model(PIXELS.astype(np.float32), training=False)
    np.testing.assert_allclose(features(saved(model), preprocess="none"), expected, rtol=1e-4)


def test_a_layer_that_no_inner_network_has_is_refused(keras, saved):
    file = saved(in_a_row(keras, subclassed(keras)))
    with pytest.raises(NetworkError, match=r"'con'\. Nothing was computed\. .*: conv, .*own"):
        features(file, preprocess="none", layer="con")


# Networks of grey images, and of none


@pytest.mark.slow
def test_convolutions_with_the_channels_first_are_computed_where_tensorflow_cannot(keras, saved):
    layers = keras.layers
    last, first = layers.Conv2D(4, 3), layers.Conv2D(4, 3, data_format="channels_first")
    expected = in_a_row(keras, last, layers.GlobalAveragePooling2D())(PIXELS / 127.5 - 1)
    pool = layers.GlobalAveragePooling2D(data_format="channels_first")
    model = in_a_row(keras, layers.Permute((3, 1, 2)), first, pool)
    first.set_weights(last.get_weights())
    assert_close(features(saved(model)), np.asarray(expected))


def test_maps_with_the_channels_first_are_pooled_over_their_sides(keras, saved, tiny, maps):
    model = keras.Sequential([keras.Input((32, 32, 3)), tiny, keras.layers.Permute((3, 1, 2))])
    assert_close(features(saved(model)), maps.mean(axis=(1, 2)))


def test_a_network_that_takes_whole_numbers_gets_pixels_alone(keras, saved):
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(scaled))
    expected = PIXELS.mean(axis=(1, 2)) / 255
    assert_close(features(saved(model), preprocess="none"), expected)
    with pytest.raises(NetworkError, match=r'preprocess="none".*whole numbers'):
        features(saved(model), preprocess="torch")


@pytest.mark.parametrize("last", ["Softmax", "ReLU"])
def test_another_network_with_the_same_weights_is_not_that_of_the_fit(keras, tiny, tmp_path, last):
    file = tmp_path / "own.keras"
    params = {"input_shape": (32, 32), "preprocess": "tf", "cache": None}
    tiny.save(file)
    featurizer = ResNetFeaturizer(weights=file, **params).fit(PIXELS)
    keras.Sequential([keras.Input((32, 32, 3)), tiny, getattr(keras.layers, last)()]).save(file)
    with pytest.raises(WeightsMismatchError):
        featurizer.transform(PIXELS)


def test_a_network_that_is_saved_again_is_that_of_the_fit(keras, tmp_path):
    def build():
        layers = [keras.layers.Conv2D(4, 3), keras.layers.ReLU()]
        return keras.Sequential([keras.Input((32, 32, 3)), *layers])

    first, second = build(), build()  # Keras numbers their layers on
    second.set_weights(first.get_weights())
    first.trainable = False
    found = set()
    for model in (first, second):
        model.save(tmp_path / "own.keras")
        params = {"input_shape": (32, 32), "preprocess": "tf", "cache": None}
        found.add(
            ResNetFeaturizer(weights=tmp_path / "own.keras", **params).fit(PIXELS).fingerprint_
        )
    assert len(found) == 1


def test_a_network_that_returns_nan_is_refused_before_the_first_image(keras, saved):
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3)])
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.raises(NetworkError, match=r"got NaN for noise and for a black image"):
        features(saved(model))


@pytest.fixture
def no_image_is_read(monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was read"))


def of_shape(keras, *shape):
    first = [keras.layers.Permute((2, 3, 1))] if shape[0] == 3 else []
    pool = keras.layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input(shape), *first, keras.layers.Conv2D(4, 3), pool])


@pytest.mark.parametrize("preprocess", ["none", "tf"])
@pytest.mark.parametrize("pooling", ["avg", None])
def test_a_network_of_grey_images_gets_those_of_pillow(keras, saved, preprocess, pooling):
    pool = [keras.layers.GlobalAveragePooling2D()] if pooling else []
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(4, 3), *pool])
    grey = np.stack([np.array(Image.fromarray(p).convert("L")) for p in PIXELS])[..., None]
    scaled = grey / 127.5 - 1 if preprocess == "tf" else grey
    expected = np.reshape(model(scaled.astype(np.float32)), (5, -1))
    assert_close(features(saved(model), preprocess=preprocess, pooling=pooling), expected)


def test_a_subclassed_network_gets_grey_images_if_it_was_built_with_some(keras, saved):
    model = subclassed(keras)
    model(np.zeros((1, 32, 32, 1), np.float32))
    assert features(saved(model), preprocess="none").shape == (5, 4)


@pytest.mark.parametrize(
    ("shape", "params", "message"),
    [
        ((32, 32, 1), {"preprocess": "caffe"}, r'"caffe", .*\(--preprocess none\).*or save'),
        ((32, 32, 1), {"preprocess": "torch"}, r'"torch", .*\(--preprocess none\).*or save'),
        ((3, 32, 32), {}, r"takes \(3, 32, 32\)\. Nothing was computed\. .*Permute\(\(3, 1, 2"),
        ((3, None, None), {}, r"takes \(3, any, any\)\. Nothing was computed\. .*Permute"),
        ((32, 32, 2), {}, r"or \(height, width, 1\), .*takes \(32, 32, 2\)"),
        ((32, 32, 4), {}, r"or \(height, width, 1\), .*takes \(32, 32, 4\)"),
        ((48, None, 3), {}, r"\(48, 32\), got \(32, 32\).*=\(48, 32\) \(--input-shape 48 32\)"),
        ((28, 28, 1), {}, r"at least 32 pixels.*takes \(28, 28, 1\).*Resizing.*smaller"),
    ],
    ids=str,
)
def test_a_network_of_other_images_is_refused_before_the_first(
    keras, saved, folder, no_image_is_read, shape, params, message
):
    given = {"preprocess": "none", "input_shape": (32, 32), "cache": None, **params}
    featurizer = ResNetFeaturizer(weights=saved(of_shape(keras, *shape)), **given)
    with pytest.raises(NetworkError, match=message):
        featurizer.transform(find_images(folder))


@pytest.mark.parametrize("layers", ["Embedding", "Conv3D"])
def test_a_network_of_text_or_video_is_refused(keras, saved, layers):
    text = [keras.Input((7,)), keras.layers.Embedding(9, 4), keras.layers.Flatten()]
    video = [keras.Input((4, 32, 32, 3)), keras.layers.Conv3D(2, 3), keras.layers.Flatten()]
    file = saved(keras.Sequential(text if layers == "Embedding" else video))
    with pytest.raises(NetworkError, match=r"takes \((7|4, 32, 32, 3)\)\. .*Pass another network"):
        features(file, preprocess="none")


def test_what_is_advised_for_channels_first_and_for_small_images_works(keras, saved):
    layers, images = keras.layers, PIXELS.astype(np.float32)
    first, small = of_shape(keras, 3, 32, 32), of_shape(keras, 28, 28, 3)
    expected = first(images.transpose(0, 3, 1, 2))
    turned = in_a_row(keras, layers.Permute((3, 1, 2)), first)
    assert_close(features(saved(turned), preprocess="none"), expected)
    resized = in_a_row(keras, layers.Resizing(28, 28), small)
    assert features(saved(resized), preprocess="none").shape == (5, 4)


@pytest.mark.parametrize("options", [["--layer", "foo"], ["--weights", "nowhere.keras"]])
def test_the_command_refuses_a_network_before_the_first_image(
    keras, saved, folder, tmp_path, no_image_is_read, capsys, options
):
    weights = ["--weights", str(saved(of_shape(keras, 32, 32, 3)))]
    given = [*weights, "--preprocess", "none", "--input-shape", "32", "32", *options]
    assert main(["cluster", str(folder), str(tmp_path / "out"), *given]) == 2
    assert options[1] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# What Keras says


@pytest.fixture
def refusal():
    """A function that returns what is said about a network, which is never what Keras prints."""

    def refusal(file, error=NetworkError, **params):
        with pytest.raises(error) as caught:
            features(file, **{"preprocess": "none", **params})
        text = str(caught.value)
        for part in ("\x1b", "\\x1b", "Arguments received", "Exception encountered", "..", ":."):
            assert part not in text
        return text

    return refusal


def test_a_layer_that_fails_is_quoted_in_one_sentence(keras, saved, refusal):
    @keras.saving.register_keras_serializable("tests")
    class Fails(keras.Model):
        def build(self, shape):
            self.built = True

        def call(self, images):
            raise RuntimeError("It takes v1.5 of nothing.\nAnd more. And more.")

    assert "which fails: It takes v1.5 of nothing. Nothing" in refusal(saved(built(Fails())))


def test_a_network_without_a_graph_names_the_size_that_it_was_built_for(keras, saved, refusal):
    @keras.saving.register_keras_serializable("tests")
    class Flat(keras.Model):
        def __init__(self, **given):
            super().__init__(**given)
            self.dense = keras.layers.Dense(3)

        def call(self, images):
            return self.dense(keras.ops.reshape(images, (-1, np.prod(images.shape[1:]))))

    model = Flat()
    model(np.zeros((1, 48, 40, 3), np.float32))
    text = refusal(saved(model))
    assert "have value 5760, but received" in text
    assert "Pass input_shape=(48, 40) (--input-shape 48 40)" in text


def test_a_layer_that_tensorflow_cannot_trace_is_refused(keras, saved, refusal, caplog):
    @keras.saving.register_keras_serializable("tests")
    class Eager(keras.layers.Layer):
        def call(self, images):
            return images.numpy()

        def compute_output_shape(self, shape):
            return shape

    text = refusal(saved(in_a_row(keras, Eager(), *parts(keras))))
    assert "got one that fails: " in text
    assert "numpy" in text
    assert caplog.text == ""


def test_an_output_that_cannot_be_pooled_names_the_options(keras, saved, refusal):
    text = refusal(saved(in_a_row(keras, keras.layers.Reshape((8, 8, 4, 12)))))
    for option in ("(8, 8, 4, 12)", "(--pooling avg)", "(--pooling none)", "(--layer NAME)"):
        assert option in text


def edited(file, **members):
    """Return a copy of a .keras file with other members, or without those that are None."""
    copy = file.with_name("edited.keras")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(copy, "w") as target:
        contents = {name: source.read(name) for name in source.namelist()} | members
        for name, content in contents.items():
            if content is not None:
                target.writestr(name, content)
    return copy


def unusable(keras, kind, saved, tmp_path):
    """Return a file that cannot be loaded."""
    if kind == "a Lambda layer":
        return saved(in_a_row(keras, keras.layers.Lambda(lambda images: images), *parts(keras)))
    if kind == "a class of one's own":

        class Unknown(keras.layers.Layer):
            pass

        return saved(in_a_row(keras, Unknown(), *parts(keras)))
    if kind == "no weights yet":
        return saved(keras.Sequential(parts(keras)))
    model = in_a_row(keras, *parts(keras))
    file = saved(model)
    if kind == "another Keras":
        metadata, config = '{"keras_version": "2.15.0"}', zipfile.ZipFile(file).read("config.json")
        config = config.replace(b'"filters"', b'"sieves"')
        return edited(file, **{"metadata.json": metadata, "config.json": config})
    if kind == "another zip file":
        return edited(file, **{"config.json": None})
    if kind == "cut short":
        file.write_bytes(file.read_bytes()[:-1000])
    if kind == "weights alone":
        model.save_weights(tmp_path / "own.weights.h5")
        (tmp_path / "own.weights.h5").replace(file)
    if kind.startswith("HDF5"):
        model.save(tmp_path / "whole.h5")
        return tmp_path / "whole.h5" if kind == "HDF5" else shutil.copy(tmp_path / "whole.h5", file)
    return file


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("a Lambda layer", "Python lambda. Put layers of Keras in its place"),
        ("a class of one's own", "Could not locate class 'Unknown'. In Python, import"),
        ("no weights yet", "before it had weights. Call the model on an image"),
        ("another Keras", "argument: 'filters' (it was saved by Keras 2.15.0; Keras "),
        ("another zip file", "it is no .keras file, or damaged or incomplete"),
        ("cut short", "it is no .keras file, or damaged or incomplete"),
        ("weights alone", "it is an HDF5 file of weights alone"),
        (
            "HDF5",
            "HDF5 file of a whole model. To use it, load it with keras.models.load_model and ",
        ),
        ("HDF5 in name only", 'and save it with model.save("NAME.keras")'),
    ],
)
@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_file_that_cannot_be_loaded_is_refused_with_the_true_reason(
    keras, saved, tmp_path, refusal, kind, message
):
    assert message in refusal(unusable(keras, kind, saved, tmp_path), WeightsFileError)


# Models in memory


def test_a_model_with_a_shared_layer_is_taken(keras, folder, prepared):
    inputs = keras.Input((32, 32, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same")
    model = keras.Model(inputs, keras.layers.BatchNormalization()(shared(shared(inputs))))
    model.layers[-1].set_weights(np.random.default_rng(0).uniform(0.5, 1.5, (4, 3)))
    rows, _ = extract_features(folder, model, (32, 32))
    assert_close(rows, model.predict(prepared, verbose=0).reshape(5, -1))


def test_a_subclassed_model_is_taken_and_does_not_train(keras, folder, prepared):
    class Halved(keras.Model):
        def call(self, inputs):
            return inputs / 2

    class Doubled(keras.Model):
        def call(self, inputs, training=True):
            return inputs * (1 if training else 2)

    for model, factor in ((Halved(), 0.5), (Doubled(), 2)):
        rows, _ = extract_features(folder, model, (32, 32))
        assert_close(rows, prepared.reshape(5, -1) * factor)


def test_several_outputs_of_a_model_without_a_graph_are_refused_by_name(keras, folder):
    class Twice(keras.Model):
        def call(self, inputs):
            return {"first": inputs, "second": inputs}

    with pytest.raises(NetworkError, match="2: first, second"):
        extract_features(folder, Twice(), (32, 32))


def test_a_network_that_returns_a_constant_is_refused(keras, tiny, folder):
    constant = keras.models.clone_model(tiny)
    constant.set_weights([np.zeros_like(value) for value in constant.get_weights()])
    with pytest.raises(ConstantFeaturesError, match=r"--layer NAME"):
        extract_features(folder, constant, (32, 32))


# Backbones


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152"])
def test_a_backbone_equals_keras_applications(keras, name, tmp_path):
    model = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    )
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    model.save_weights(tmp_path / "own.weights.h5")
    expected = model.predict(
        keras.applications.resnet.preprocess_input(PIXELS.astype(np.float32)), verbose=0
    )
    backbone = {"backbone": name.lower(), "preprocess": "auto"}
    assert_close(features(tmp_path / "own.weights.h5", **backbone), expected)


@pytest.mark.parametrize("backbone", ["resnet50", "efficientnet_lite0"])
def test_untrained_weights_warn_repeat_and_leave_the_random_state(backbone, new_cache):
    import random

    random.seed(3)
    before, numbers = random.getstate(), np.random.get_state()[1].copy()
    rows = []
    for _ in "12":
        with pytest.warns(UntrainedWeightsWarning, match="weights=None"):
            rows.append(features(None, backbone=backbone, preprocess="auto", cache=new_cache()))
    np.testing.assert_array_equal(*rows)
    assert random.getstate() == before
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)


# Precisions


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_rows_are_bit_identical_in_any_batch_and_thread(featurizer, precision):
    if precision == "int8":
        pytest.importorskip("nncf", reason="nncf, the int8 extra, is not installed")
    featurizer.set_params(precision=precision, batch_size=2, cache=None)
    rows = compute(featurizer, precision, PIXELS)
    for n in range(5):
        np.testing.assert_array_equal(featurizer.transform(PIXELS[[n]]), rows[[n]])
    np.testing.assert_array_equal(featurizer.transform(PIXELS[1:4]), rows[1:4])
    np.testing.assert_array_equal(clone(featurizer).set_params(n_jobs=2).transform(PIXELS), rows)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: featurizer.transform(PIXELS[[n % 5]])[0], range(100)))
    np.testing.assert_array_equal(together, np.tile(rows, (20, 1)))


def compute(featurizer, precision, images):
    """Return features, unless the environment asks for what OpenVINO cannot do."""
    try:
        return featurizer.set_params(precision=precision).fit_transform(images)
    except RuntimeError as error:
        if os.environ.get("ONEDNN_MAX_CPU_ISA") and precision != "float32":
            pytest.skip(f"ONEDNN_MAX_CPU_ISA is set, OpenVINO says: {error}")
        raise


def cosines(rows, others):
    return (rows * others).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(others, axis=1)


def test_bfloat16_points_where_float32_points_and_is_the_same_network(featurizer):
    # A processor without it computes in float32, or emulates it: nothing says that rows differ.
    exact, fingerprint = featurizer.fit_transform(PIXELS), featurizer.fingerprint_
    rows = compute(featurizer, "bfloat16", PIXELS)
    assert cosines(rows, exact).min() > 0.999
    assert featurizer.fingerprint_ == fingerprint


@pytest.fixture
def move(monkeypatch):
    """A function that makes this machine one with bfloat16, or one without."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if {"avx512_bf16", "avx_ne_convert"}.isdisjoint(processor_flags()):
        pytest.skip("the processor has no bfloat16")

    def move(has_bfloat16):
        if has_bfloat16:
            monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
        else:
            monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")

    return move


def test_a_fitted_featurizer_computes_in_float32_on_another_machine_too(featurizer, move):
    exact = featurizer.fit_transform(PIXELS)
    move(has_bfloat16=False)
    fitted = clone(featurizer).set_params(precision="auto").fit(PIXELS)
    move(has_bfloat16=True)
    moved = pickle.loads(pickle.dumps(fitted))
    assert moved.precision_ == "float32"
    np.testing.assert_array_equal(moved.transform(PIXELS), exact)
    assert not np.array_equal(moved.fit_transform(PIXELS), exact)
    assert moved.precision_ == "bfloat16"


def test_a_fitted_featurizer_computes_in_bfloat16_where_there_is_any(featurizer, move):
    exact = featurizer.fit_transform(PIXELS)
    fitted = clone(featurizer).set_params(precision="auto")
    rows = fitted.fit_transform(PIXELS)
    assert fitted.precision_ == "bfloat16"
    move(has_bfloat16=False)
    np.testing.assert_array_equal(fitted.transform(PIXELS), exact)
    assert fitted.precision_ == "bfloat16"
    move(has_bfloat16=True)
    np.testing.assert_array_equal(fitted.transform(PIXELS), rows)


def test_a_saved_model_computes_in_the_type_of_its_fit(featurizer, move, pictures, tmp_path):
    paths = find_images(pictures)
    exact = featurizer.fit_transform(paths)
    move(has_bfloat16=False)
    auto = clone(featurizer).set_params(precision="auto", cache=None)
    model = ImageFolderClusterer(3, featurizer=auto, random_state=0).fit(paths)
    model.save(tmp_path / "model")
    model.export(tmp_path / "out")
    move(has_bfloat16=True)
    model = ImageFolderClusterer.load(tmp_path / "model", cache=None)
    model.save(tmp_path / "again")
    again = ImageFolderClusterer.load(tmp_path / "again", cache=None)
    album = ImageFolderClusterer.from_export(tmp_path / "out", cache=None)
    for loaded in (model, again, album):
        np.testing.assert_array_equal(loaded.pipeline_["featurizer"].transform(paths), exact)
    fast = ImageFolderClusterer.load(tmp_path / "model", precision="auto")
    assert fast.pipeline_["featurizer"].network_spec().precision == "bfloat16"


def test_the_processor_has_bfloat16_where_openvino_says_so():
    from resnet_kmeans.network.libraries import has_bfloat16, import_openvino

    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("ONEDNN_MAX_CPU_ISA hides bfloat16 from oneDNN, but not from OpenVINO")
    abilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert has_bfloat16() == ("BF16" in abilities)


def test_auto_is_bfloat16_or_float32(featurizer):
    exact = featurizer.fit_transform(PIXELS)
    fast, chosen = (compute(clone(featurizer), p, PIXELS) for p in ("bfloat16", "auto"))
    assert (chosen == fast).all() or (chosen == exact).all()


@pytest.fixture
def int8(featurizer):
    pytest.importorskip("nncf", reason="nncf, the int8 extra, is not installed")
    return clone(featurizer).set_params(precision="int8")


def test_int8_points_where_float32_points_and_is_another_network(featurizer, int8, capfd):
    images = np.kron(PIXELS[:, :8, :8], np.ones((1, 4, 4, 1), np.uint8))  # coarse, as photos are
    exact, rows = featurizer.fit_transform(images), compute(int8, "int8", images)
    assert cosines(rows, exact).min() > 0.98
    assert not np.allclose(rows, exact, rtol=1e-3)
    assert int8.fingerprint_ != featurizer.fingerprint_
    assert capfd.readouterr().out == ""


VNNI = {"avx512_vnni", "avx_vnni"}


@pytest.mark.skipif(
    "ONEDNN_MAX_CPU_ISA" in os.environ or VNNI.isdisjoint(processor_flags()),
    reason="without VNNI, or with ONEDNN_MAX_CPU_ISA, there is one set of instructions to try",
)
@pytest.mark.parametrize(("instructions", "bound"), [("AVX2", 1.0), ("SSE41", 0.999)])
def test_int8_features_agree_across_instruction_sets(
    tmp_path, new_cache, real_pictures, instructions, bound
):
    pytest.importorskip("nncf", reason="nncf, the int8 extra, is not installed")
    paths = find_images(real_pictures)
    given = {"backbone": "efficientnet_lite0", "cache": new_cache()}
    exact = ResNetFeaturizer(**given, precision="float32").transform(paths)
    featurizer = ResNetFeaturizer(**given, precision="int8")
    rows = featurizer.fit_transform(paths)
    given = {**given, "weights": str(featurizer.network_files()[1]), "cache": None}
    program = (
        "import sys, numpy; from resnet_kmeans import ResNetFeaturizer\n"
        f"featurizer = ResNetFeaturizer(**{given!r}, precision='int8')\n"
        f"numpy.save({str(tmp_path / 'rows.npy')!r}, featurizer.transform(sys.argv[1:]))"
    )
    there = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions}
    subprocess.run([sys.executable, "-c", program, *map(str, paths)], check=True, env=there)
    others = np.load(tmp_path / "rows.npy")
    assert cosines(others, rows).min() > bound - 1e-6
    assert cosines(others, exact).mean() > 0.98
    assert cosines(others, exact).min() > 0.95


def test_int8_is_the_same_network_every_time(int8, tmp_path):
    rows = [
        compute(int8.set_params(cache=tmp_path / name), "int8", PIXELS)
        for name in ("first", "second")
    ]
    np.testing.assert_array_equal(*rows)


def test_int8_without_nncf_raises_an_error_that_names_the_extra(int8, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ExtraNotInstalledError, match=r"nncf.*resnet-kmeans\[int8\]"):
        int8.set_params(cache=tmp_path).fit(PIXELS)


def test_a_network_that_tensorflow_runs_has_no_int8(int8, tmp_path, monkeypatch):
    without_openvino(monkeypatch)
    with pytest.raises(NetworkError, match=r'precision="int8".*precision="auto"'):
        int8.set_params(cache=tmp_path).fit(PIXELS)


# Compiled networks


def test_a_network_is_compiled_once_and_the_log_says_so(featurizer, tmp_path, caplog):
    featurizer.set_params(cache=tmp_path / "cache")
    with caplog.at_level(logging.INFO, "resnet_kmeans"):
        rows = featurizer.fit_transform(PIXELS)
        np.testing.assert_array_equal(featurizer.transform(PIXELS), rows)
        for change in ({"batch_size": 3}, {"resize": "pad"}):
            clone(featurizer).set_params(**change).transform(PIXELS)
        assert caplog.messages == ["Preparing tiny.keras (first use only)."]
        caplog.clear()
        clone(featurizer).set_params(pooling="max").transform(PIXELS)
        assert len(caplog.messages) == 1


def test_a_compiled_network_needs_no_tensorflow(featurizer, tmp_path):
    rows = featurizer.set_params(cache=tmp_path / "cache").fit_transform(PIXELS)
    (tmp_path / "cache" / "features.sqlite3").unlink()
    np.save(tmp_path / "pixels.npy", PIXELS)
    program = (
        "import sys, numpy as np\n"
        "from resnet_kmeans import ResNetFeaturizer\n"
        "weights, cache, pixels, rows = sys.argv[1:]\n"
        "featurizer = ResNetFeaturizer(weights=weights, input_shape=(32, 32), preprocess='tf',\n"
        "                              precision='float32', cache=cache)\n"
        "np.save(rows, featurizer.fit_transform(np.load(pixels)))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    files = [featurizer.weights, *(tmp_path / n for n in ("cache", "pixels.npy", "rows.npy"))]
    subprocess.run([sys.executable, "-c", program, *files], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), rows)


def test_another_machine_needs_the_compiled_file_alone(featurizer, tmp_path):
    rows = featurizer.fit_transform(PIXELS)
    weights, compiled = featurizer.network_files()
    assert str(weights) == featurizer.weights
    sent = shutil.copy(compiled, tmp_path / "sent.network")
    other = clone(featurizer).set_params(weights=sent, cache=None)
    np.testing.assert_array_equal(other.fit_transform(PIXELS), rows)
    assert other.fingerprint_ == featurizer.fingerprint_


DAMAGES = {
    "cut short": lambda content: content[:-100],
    "empty": lambda content: b"",
    "a flipped bit": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_compiled_network_is_compiled_again_and_the_log_says_so(
    featurizer, tmp_path, caplog, damage
):
    rows = featurizer.set_params(cache=tmp_path / "one").fit_transform(PIXELS)
    (tmp_path / "other").mkdir()
    shutil.copytree(tmp_path / "one" / "networks", tmp_path / "other" / "networks")
    (file,) = (tmp_path / "other" / "networks").iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    other = clone(featurizer).set_params(cache=tmp_path / "other")
    np.testing.assert_array_equal(other.fit_transform(PIXELS), rows)
    assert file.name in caplog.text
    assert "compiled again" in caplog.text
    caplog.clear()
    third = clone(featurizer).set_params(cache=tmp_path / "third")
    (tmp_path / "other").rename(tmp_path / "third")
    np.testing.assert_array_equal(third.fit_transform(PIXELS), rows)
    assert caplog.text == ""


def test_a_cache_keeps_a_few_networks_the_last_used_ones(featurizer, tmp_path, capsys):
    featurizer.set_params(cache=tmp_path / "cache")
    folder, made = tmp_path / "cache" / "networks", []
    for pooling in ("avg", "max", None):
        for preprocess in ("caffe", "tf", "torch"):
            one = clone(featurizer).set_params(pooling=pooling, preprocess=preprocess)
            before = set(folder.iterdir()) if made else set()
            one.fit(PIXELS)
            (new,) = set(folder.iterdir()) - before
            made.append(new)
            os.utime(new, (len(made), len(made)))
        os.utime(made[0])  # as if used again
    kept = set(folder.iterdir())
    assert {made[0], made[-1]} < kept
    assert made[1] not in kept
    main(["cache", "--cache", str(tmp_path / "cache")])
    assert f"networks: {len(kept)} networks" in capsys.readouterr().out
    assert len(kept) < len(made)


def test_where_compiled_networks_cannot_be_kept_they_are_not_needed(featurizer, tmp_path, caplog):
    rows = featurizer.fit_transform(PIXELS)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "networks").touch()
    other = clone(featurizer).set_params(cache=tmp_path / "cache")
    np.testing.assert_array_equal(other.fit_transform(PIXELS), rows)
    assert caplog.text == ""


def test_threads_that_compile_a_network_at_the_same_time_all_get_it(featurizer, maps, tmp_path):
    featurizer.set_params(cache=tmp_path)
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda n: clone(featurizer).fit_transform(PIXELS), range(4)))
    assert_close(several[0], maps.mean(axis=(1, 2)))
    for one in several:
        np.testing.assert_array_equal(one, several[0])


# TensorFlow where OpenVINO cannot


def test_tensorflow_runs_what_openvino_cannot_and_the_log_says_so(keras, folder, prepared, caplog):
    import tensorflow

    class Odd(keras.layers.Layer):
        def call(self, inputs):
            sines = tensorflow.numpy_function(np.sin, [inputs], "float32")
            return tensorflow.ensure_shape(sines, inputs.shape)

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((32, 32, 3))
    rows, _ = extract_features(folder, keras.Model(inputs, Odd()(inputs), name="odd"), (32, 32))
    np.testing.assert_allclose(rows, np.sin(prepared).reshape(5, -1), atol=1e-4)
    assert "odd" in caplog.text
    assert "TensorFlow" in caplog.text


def test_a_network_that_openvino_computes_otherwise_is_left_to_tensorflow(keras, folder, caplog):
    import tensorflow

    class Noisy(keras.layers.Layer):
        def call(self, inputs):
            return inputs + tensorflow.random.uniform(tensorflow.shape(inputs), maxval=50.0)

    inputs = keras.Input((32, 32, 3))
    extract_features(folder, keras.Model(inputs, Noisy()(inputs), name="noisy"), (32, 32))
    assert "differ from those of Keras" in caplog.text


def test_tensorflow_runs_the_network_if_openvino_is_missing(
    featurizer, maps, tmp_path, monkeypatch, caplog
):
    expected = featurizer.fit(PIXELS).fingerprint_
    without_openvino(monkeypatch)
    # Not in float32 alone: a processor computes in it whatever is asked for.
    featurizer.set_params(cache=tmp_path, batch_size=2, precision="bfloat16")
    rows = featurizer.fit_transform(PIXELS)
    assert_close(rows, maps.mean(axis=(1, 2)))
    assert featurizer.fingerprint_ == expected
    assert "openvino" in caplog.text
    assert caplog.text.count("TensorFlow does") == 1
    for n in range(5):
        alone = clone(featurizer).set_params(cache=None).transform(PIXELS[[n]])
        np.testing.assert_array_equal(alone, rows[[n]])


def test_threads_may_share_what_tensorflow_runs(featurizer, monkeypatch):
    # A residual block whose convolution reads its own summand: TensorFlow's kernel is not
    # safe there, and without turns this crashed the process within a hundred calls.
    without_openvino(monkeypatch)
    featurizer.set_params(cache=None, batch_size=2)
    alone = [featurizer.transform(PIXELS[[n]])[0] for n in range(5)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda n: featurizer.transform(PIXELS[[n % 5]])[0], range(300)))
    np.testing.assert_array_equal(together, alone * 60)


@hides_bfloat16
@pytest.mark.parametrize(
    ("device", "precision", "capability", "expected"),
    [
        ("/dev/nvidia0", "auto", (8, 0), "bfloat16"),
        ("/proc/driver/nvidia/gpus", "auto", (8, 0), "bfloat16"),
        ("/dev/dxg", "auto", (8, 0), "bfloat16"),
        ("/dev/nvidia0", "auto", (7, 5), "float32"),
        ("/dev/nvidia0", "bfloat16", (7, 5), "bfloat16"),
        ("/dev/nvidia0", "float32", (9, 0), "float32"),
    ],
)
def test_tensorflow_runs_the_network_on_a_gpu_in_bfloat16_if_it_can(
    featurizer, maps, monkeypatch, device, precision, capability, expected
):
    from tensorflow import config

    fingerprint = featurizer.fit(PIXELS).fingerprint_
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: path == device or exists(path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["the first"])
    details = {"compute_capability": capability}
    monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu: details)
    featurizer.set_params(precision=precision, batch_size=2, cache=None)
    rows, exact = featurizer.fit_transform(PIXELS), maps.mean(axis=(1, 2))
    assert np.allclose(rows, exact, rtol=1e-5, atol=1e-5) == (expected == "float32")
    assert cosines(rows, exact).min() > 0.999
    assert featurizer.fingerprint_ == fingerprint


@pytest.mark.parametrize("hidden", ["-1", ""])
def test_a_hidden_gpu_is_not_used(featurizer, monkeypatch, hidden):
    from tensorflow import config

    rows = featurizer.fit_transform(PIXELS)
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/nvidia0" or exists(path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: pytest.fail("it was asked"))
    again = clone(featurizer).set_params(cache=None)
    np.testing.assert_array_equal(again.fit_transform(PIXELS), rows)


@hides_bfloat16
def test_a_model_whose_weights_are_bfloat16_is_taken(keras, saved):
    inputs = keras.Input((32, 32, 3), dtype="float32")
    file = saved(keras.Model(inputs, keras.layers.Conv2D(4, 3, dtype="bfloat16")(inputs)))
    assert np.isfinite(features(file)).all()
