"""A network in an ONNX file gives the rows that its exporter's framework gives."""

import sys

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import (
    ConstantFeaturesError,
    NetworkError,
    WeightsFileError,
    WeightsNotFoundError,
)

onnx = pytest.importorskip("onnx", reason="onnx is not installed (test extra)")
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
KERNEL = RANDOM.normal(size=(8, 3)).astype(np.float32)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALED = {
    "none": PIXELS.astype(np.float32),
    "tf": PIXELS / 127.5 - 1,
    "torch": (PIXELS / 255 - MEAN) / STD,
    "caffe": PIXELS[..., ::-1] - np.array([103.939, 116.779, 123.68]),
}
FIRST, LAST = ["n", 3, 32, 48], ["n", 32, 48, 3]


def node(operation, *names, **attributes):
    """Return a node that is named after its output, the last of the names."""
    *inputs, output = names
    return onnx.helper.make_node(operation, inputs, [output], name=f"/{output}", **attributes)


def graph_of(nodes, inputs, outputs, **arrays):
    """Return an ONNX model; inputs and outputs are shapes by name, or (type, shape)."""
    arrays = {"kernel": KERNEL[..., None, None], **arrays}

    def values(shapes):
        whole = {k: s if isinstance(s, tuple) else ("FLOAT", s) for k, s in shapes.items()}
        types = {k: getattr(onnx.TensorProto, kind) for k, (kind, _) in whole.items()}
        return [onnx.helper.make_tensor_value_info(k, types[k], whole[k][1]) for k in whole]

    tensors = [onnx.numpy_helper.from_array(np.asarray(a), k) for k, a in arrays.items()]
    graph = onnx.helper.make_graph(nodes, "tiny", values(inputs), values(outputs), tensors)
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


CONVOLUTION = [node("Conv", "images", "kernel", "conv"), node("Relu", "conv", "maps")]
MAPS = {"maps": ["n", 8, 32, 48]}
TINY = graph_of(CONVOLUTION, {"images": FIRST}, MAPS)


def maps_of(scaled):
    """Return what the tiny network gives, with its channels last."""
    return np.maximum(scaled @ KERNEL.T, 0)


@pytest.fixture
def rows_of(tmp_path, new_cache):
    """A function that returns the rows of a model, and checks that the cache has them too."""

    def compute(model, preprocess="torch", pixels=PIXELS, **params):
        given = {"input_shape": pixels.shape[1:3], "precision": "float32", "cache": new_cache()}
        file = model
        if not isinstance(model, type(tmp_path)):
            file = tmp_path / "own.onnx"
            onnx.save(model, file)
        featurizer = ResNetFeaturizer(weights=file, preprocess=preprocess, **{**given, **params})
        rows = featurizer.fit_transform(list(pixels))
        np.testing.assert_array_equal(featurizer.fit_transform(list(pixels)), rows)
        return rows

    return compute


def assert_close(rows, expected):
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("preprocess", SCALED)
@pytest.mark.parametrize("is_last", [False, True])
def test_pixels_are_scaled_and_their_channels_put_where_the_network_takes_them(
    rows_of, preprocess, is_last
):
    model = TINY
    if is_last:  # as exporters of Keras write networks
        nodes = [
            node("Transpose", "pixels", "images", perm=[0, 3, 1, 2]),
            *CONVOLUTION,
            node("Transpose", "maps", "out", perm=[0, 2, 3, 1]),
        ]
        model = graph_of(nodes, {"pixels": LAST}, {"out": ["n", 32, 48, 8]})
    rows = rows_of(model, preprocess)
    assert_close(rows, maps_of(SCALED[preprocess]).mean(axis=(1, 2)))


@pytest.mark.parametrize("shape", [["n", "c", "h", "w"], ["n", 3, "h", "w"], ["n", "c", 32, 48]])
def test_sizes_and_channels_may_be_open(rows_of, shape):
    model = graph_of(CONVOLUTION, {"images": shape}, {"maps": ["n", 8, "h", "w"]})
    assert_close(rows_of(model), maps_of(SCALED["torch"]).mean(axis=(1, 2)))


@pytest.mark.parametrize("pooling", ["avg", "max", None])
def test_maps_are_pooled(rows_of, pooling):
    maps = maps_of(SCALED["torch"])
    flat = maps.transpose(0, 3, 1, 2).reshape(5, -1)
    expected = {"avg": maps.mean(axis=(1, 2)), "max": maps.max(axis=(1, 2)), None: flat}
    assert_close(rows_of(TINY, pooling=pooling), expected[pooling])


def test_maps_whose_channels_are_last_are_told_by_their_sides(rows_of):
    nodes = [*CONVOLUTION, node("Transpose", "maps", "out", perm=[0, 2, 3, 1])]
    model = graph_of(nodes, {"images": FIRST}, {"out": ["n", 32, 48, 8]})
    assert_close(rows_of(model), maps_of(SCALED["torch"]).mean(axis=(1, 2)))


