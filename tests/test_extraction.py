"""Every image passes the network once, and a killed run goes on where it was."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from resnet_kmeans import find_images
from resnet_kmeans.features.cache import FeatureCache
from resnet_kmeans.features.extraction import Extraction
from resnet_kmeans.network.loading import Network, load_network
from resnet_kmeans.network.weights import NetworkSpec


@pytest.fixture
def spec(tiny_network):
    return NetworkSpec(
        weights=str(tiny_network), input_shape=(32, 32), preprocess="tf", batch_size=4
    )


@pytest.fixture
def passed(monkeypatch):
    """The number of images in each call of the network."""
    seen = []
    call = Network.__call__
    monkeypatch.setattr(
        Network, "__call__", lambda s, pixels: seen.append(len(pixels)) or call(s, pixels)
    )
    return seen


@pytest.fixture
def cache(tmp_path):
    with FeatureCache(tmp_path / "cache") as cache:
        yield cache


def test_identical_images_are_computed_once_without_a_cache(spec, passed, pictures, tmp_path):
    paths = find_images(pictures)[:3]
    copy = shutil.copy(paths[0], tmp_path / "copy.png")
    rows = Extraction(spec, FeatureCache(None)).run([*paths, copy, paths[1].read_bytes()])
    assert sum(passed) == 3
    np.testing.assert_array_equal(rows[3:], rows[:2])


def test_a_second_run_reads_rows_from_the_cache(spec, passed, pictures, cache):
    paths = find_images(pictures)
    rows = Extraction(spec, cache).run(paths)
    np.testing.assert_array_equal(Extraction(spec, cache).run(paths), rows)
    assert sum(passed) == 24


def test_the_network_runs_on_new_images_only(spec, passed, pictures, cache):
    paths = find_images(pictures)
    Extraction(spec, cache).run(paths[:20])
    Extraction(spec, cache).run(paths)
    assert sum(passed) == 24


def test_a_moved_file_is_found_by_its_content(spec, passed, pictures, cache, tmp_path):
    paths = find_images(pictures)
    Extraction(spec, cache).run(paths)
    moved = [shutil.copy(path, tmp_path) for path in paths]
    Extraction(spec, cache).run(moved)
    assert sum(passed) == 24


def test_an_image_in_memory_is_found_by_its_pixels(spec, passed, cache):
    image = np.full((40, 50, 3), 7, dtype=np.uint8)
    Extraction(spec, cache).run([image])
    Extraction(spec, cache).run([image.copy()])
    assert passed == [1]


def test_another_network_does_not_find_cached_rows(spec, passed, pictures, cache):
    paths = find_images(pictures)[:4]
    Extraction(spec, cache).run(paths)
    other = NetworkSpec(**{**spec.__dict__, "pooling": "max"})
    Extraction(other, cache).run(paths)
    assert sum(passed) == 8


def test_unreadable_images_become_nan_and_the_others_are_computed(spec, pictures, tmp_path):
    paths = find_images(pictures)[:3]
    extraction = Extraction(spec, FeatureCache(None))
    rows = extraction.run([paths[0], tmp_path / "gone.png", paths[1], b"no image", paths[2]])
    assert set(extraction.reasons) == {1, 3}
    assert np.isnan(rows).all(axis=1).tolist() == [False, True, False, True, False]


def test_every_image_is_reported_once(spec, pictures, cache, tmp_path):
    paths = find_images(pictures)
    done = []
    sources = [*paths, paths[0], tmp_path / "gone.png"]
    Extraction(
        spec, cache, report=lambda n_images, computed: done.append((n_images, computed))
    ).run(sources)
    assert sum(n_images for n_images, _ in done) == len(sources)
    assert sum(n_images for n_images, computed in done if computed) == len(paths)


def test_a_nan_row_of_the_network_has_its_own_reason_and_is_not_cached(
    spec, pictures, cache, monkeypatch
):
    def broken(network, pixels):
        rows = call(network, pixels)
        rows[pixels.mean(axis=(1, 2, 3)) == pixels[0].mean()] = np.nan
        return rows

    call = Network.__call__
    monkeypatch.setattr(Network, "__call__", broken)
    path = find_images(pictures)[0]
    extraction = Extraction(spec, cache)
    assert np.isnan(extraction.run([path, path])).all()
    reason = "the image can be read, but the network returns NaN for it"
    assert extraction.reasons == {0: reason, 1: reason}
    assert cache.n_rows() == 0


def test_the_network_is_not_loaded_if_all_rows_are_cached(spec, pictures, cache):
    paths = [str(path) for path in find_images(pictures)]
    Extraction(spec, cache).run(paths)
    program = (
        "import sys; from resnet_kmeans.features.extraction import *\n"
        f"cache = FeatureCache({str(cache.file.parent)!r})\n"
        f"assert Extraction({spec!r}, cache).run({paths!r}).shape == (24, 16)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_killed_run_loses_only_the_batches_in_progress(spec, pictures, new_cache, passed):
    load_network(spec, (folder := new_cache()) / "networks")
    paths = [str(path) for path in find_images(pictures)]
    # The network waits before its fourth batch, and is killed there.
    program = (
        "import os, time\nfrom resnet_kmeans.features.extraction import *\n"
        # By its first image, since threads take batches in any order.
        f"stop = decode(read_file({paths[12]!r}), {spec.input_shape!r})\n"
        "call = Network.__call__\n"
        "def slow(self, pixels):\n"
        "    if (pixels[0] == stop).all(): os.write(1, b'waiting\\n'); time.sleep(600)\n"
        "    return call(self, pixels)\n"
        "Network.__call__ = slow\n"
        f"cache = FeatureCache({str(folder)!r})\n"
        f"Extraction({spec!r}, cache).run({paths!r})\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert killed.stdout.readline() == b"waiting\n"
    with FeatureCache(folder) as cache:
        deadline = time.monotonic() + 60
        while cache.n_rows() < 12 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        killed.stdout.close()
        assert cache.n_rows() == 12
        Extraction(spec, cache).run(paths)
    assert sum(passed) == 12


def test_dask_workers_give_the_same_rows(spec, pictures):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    import joblib

    paths = find_images(pictures)
    rows = Extraction(spec, FeatureCache(None)).run(paths)
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        others = Extraction(spec, FeatureCache(None), n_jobs=2).run(paths)
    np.testing.assert_array_equal(others, rows)
