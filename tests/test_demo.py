"""The demo's pictures differ by group and repeat by seed."""

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans.sample_pictures import GROUPS, PHOTOS, SIZE, crop_photos, draw_pictures, group_of


def test_draws_each_group(tmp_path):
    paths = draw_pictures(tmp_path / "new", n_each=2)
    assert len(paths) == 2 * len(GROUPS)
    assert {group_of(path) for path in paths} == set(GROUPS)
    assert {np.asarray(Image.open(path)).shape for path in paths} == {(SIZE, SIZE, 3)}


def test_the_same_seed_draws_the_same_pictures(tmp_path):
    for seed, folder in ((3, "a"), (3, "b"), (4, "c")):
        draw_pictures(tmp_path / folder, n_each=1, seed=seed)
    pixels = {
        folder: [np.asarray(Image.open(p)) for p in sorted((tmp_path / folder).iterdir())]
        for folder in "abc"
    }
    np.testing.assert_array_equal(pixels["a"], pixels["b"])
    assert not np.array_equal(pixels["a"], pixels["c"])


def test_crops_of_each_photo_repeat_by_seed(tmp_path):
    paths = crop_photos(tmp_path / "a", n_each=2)
    assert [group_of(path) for path in paths] == [group for group in PHOTOS for _ in range(2)]
    contents = [path.read_bytes() for path in paths]
    assert len(set(contents)) == 4
    again = crop_photos(tmp_path / "b", n_each=2)
    assert [path.read_bytes() for path in again] == contents
    other = crop_photos(tmp_path / "c", n_each=2, seed=1)
    assert not {path.read_bytes() for path in other} & set(contents)


def test_pictures_of_a_group_are_not_copies(tmp_path):
    first, second = draw_pictures(tmp_path, n_each=2)[:2]
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("make", [draw_pictures, crop_photos])
def test_a_picture_that_is_there_is_not_written_over(make, tmp_path):
    (first, *_) = make(tmp_path, n_each=1)
    first.write_bytes(b"of the user's")
    make(tmp_path, n_each=1)
    assert first.read_bytes() == b"of the user's"