TOKENS = [
    *CONVOLUTION,
    node("Reshape", "maps", "shape", "long"),
    node("Transpose", "long", "tokens", perm=[0, 2, 1]),
]


@pytest.mark.parametrize("pooling", ["avg", "max", "token"])
@pytest.mark.parametrize("n_images", ["n", 1])
def test_tokens_are_pooled_also_if_the_file_is_for_one_image(rows_of, pooling, n_images):
    shape = np.array([n_images if n_images == 1 else 0, 8, -1])
    model = graph_of(
        TOKENS,
        {"images": [n_images, 3, 32, 48]},
        {"tokens": [n_images, 1536, 8]},
        shape=shape,
    )
    tokens = maps_of(SCALED["torch"]).reshape(5, -1, 8)
    expected = {"avg": tokens.mean(axis=1), "max": tokens.max(axis=1), "token": tokens[:, 0]}
    assert_close(rows_of(model, pooling=pooling), expected[pooling])


def test_a_file_for_one_image_that_would_mix_up_several_gets_one_at_a_time(rows_of):
    # The mean over all images would be taken, if there were several.
    nodes = [*CONVOLUTION, node("ReduceMean", "maps", "rows", axes=[0, 2, 3], keepdims=0)]
    nodes += [node("Reshape", "rows", "shape", "out")]
    model = graph_of(nodes, {"images": [1, 3, 32, 48]}, {"out": [1, 8]}, shape=np.array([-1, 8]))
    assert_close(rows_of(model, batch_size=4), maps_of(SCALED["torch"]).mean(axis=(1, 2)))


@pytest.mark.parametrize("kind", ["FLOAT16", "UINT8"])
def test_the_type_of_the_input_is_converted(rows_of, kind):
    nodes = [node("Cast", "pixels", "images", to=onnx.TensorProto.FLOAT), *CONVOLUTION]
    model = graph_of(nodes, {"pixels": (kind, FIRST)}, MAPS)
    assert_close(rows_of(model, "none"), maps_of(SCALED["none"]).mean(axis=(1, 2)))
    if kind == "UINT8":
        with pytest.raises(NetworkError, match=r'preprocess="none".*whole numbers.*torch'):
            rows_of(model, "torch")


def test_a_network_of_grey_images_gets_grey(rows_of):
    kernel = KERNEL[:, :1, None, None]
    model = graph_of(CONVOLUTION, {"images": ["n", 1, 32, 48]}, MAPS, kernel=kernel)
    grey = PIXELS @ np.array([0.299, 0.587, 0.114])
    expected = np.maximum((grey[..., None] / 127.5 - 1) * KERNEL[:, 0], 0).mean(axis=(1, 2))
    assert_close(rows_of(model, "tf"), expected)
    with pytest.raises(NetworkError, match=r'"none" or "tf" for .*own\.onnx.* got "torch"'):
        rows_of(model, "torch")


@pytest.mark.parametrize("layer", ["conv", "/conv"])
def test_a_layer_is_the_name_of_a_node_or_of_its_output(rows_of, layer):
    assert_close(rows_of(TINY, layer=layer), (SCALED["torch"] @ KERNEL.T).mean(axis=(1, 2)))


TWO_OUTPUTS = graph_of(
    CONVOLUTION, {"images": FIRST}, {"conv": ["n", 8, 32, 48], "maps": ["n", 8, 32, 48]}
)
TEXT = [*CONVOLUTION, node("Add", "maps", "words", "both")]
TWO_INPUTS = graph_of(
    TEXT,
    {"images": FIRST, "words": ["n", 8, 1, 1]},
    {"both": ["n", 8, 32, 48], "maps": ["n", 8, 32, 48]},
)


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        (TINY, {"layer": "cnv"}, r"layer of own\.onnx, got 'cnv'.*conv"),
        (TINY, {"pooling": "token"}, r"tokens.*pooling='token'"),
        (TINY, {"input_shape": (64, 32)}, r"onnx, \(32, 48\), got \(64, 32\).*--input-shape 32 48"),
        (TINY, {"preprocess": "auto"}, 'for a whole model, got "auto" with .*own.onnx'),
        (TWO_OUTPUTS, {}, "one output, got 2: conv, maps.*layer="),
        (TWO_INPUTS, {"layer": "both"}, "one input, got 2: .*words"),
        (
            graph_of(
                [node("Identity", "words", "out")], {"words": ("INT64", ["n", 5])}, {"out": ["n"]}
            ),
            {},
            r"images of shape .*, got .*own\.onnx, which takes \(5\)",
        ),
        (
            graph_of(
                CONVOLUTION,
                {"images": ["n", 4, 32, 48]},
                MAPS,
                kernel=np.ones((8, 4, 1, 1), np.float32),
            ),
            {},
            r"images of shape .*, got .*own\.onnx, which takes \(4, 32, 48\)",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_the_network_is_refused(rows_of, model, params, message):
    with pytest.raises(NetworkError, match=message) as caught:
        rows_of(model, **params)
    assert "Nothing was computed." in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [TWO_OUTPUTS, TWO_INPUTS], ids=["outputs", "inputs"])
