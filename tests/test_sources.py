"""Images may be passed in any sequence; anything else is refused by name and place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.model_selection import GridSearchCV

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, choose_n_clusters
from resnet_kmeans.exceptions import InvalidImagesError, NoImagesError, UnreadableImagesError

NAMES = ["b.png", "a.png", "c.png"]
GRAYS = [10, 20, 30]


@pytest.fixture(scope="module")
def featurizer(stand_in):
    return ResNetFeaturizer(weights=stand_in, input_shape=(32, 32), cache=None)


@pytest.fixture
def see(featurizer, tmp_path, monkeypatch):
    """A function that returns the gray of each image; `NAMES` are files of `GRAYS`."""
    monkeypatch.chdir(tmp_path)
    for name, gray in zip(NAMES, GRAYS):
        Image.new("L", (2, 2), gray).save(name)
    return lambda X: np.round(255 * featurizer.transform(X).mean(axis=1)).tolist()


@pytest.mark.parametrize(
    "X",
    [
        NAMES,
        tuple(NAMES),
        np.array(NAMES),
        np.array(NAMES, dtype=object),
        np.array(NAMES)[:, None],
        pd.Series(NAMES, index=[7, 8, 9]),
        pd.Series(NAMES, dtype="string"),
        pd.DataFrame({"path": NAMES}),
    ],
    ids=lambda X: type(X).__name__,
)
def test_paths_in_any_sequence_keep_their_order(see, X):
    assert see(X) == GRAYS


def test_bytes_pictures_arrays_and_paths_may_be_mixed(see):
    array = np.full((2, 3, 3), 40, dtype=np.uint8)
    content = Path("c.png").read_bytes()
    mixed = [content, Image.new("L", (1, 1), 50), array, Path("a.png"), "b.png"]
    assert see(mixed) == [30, 50, 40, 20, 10]
    assert see(np.stack([array, array + 1, array + 2])) == [40, 41, 42]


@pytest.mark.parametrize(
    ("X", "got"),
    [
        ("folder", r"a single str: 'folder'.* \[path\]"),
        (Path("folder"), r"a single PosixPath.* \[path\]"),
        (b"content", r"a single bytes.* \[path\]"),
        (Image.new("L", (1, 1)), r"a single Image.* \[path\]"),
        (None, "a single NoneType"),
        (5, "a single int"),
        (np.array("x.jpg"), "a single ndarray"),
        ((path for path in NAMES), r"a generator.* list\(images\)"),
        (set(NAMES), r"a set.* list\(images\)"),
        ({"path": NAMES}, r"a dict.* list\(images\)"),
        (["x.jpg", None], "a NoneType at position 1.* its path"),
        (["x.jpg", float("nan")], "a float at position 1"),
        (pd.Series(["x.jpg", None]), "at position 1"),
        ([["x.jpg"]], "a list at position 0"),
        (pd.DataFrame({"a": NAMES, "b": NAMES}), r"an array of shape \(2,\)"),
        ([np.zeros((0, 4, 3), dtype=np.uint8)], r"shape \(0, 4, 3\), dtype uint8 at position 0"),
        ([np.zeros((5, 5, 5), dtype=np.uint8)], r"shape \(5, 5, 5\)"),
        ([np.zeros((1, 5, 5, 3), dtype=np.uint8)], r"shape \(1, 5, 5, 3\)"),
        ([np.zeros((5, 5), dtype=complex)], "dtype complex128"),
        ([np.zeros((5, 5, 3), dtype=bool)], "dtype bool"),
        (np.zeros((5, 64)), r"shape \(5, 64\), dtype float64, which is at most one image"),
        (np.zeros(5, dtype=np.uint8), r"shape \(5,\), dtype uint8, which is at most one image"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_what_is_no_sequence_of_images_is_refused_by_name_and_place(featurizer, method, X, got):
    with pytest.raises(InvalidImagesError, match=rf"(?s){got}"):
        getattr(featurizer, method)(X)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_any_number_is_refused(featurizer, value):
    with pytest.raises(UnreadableImagesError, match=r"X\[0\]: none of its values is a number"):
        featurizer.fit_transform([np.full((5, 5), value)])


COLORS = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (6, 5), dtype=np.uint16)


@pytest.mark.parametrize(
    ("array", "file"),
    [
        (COLORS[..., 0], "gray.png"),
        (COLORS[..., :1], "gray.png"),
        (COLORS[..., :2], "gray_alpha.png"),
        (COLORS[..., :3], "colors.png"),
        (COLORS[::-1, ::2, :3], "view.png"),
        (COLORS, "colors_alpha.png"),
        (DEEP, "deep.png"),
        (DEEP[..., None], "deep.png"),
        (DEEP.astype(">u2"), "deep.png"),
        (DEEP / 7 - 100, "floats.tif"),
        (np.float32(DEEP / 7 - 100)[..., None], "floats.tif"),
        (COLORS[..., 0] > 99, "black_and_white.png"),
    ],
    ids=lambda value: f"{value.dtype}-{value.shape}" if isinstance(value, np.ndarray) else "",
)
def test_an_array_is_seen_as_a_file_of_its_kind(featurizer, tmp_path, array, file):
    pixels = array.squeeze()
    pixels = pixels.astype({"u": f"u{pixels.itemsize}", "f": "f4"}.get(pixels.dtype.kind, "bool"))
    Image.fromarray(pixels).save(tmp_path / file)
    before = array.copy()
    of_file, of_array = featurizer.transform([tmp_path / file, array])
    np.testing.assert_array_equal(of_array, of_file)
    np.testing.assert_array_equal(array, before)
    assert np.ptp(of_array) > 0.1


def test_transparent_parts_of_an_array_are_white(featurizer):
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    assert featurizer.transform([clear, clear[..., :2]]).min() == 1


def test_an_array_of_images_is_a_sequence_of_them(featurizer):
    for n_channels in (1, 2, 3, 4):
        stack = COLORS[None, ..., :n_channels].repeat(2, axis=0)
        stack[1] //= 2
        np.testing.assert_array_equal(featurizer.transform(stack), featurizer.transform([*stack]))


@pytest.mark.parametrize("shape", [(6, 5, 3), (3, 6, 5), (9, 6, 5)])
def test_one_image_is_not_guessed_to_be_several(featurizer, shape):
    X = np.zeros(shape, dtype=np.uint8)
    with pytest.raises(InvalidImagesError, match=r"may be one image .*\[image\].*list\(images\)"):
        featurizer.transform(X)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (COLORS[..., :3] / 255, "(255 * image).round().astype('uint8')"),
        (COLORS[..., :3] / 1.0, "image.round().astype('uint8')"),
        (COLORS[..., :3] * np.uint16(257), "(image // 257).astype('uint8')"),
        (COLORS[..., :3].astype(int), "image.astype('uint8')"),
        (np.moveaxis(COLORS[:5, :, :3].repeat(2, 1), -1, 0), "numpy.moveaxis(image, 0, -1)"),
    ],
)
def test_an_array_of_another_kind_is_refused_with_how_to_convert_it(featurizer, image, code):
    with pytest.raises(InvalidImagesError, match=r"at position 1\. Nothing was read") as raised:
        featurizer.transform([COLORS, image])
    assert code in str(raised.value)
    converted = eval(code, {"numpy": np, "image": image})
    turned = COLORS[:5, :, :3].repeat(2, 1) if "moveaxis" in code else COLORS[..., :3]
    np.testing.assert_array_equal(converted, turned)


def test_a_tensor_is_refused_with_how_to_convert_it(featurizer):
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise AssertionError("perhaps it lies on a GPU")

    for image in (Tensor(), COLORS.tolist()):
        with pytest.raises(InvalidImagesError, match=r"at position 0.*numpy\.asarray\(image\)"):
            featurizer.transform([image])


def test_the_letters_of_a_folder_are_no_images(stand_in, pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    clusterer = ImageFolderClusterer(2, featurizer=ResNetFeaturizer(weights=stand_in))
    for n_folds in (2, 5):
        search = GridSearchCV(clusterer, {"n_clusters": [2]}, cv=n_folds, error_score="raise")
        with pytest.raises(InvalidImagesError, match=r"letters '.', '.',.*find_images\(folder\)"):
            search.fit(pictures.name)
    assert choose_n_clusters(pictures.name, [2, 3], estimator=clusterer).n_clusters in (2, 3)


def test_a_file_may_have_a_name_of_one_letter(see):
    for letter in "ab":
        Path(f"{letter}.png").rename(letter)
    assert see(["a", "b"]) == [20, 10]


@pytest.mark.parametrize("X", [[], (), np.array([]), pd.Series([], dtype=object)])
def test_an_empty_sequence_is_refused(featurizer, X):
    with pytest.raises(NoImagesError, match="No images were found in an empty sequence"):
        featurizer.transform(X)


def test_an_escape_code_in_a_lone_string_reaches_no_terminal(featurizer):
    with pytest.raises(InvalidImagesError) as raised:
        featurizer.transform("\x1b[31m" * 3)
    assert "\x1b" not in str(raised.value)


def test_an_image_that_cannot_be_read_is_named_by_its_path_or_its_place(featurizer):
    with pytest.raises(UnreadableImagesError) as raised:
        featurizer.transform([Path("a/b.jpg"), "c/d.jpg", b"content"])
    assert list(raised.value.reasons) == ["a/b.jpg", "c/d.jpg", "X[2]"]
