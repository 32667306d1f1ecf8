"""Where memory does not hold all rows, the clusters are the same, found in one pass of blocks."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics import adjusted_rand_score

import resnet_kmeans
from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
from resnet_kmeans.exceptions import TooFewImagesError, UnreadableImagesWarning
from tests.numbered_images import WIDTH, Numbers, groups_of

# Of scikit-learn's working memory, in MiB; blocks take a quarter of it.
BLOCK = 128
SMALL, LARGE = 4 * BLOCK * WIDTH * 4 / 2**20, 1024


@pytest.fixture(autouse=True)
def _forget():
    Numbers.forget()


def names(n_images):
    return [str(i) for i in range(n_images)]


def fit(images, working_memory, **parameters):
    with config_context(working_memory=working_memory):
        model = ImageFolderClusterer(4, featurizer=Numbers(), random_state=0, **parameters)
        return model.fit(images)


def block_sizes():
    return [len(block) for block in Numbers.seen]


@pytest.mark.parametrize("reducer", ["auto", "pca", None])
def test_a_fit_in_blocks_gives_the_same_labels(reducer):
    images = names(500)
    whole, streamed = fit(images, LARGE, reducer=reducer), fit(images, SMALL, reducer=reducer)
    assert adjusted_rand_score(groups_of(images), streamed.labels_) == 1
    assert adjusted_rand_score(whole.labels_, streamed.labels_) == 1
    np.testing.assert_array_equal(streamed.predict(images), streamed.labels_)


def test_fit_computes_each_image_once_in_blocks_that_fit_in_memory():
    images = sorted(names(500), key=lambda name: int(name) % 4)  # as in a folder, by group
    fit(images, SMALL)
    assert block_sizes() == [BLOCK, BLOCK, BLOCK, 500 - 3 * BLOCK]
    assert sorted(name for block in Numbers.seen for name in block) == sorted(images)
    assert set(groups_of(Numbers.seen[0])) == {0, 1, 2, 3}  # the space is learnt from all groups


def test_fit_uses_one_block_if_all_rows_fit_in_memory():
    fit(names(500), 4 * SMALL)
    assert block_sizes() == [500]


def test_blocks_have_at_least_64_images():
    fit(names(100), 0.001)
    assert block_sizes() == [64, 36]


def test_predict_and_transform_work_in_blocks():
    images = names(300)
    model = fit(images, LARGE)
    Numbers.forget()
    with config_context(working_memory=SMALL):
        labels, distances = model.predict(images), model.transform(images)
    assert set(block_sizes()) == {BLOCK, 300 - 2 * BLOCK}
    np.testing.assert_array_equal(labels, model.labels_)
    np.testing.assert_array_equal(distances.argmin(axis=1), labels)
    np.testing.assert_allclose(distances.min(axis=1), model.distances_, rtol=1e-3)
    assert (labels.dtype, distances.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("memory", [SMALL, LARGE])
def test_unreadable_images_keep_their_places_in_every_block(memory):
    images = names(400)
    for i in (3, 300, 301, 399, *range(BLOCK, 2 * BLOCK)):  # a whole block of later predictions
        images[i] = f"unreadable {i}"
    model = fit(images, memory)
    expected = [i for i, name in enumerate(images) if not name.isdecimal()]
    assert np.flatnonzero(model.labels_ == -3).tolist() == expected
    assert np.flatnonzero(np.isnan(model.distances_)).tolist() == expected
    assert set(model.unreadable_) == {images[i] for i in expected}
    readable = np.flatnonzero(model.labels_ != -3)
    groups = groups_of([images[i] for i in readable])
    assert adjusted_rand_score(groups, model.labels_[readable]) == 1
    with config_context(working_memory=SMALL):
        np.testing.assert_array_equal(model.predict(images), model.labels_)
        gaps = model.transform(images)
    np.testing.assert_array_equal(np.isnan(gaps).all(axis=1), model.labels_ == -3)


def test_an_export_in_blocks_gives_each_image_its_own_row(pictures, stand_in, tmp_path):
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    model = ImageFolderClusterer(6, featurizer=featurizer, random_state=0).fit(pictures)
    broken = [tmp_path / f"{i}.png" for i in range(64)]  # a block of its own
    for path in broken:
        path.write_bytes(b"broken")
    images = [*broken, *model.image_paths_]
    with config_context(working_memory=0.001), pytest.warns(UnreadableImagesWarning):
        exported = model.export(tmp_path / "out", images, dry_run=True)
    assert [Path(row.source_path) for row in exported] == images
    assert [row.cluster for row in exported] == [-3] * 64 + model.labels_.tolist()
    gaps = [row.distance for row in exported[64:]]
    np.testing.assert_allclose(gaps, model.distances_, atol=1e-3)


def test_too_few_readable_images_are_counted_over_all_blocks():
    images = [*names(3), *(f"unreadable {i}" for i in range(400))]
    with pytest.raises(TooFewImagesError, match=r"n_clusters=4 .* 3"):
        fit(images, LARGE)


@pytest.mark.slow
def test_blocks_need_a_fraction_of_the_memory():
    images = names(2000)
    fit(images[:600], SMALL)  # what is imported late is not to be counted
    assert peak_of_fit(images, SMALL) < peak_of_fit(images, LARGE) / 2


def peak_of_fit(images, working_memory):
    Numbers.forget()
    tracemalloc.start()
    try:
        fit(images, working_memory)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_the_benchmark_runs():
    script = Path(resnet_kmeans.__file__).parents[1] / "examples" / "benchmarks" / "scale.py"
    command = [sys.executable, script, "150", "300", "--n-clusters", "5"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "300 images" in run.stdout
    assert "x proportional to 150" in run.stdout
