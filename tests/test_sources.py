"""Images may be passed in any sequence; anything else is refused by name and place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from resnet_kmeans import ResNetFeaturizer
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
        ("folder", "a single str: 'folder'"),
        (Path("folder"), "a single PosixPath"),
        (b"content", "a single bytes"),
        (Image.new("L", (1, 1)), "a single Image"),
        (None, "a single NoneType"),
        (5, "a single int"),
        (np.array("x.jpg"), "a single ndarray"),
        ((path for path in NAMES), "a single generator"),
        (set(NAMES), "a set, which has no order"),
        ({"path": NAMES}, "a dict, which has no order"),
        (["x.jpg", None], "a NoneType at position 1"),
        (["x.jpg", float("nan")], "a float at position 1"),
        (pd.Series(["x.jpg", None]), "at position 1"),
        ([["x.jpg"]], "a list at position 0"),
        (pd.DataFrame({"a": NAMES, "b": NAMES}), r"an array of shape \(2,\)"),
        (np.zeros((5, 4, 3), dtype=np.uint8), r"shape \(4, 3\), dtype uint8 at position 0"),
        ([np.zeros((5, 4, 3))], "dtype float64 at position 0"),
        ([np.zeros((5, 4), dtype=np.uint8)], r"shape \(5, 4\)"),
        ([np.zeros((0, 4, 3), dtype=np.uint8)], r"shape \(0, 4, 3\)"),
        ([np.zeros((5, 4, 4), dtype=np.uint8)], r"shape \(5, 4, 4\)"),
        (np.zeros((5, 64)), r"shape \(64,\), dtype float64 at position 0"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_what_is_no_sequence_of_images_is_refused_by_name_and_place(featurizer, method, X, got):
    with pytest.raises(InvalidImagesError, match=rf"(?s){got}.*\[path\]"):
        getattr(featurizer, method)(X)


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
