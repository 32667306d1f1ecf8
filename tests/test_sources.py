"""What may be passed as X, and what is refused by name and place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from resnet_kmeans.exceptions import InvalidImagesError, NoImagesError
from resnet_kmeans.images.sources import as_sources, source_name

PATHS = ["b.jpg", "a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    "X",
    [
        PATHS,
        tuple(PATHS),
        np.array(PATHS),
        np.array(PATHS, dtype=object),
        np.array(PATHS)[:, None],
        pd.Series(PATHS, index=[7, 8, 9]),
        pd.Series(PATHS, dtype="string"),
        pd.DataFrame({"path": PATHS}),
        dict.fromkeys(PATHS).keys(),
    ],
    ids=lambda X: type(X).__name__,
)
def test_paths_in_any_sequence_keep_their_order(X):
    if isinstance(X, type({}.keys())):
        X = list(X)
    sources = as_sources(X)
    assert isinstance(sources, list)
    assert sources == PATHS


def test_bytes_pictures_arrays_and_paths_may_be_mixed():
    array = np.zeros((2, 3, 3), dtype=np.uint8)
    mixed = [b"content", Image.new("L", (1, 1)), array, Path("x.jpg"), "y.jpg"]
    sources = as_sources(mixed)
    assert [type(source) for source in sources] == [type(source) for source in mixed]
    assert len(as_sources(np.zeros((4, 2, 3, 3), dtype=np.uint8))) == 4


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
        ((path for path in PATHS), "a single generator"),
        (set(PATHS), "a set, which has no order"),
        ({"path": PATHS}, "a dict, which has no order"),
        (["x.jpg", None], "a NoneType at position 1"),
        (["x.jpg", float("nan")], "a float at position 1"),
        (pd.Series(["x.jpg", None]), "at position 1"),
        ([["x.jpg"]], "a list at position 0"),
        (pd.DataFrame({"a": PATHS, "b": PATHS}), r"an array of shape \(2,\)"),
        (np.zeros((5, 4, 3), dtype=np.uint8), r"shape \(4, 3\), dtype uint8 at position 0"),
        ([np.zeros((5, 4, 3))], "dtype float64 at position 0"),
        ([np.zeros((5, 4), dtype=np.uint8)], r"shape \(5, 4\)"),
        ([np.zeros((0, 4, 3), dtype=np.uint8)], r"shape \(0, 4, 3\)"),
        ([np.zeros((5, 4, 4), dtype=np.uint8)], r"shape \(5, 4, 4\)"),
        (np.zeros((5, 64)), r"shape \(64,\), dtype float64 at position 0"),
    ],
)
def test_what_is_no_sequence_of_images_is_refused_by_name_and_place(X, got):
    expected = rf"(?s)^Expected a sequence of image paths.*got .*{got}.*Nothing was read\. Pass a"
    with pytest.raises(InvalidImagesError, match=expected):
        as_sources(X)


@pytest.mark.parametrize("X", [[], (), np.array([]), pd.Series([], dtype=object)])
def test_an_empty_sequence_is_refused(X):
    with pytest.raises(NoImagesError, match=r"got none in an empty sequence\. Nothing was done"):
        as_sources(X)


def test_an_escape_code_in_a_lone_string_reaches_no_terminal():
    with pytest.raises(InvalidImagesError) as raised:
        as_sources("\x1b[31m" * 3)
    assert "\x1b" not in str(raised.value)


def test_a_source_is_named_by_its_path_or_its_place():
    assert source_name(Path("a/b.jpg"), 3) == "a/b.jpg"
    assert source_name("a/b.jpg", 3) == "a/b.jpg"
    assert source_name(b"content", 3) == "X[3]"