def test_a_layer_chooses_one_output_and_the_input_that_it_needs(rows_of, model):
    assert_close(rows_of(model, layer="maps"), maps_of(SCALED["torch"]).mean(axis=(1, 2)))


def test_a_network_that_returns_a_constant_is_refused(rows_of):
    model = graph_of(CONVOLUTION, {"images": FIRST}, MAPS, kernel=np.zeros((8, 3, 1, 1), "f4"))
    with pytest.raises(ConstantFeaturesError, match="the same features"):
        rows_of(model)


DAMAGES = {
    "text": lambda content: b"nothing of the kind, though it is long enough to be read",
    "empty": lambda content: b"",
    "cut": lambda content: content[:-60],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_raises_one_line_that_names_it(rows_of, damage, tmp_path):
    file = tmp_path / "damaged.onnx"
    file.write_bytes(DAMAGES[damage](TINY.SerializeToString()))
    with pytest.raises(WeightsFileError, match=r"an ONNX network, got .*damaged\.onnx") as caught:
        rows_of(file)
    assert "\n" not in str(caught.value)
    assert "Exception from" not in str(caught.value)


def test_an_operation_that_openvino_lacks_is_named(rows_of):
    nodes = [onnx.helper.make_node("Strange", ["images"], ["maps"], domain="of.others")]
    model = graph_of(nodes, {"images": FIRST}, MAPS)
    model.opset_import.append(onnx.helper.make_opsetid("of.others", 1))
    with pytest.raises(WeightsFileError, match=r"own\.onnx.*of\.others\.Strange") as caught:
        rows_of(model)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named_before_any_image_is_read(rows_of, tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"nowhere\.onnx"):
        ResNetFeaturizer(weights=tmp_path / "nowhere.onnx", preprocess="tf").fit(["no_image"])


@pytest.fixture(params=["weights.bin", "w" * 140 + ".bin"], ids=["a file", "with a long name"])
def outside(tmp_path, request):
    """A file whose weights are in another file, and that file."""
    file = tmp_path / "apart" / "own.onnx"
    file.parent.mkdir()
    model = onnx.ModelProto.FromString(TINY.SerializeToString())
    # Not a file, although it is written like one.
    onnx.helper.set_model_props(model, {"location": "Berlin"})
    place = {"location": request.param, "size_threshold": 0}
    onnx.save(model, file, save_as_external_data=True, **place)
    return file, file.parent / request.param


def test_weights_may_be_in_another_file(rows_of, outside):
    file, weights = outside
    expected = rows_of(TINY)
    assert KERNEL.tobytes() in weights.read_bytes()
    np.testing.assert_array_equal(rows_of(file), expected)


def test_another_file_of_weights_that_changes_is_another_network(rows_of, outside, new_cache):
    file, weights = outside
    cache = new_cache()
    before = rows_of(file, cache=cache)
    fitted = ResNetFeaturizer(
        weights=file, preprocess="torch", input_shape=(32, 48), cache=cache
    ).fit(PIXELS)
    changed = weights.read_bytes().replace(KERNEL.tobytes(), (2 * KERNEL).tobytes())
    weights.write_bytes(changed)
    assert_close(rows_of(file, cache=cache), 2 * before)
    assert fitted.fingerprint_ != fitted.fit(PIXELS).fingerprint_


def test_a_missing_file_of_weights_is_named(rows_of, outside):
    file, weights = outside
    weights.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"w+\.bin|weights\.bin"):
        rows_of(file)


def test_tensorflow_is_not_needed_on_a_machine_with_a_gpu_either(rows_of, monkeypatch):
    import resnet_kmeans.network.libraries as libraries

    monkeypatch.setattr(libraries, "may_have_gpu", lambda: True)
    for name in ("tensorflow", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    assert rows_of(TINY).shape == (5, 8)


def test_an_export_remembers_the_network(tmp_path, pictures, capsys):
    shapes = {"images": ["n", 3, "h", "w"]}, {"maps": ["n", 8, "h", "w"]}
    onnx.save(graph_of(CONVOLUTION, *shapes), tmp_path / "own.onnx")
    out, new = tmp_path / "out", tmp_path / "new"
    new.mkdir()
    Image.fromarray(PIXELS[0]).save(new / "new.png")
    network = ["--weights", str(tmp_path / "own.onnx"), "--preprocess", "torch", "--layer", "conv"]
    assert main(["cluster", str(pictures), str(out), "-k", "2", *network]) == 0
    for command in (["add", str(out), str(new)], ["split", str(out), "0"], ["report", str(out)]):
        assert main(command) == 0, capsys.readouterr().err
    assert [*out.glob("*/new.png")]


@pytest.mark.slow
def test_int8_points_where_float32_points(rows_of):
    pytest.importorskip("nncf", reason="nncf is not installed (int8 extra)")
    exact, fast = (rows_of(TINY, precision=precision) for precision in ("float32", "int8"))
    cosines = (exact * fast).sum(axis=1)
    cosines /= np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1)
    assert cosines.min() > 0.99
