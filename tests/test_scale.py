"""A fit on more rows than memory holds: same clusters, bounded blocks, one pass."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_mutual_info_score

import resnet_kmeans
from resnet_kmeans import ImageFolderClusterer
from resnet_kmeans.exceptions import TooFewImagesError

N_FEATURES = 256
N_GROUPS = 8
BLOCK = 256  # rows of 256 float32 that 1 MiB holds four times


class StandIn(TransformerMixin, BaseEstimator):
    """Clustered features of names like ``3_17.jpg``; NaN where the name says bad."""

    seen: list[list[str]] = []
    n_features_out_ = N_FEATURES

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        StandIn.seen.append(list(X))
        return np.array([self._row(name) for name in X], dtype=np.float32)

    def _row(self, name):
        if "bad" in name:
            return np.full(N_FEATURES, np.nan)
        group, number = Path(name).stem.split("_")
        center = np.random.default_rng(int(group)).gamma(0.5, size=N_FEATURES)
        return center + np.random.default_rng([7, int(number)]).gamma(0.5, size=N_FEATURES)


@pytest.fixture(autouse=True)
def seen():
    StandIn.seen = []
    yield StandIn.seen
    StandIn.seen = []


def names(n_images):
    return [f"{i % N_GROUPS}_{i}.jpg" for i in range(n_images)]


def fit(images, working_memory, **parameters):
    with config_context(working_memory=working_memory):
        model = ImageFolderClusterer(N_GROUPS, featurizer=StandIn(), random_state=0, **parameters)
        return model.fit(images)


def test_clustering_in_blocks_gives_the_same_labels():
    images = names(1500)
    whole, streamed = fit(images, 1024), fit(images, 1)
    assert adjusted_mutual_info_score(whole.labels_, streamed.labels_) >= 0.95
    assert adjusted_mutual_info_score([i % N_GROUPS for i in range(1500)], whole.labels_) >= 0.95


def test_fit_computes_each_image_once_in_blocks_that_fit_in_memory(seen):
    images = names(1000)
    fit(images, 1)
    assert [len(block) for block in seen] == [BLOCK, BLOCK, BLOCK, 1000 - 3 * BLOCK]
    assert sorted(name for block in seen for name in block) == sorted(images)


def test_fit_uses_one_block_if_all_rows_fit_in_memory(seen):
    fit(names(1000), 4)
    assert [len(block) for block in seen] == [1000]


def test_predict_and_transform_work_in_blocks(seen):
    images = names(600)
    model = fit(images, 1024)
    seen.clear()
    with config_context(working_memory=1):
        labels, distances = model.predict(images), model.transform(images)
    assert {len(block) for block in seen} == {BLOCK, 600 - 2 * BLOCK}
    np.testing.assert_array_equal(labels, model.labels_)
    np.testing.assert_array_equal(distances.argmin(axis=1), labels)
    np.testing.assert_allclose(distances.min(axis=1), model.distances_, rtol=1e-3)
    assert (labels.dtype, distances.dtype) == (np.int32, np.float32)


def test_unreadable_images_keep_their_places_in_every_block():
    images = names(700)
    bad = [3, 300, 301, 699]
    for i in bad:
        images[i] = f"bad_{i}.jpg"
    images[BLOCK : 2 * BLOCK] = [f"bad_{i}.jpg" for i in range(BLOCK)]
    model = fit(images, 1)
    expected = [i for i, name in enumerate(images) if "bad" in name]
    assert np.flatnonzero(model.labels_ == -1).tolist() == expected
    assert np.flatnonzero(np.isnan(model.distances_)).tolist() == expected
    assert set(model.unreadable_) == {images[i] for i in expected}
    with config_context(working_memory=1):
        np.testing.assert_array_equal(model.predict(images), model.labels_)


def test_too_few_readable_images_are_counted_over_all_blocks():
    images = [*names(N_GROUPS - 1), *(f"bad_{i}.jpg" for i in range(400))]
    with pytest.raises(TooFewImagesError, match=f"n_clusters={N_GROUPS} .* got {N_GROUPS - 1}"):
        fit(images, 1024)


@pytest.mark.parametrize(("n_images", "kind"), [(399, KMeans), (400, MiniBatchKMeans)])
def test_many_rows_are_clustered_by_mini_batch_kmeans(n_images, kind, monkeypatch):
    monkeypatch.setattr("resnet_kmeans.clustering.recipe.MINI_BATCH_FROM", 400)
    model = fit(names(n_images), 1)
    assert type(model.pipeline_["clusterer"]) is kind
    truth = [i % N_GROUPS for i in range(n_images)]
    assert adjusted_mutual_info_score(truth, model.labels_) >= 0.95


def test_mini_batch_kmeans_can_be_given():
    model = fit(names(300), 1024, clusterer=MiniBatchKMeans(n_init=3, random_state=0))
    assert type(model.pipeline_["clusterer"]) is MiniBatchKMeans
    assert len(model.cluster_centers_) == N_GROUPS


def test_blocks_need_a_fraction_of_the_memory():
    images = names(2000)
    fit(images[:600], 1)  # what is imported late is not to be counted
    assert peak_of_fit(images, 1) < peak_of_fit(images, 1024) / 2


def peak_of_fit(images, working_memory):
    tracemalloc.start()
    try:
        fit(images, working_memory)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_benchmark_runs():
    script = Path(resnet_kmeans.__file__).parents[1] / "examples" / "benchmarks" / "scale.py"
    command = [sys.executable, script, "150", "300", "--n-clusters", "5"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "300 images" in run.stdout
    assert "x proportional to 150" in run.stdout
