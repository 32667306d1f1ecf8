"""The feature cache: what it keeps, what it never serves, and that it stops no job."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.exceptions import CacheWarning
from resnet_kmeans.features import cache as feature_cache
from resnet_kmeans.features import cache_file, extraction
from resnet_kmeans.features.cache import FeatureCache, default_folder, file_state
from resnet_kmeans.images.finding import find_images

NETWORK = ("the network", "f" * 64, 16)


def row_of(number: int, width: int = 16) -> np.ndarray:
    return np.arange(width, dtype=np.float32) + 1000 * number


def digest_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def filled(folder: Path, numbers=range(20), width: int = 16, **options) -> int:
    """Fill a cache; return the network's id."""
    with FeatureCache(folder, **options) as cache:
        cache.add_network(*NETWORK)
        network = cache.find_network(NETWORK[0])[0]
        for number in numbers:
            cache.add_rows(network, [(digest_of(number), row_of(number, width))])
            cache.add_files([(f"/photos/{number}.jpg", "state", digest_of(number))])
    return network


def numbers_in(folder: Path) -> set[int]:
    """Return the numbers of the rows in a cache, without using them."""
    with contextlib.closing(sqlite3.connect(folder / "features.sqlite3")) as database:
        rows = database.execute("SELECT digest FROM features").fetchall()
    return {int.from_bytes(digest, "big") for (digest,) in rows}


@pytest.fixture
def featurizer(tiny_network, tmp_path) -> ResNetFeaturizer:
    return ResNetFeaturizer(
        weights=str(tiny_network),
        input_shape=(32, 32),
        preprocess="tf",
        batch_size=4,
        cache=tmp_path / "cache",
    )


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """Sizes of the batches that pass the network while the test runs."""
    sizes: list[int] = []
    take_pixels = extraction._take_pixels

    def counting(images):
        sizes.append(len(images))
        return take_pixels(images)

    monkeypatch.setattr(extraction, "_take_pixels", counting)
    return sizes


@pytest.fixture
def trusting(monkeypatch):
    """Take files that were just written for settled."""
    monkeypatch.setattr(feature_cache, "SETTLED_AFTER", -10)


def test_rows_networks_and_digests_come_back(tmp_path):
    network = filled(tmp_path)
    with FeatureCache(tmp_path) as cache:
        assert cache.find_network("the network") == (network, "f" * 64, 16)
        assert cache.find_network("another") is None
        for number in range(20):
            np.testing.assert_array_equal(
                cache.find_row(network, digest_of(number)), row_of(number)
            )
        assert cache.find_row(network, digest_of(20)) is None
        assert cache.find_row(network + 1, digest_of(1)) is None
        assert cache.find_digest("/photos/3.jpg", "state") == digest_of(3)
        assert cache.find_digest("/photos/3.jpg", "edited") is None
        assert cache.n_rows() == 20


def test_a_path_of_any_bytes_is_remembered(tmp_path):
    path = "/photos/\udcff\udcfe\n🦊.jpg"
    with FeatureCache(tmp_path) as cache:
        cache.add_files([(path, "state", digest_of(1))])
        assert cache.find_digest(path, "state") == digest_of(1)


def test_no_folder_keeps_nothing_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with FeatureCache(None) as cache:
        cache.add_network(*NETWORK)
        cache.add_rows(1, [(digest_of(1), row_of(1))])
        assert cache.find_network(NETWORK[0]) is None
        assert cache.find_row(1, digest_of(1)) is None
    assert os.listdir() == []


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_KMEANS_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("RESNET_KMEANS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_folder() == Path("/xdg/resnet_kmeans")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path("~/.cache/resnet_kmeans").expanduser()


def test_a_bound_that_is_no_number_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_KMEANS_CACHE_BYTES", "2 GB")
    with pytest.raises(ValueError, match=r"number of bytes .*, got '2 GB'\. Nothing was done"):
        FeatureCache(tmp_path)


def test_the_bound_is_kept_and_the_least_recently_used_goes_first(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=1_000_000, time=lambda: clock.now)
    monkeypatch.setattr(feature_cache, "time", clock)
    bound = 400_000
    network = filled(tmp_path, range(20), width=2048)
    with FeatureCache(tmp_path, max_bytes=bound) as cache:
        clock.now += 10_000
        for number in range(10):  # used again, so the other ten are the oldest
            assert cache.find_row(network, digest_of(number)) is not None
        clock.now += 10_000
        for number in range(20, 100):
            cache.add_rows(network, [(digest_of(number), row_of(number, 2048))])
            assert cache.used_bytes() <= bound
            kept = numbers_in(tmp_path)
            assert number in kept
            if set(range(10)) - kept:
                break
        assert number > 30
        assert not set(range(10, 20)) & kept
        assert cache.find_digest("/photos/15.jpg", "state") is None
        assert os.path.getsize(tmp_path / "features.sqlite3") < 1.5 * bound


def test_clear_forgets_everything_and_gives_the_room_back(tmp_path):
    network = filled(tmp_path, range(50), width=2048)
    before = os.path.getsize(tmp_path / "features.sqlite3")
    with FeatureCache(tmp_path) as cache:
        cache.clear()
        assert cache.n_rows() == 0
        assert cache.find_row(network, digest_of(1)) is None
        assert cache.find_network(NETWORK[0]) is None
        assert cache.find_digest("/photos/1.jpg", "state") is None
    assert os.path.getsize(tmp_path / "features.sqlite3") < before / 5


def test_after_a_clear_one_network_never_gets_the_rows_of_another(tmp_path):
    with FeatureCache(tmp_path) as running, FeatureCache(tmp_path) as other:
        running.add_network("one", "1" * 64, 16)
        one = running.find_network("one")[0]
        other.clear()
        other.add_network("two", "2" * 64, 16)
        running.add_rows(one, [(digest_of(1), row_of(1))])
        assert other.find_row(other.find_network("two")[0], digest_of(1)) is None


def test_a_row_under_the_key_of_another_is_never_served(tmp_path):
    network = filled(tmp_path, range(2))
    with contextlib.closing(sqlite3.connect(tmp_path / "features.sqlite3")) as database, database:
        key = (network + 1, digest_of(0))
        database.execute("UPDATE features SET network = ? WHERE digest = ?", key)
        key = (digest_of(9), digest_of(1))
        database.execute("UPDATE features SET digest = ? WHERE digest = ?", key)
    with FeatureCache(tmp_path) as cache:
        assert cache.n_rows() == 2
        assert cache.find_row(network + 1, digest_of(0)) is None
        assert cache.find_row(network, digest_of(9)) is None


def test_of_a_write_that_fails_midway_nothing_is_kept(tmp_path):
    files = [("/photos/1.jpg", "state", digest_of(1)), ("/photos/2.jpg", "state", object())]
    with FeatureCache(tmp_path) as cache, pytest.warns(CacheWarning, match="cannot be used"):
        cache.add_files(files)
    with FeatureCache(tmp_path) as cache:
        assert cache.find_digest("/photos/1.jpg", "state") is None


def test_what_is_added_again_replaces_what_was_there(tmp_path):
    network = filled(tmp_path, range(2))
    with contextlib.closing(sqlite3.connect(tmp_path / "features.sqlite3")) as database, database:
        database.execute("UPDATE features SET row = x'00'")
        database.execute("UPDATE networks SET checksum = x'00'")
    with FeatureCache(tmp_path) as cache:
        assert cache.find_row(network, digest_of(1)) is cache.find_network(NETWORK[0]) is None
        cache.add_files([("/photos/1.jpg", "edited", digest_of(7))])
        assert cache.find_digest("/photos/1.jpg", "edited") == digest_of(7)
    filled(tmp_path, range(2))
    with FeatureCache(tmp_path) as cache:
        np.testing.assert_array_equal(cache.find_row(network, digest_of(1)), row_of(1))


def test_a_file_is_known_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with FeatureCache(tmp_path) as cache:
        cache.add_files([("photo.jpg", "state", digest_of(1))])
        assert cache.find_digest(tmp_path / "photo.jpg", "state") == digest_of(1)
        monkeypatch.chdir(tmp_path.parent)
        assert cache.find_digest("photo.jpg", "state") is None


def test_a_flipped_bit_is_never_served(tmp_path):
    network = filled(tmp_path / "whole", range(12))
    whole = (tmp_path / "whole" / "features.sqlite3").read_bytes()
    served = refused = 0
    for place in range(0, len(whole), 101):
        folder = tmp_path / "flipped"
        folder.mkdir()
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        (folder / "features.sqlite3").write_bytes(bytes(flipped))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            with FeatureCache(folder) as cache:
                assert cache.find_network(NETWORK[0]) in (None, (network, *NETWORK[1:]))
                for number in range(12):
                    row = cache.find_row(network, digest_of(number))
                    assert row is None or (row == row_of(number)).all()
                    served, refused = served + (row is not None), refused + (row is None)
                    assert cache.find_digest(f"/photos/{number}.jpg", "state") != digest_of(0) or (
                        number == 0
                    )
                cache.add_rows(network, [(digest_of(99), row_of(99))])
        for name in os.listdir(folder):
            (folder / name).unlink()
        folder.rmdir()
    assert served > 1000
    assert refused > 10


GARBAGE = {
    "text": lambda whole: b"this is no database" * 500,
    "cut": lambda whole: whole[: len(whole) // 2],
    "head": lambda whole: b"\0" * 200 + whole[200:],
    "middle": lambda whole: whole[:4096] + os.urandom(len(whole) - 4096),
}


@pytest.mark.parametrize("damage", GARBAGE)
def test_a_damaged_cache_warns_and_the_job_goes_on(tmp_path, featurizer, pictures, damage):
    paths = find_images(pictures)
    expected = featurizer.fit_transform(paths)
    file = tmp_path / "cache" / "features.sqlite3"
    file.write_bytes(GARBAGE[damage](file.read_bytes()))
    with pytest.warns(CacheWarning, match=r"cannot be used \(.*goes on without it\. Clear it"):
        again = featurizer.fit_transform(paths)
    np.testing.assert_array_equal(again, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        with FeatureCache(tmp_path / "cache") as cache:
            cache.clear()
    np.testing.assert_array_equal(featurizer.fit_transform(paths), expected)
    with FeatureCache(tmp_path / "cache") as cache:
        assert cache.n_rows() == len(paths)


def test_a_cache_of_an_older_layout_is_begun_anew(tmp_path):
    with sqlite3.connect(tmp_path / "features.sqlite3") as database:
        database.execute("CREATE TABLE features (something)")
    database.close()
    filled(tmp_path)
    with FeatureCache(tmp_path) as cache:
        assert cache.n_rows() == 20


def test_a_locked_cache_warns_and_is_not_removed_by_clear(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_file, "LOCK_TIMEOUT", 0.05)
    filled(tmp_path)
    other = sqlite3.connect(tmp_path / "features.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with FeatureCache(tmp_path) as cache:
        with pytest.warns(CacheWarning, match="locked"):
            cache.add_rows(1, [(digest_of(30), row_of(30))])
        cache.clear()
    other.execute("ROLLBACK")
    other.close()
    with FeatureCache(tmp_path) as cache:
        assert cache.n_rows() == 20


def test_a_folder_that_cannot_be_made_warns(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(CacheWarning, match="Not a directory"):
        cache = FeatureCache(tmp_path / "file" / "cache")
    assert cache.find_network("x") is None


def test_a_cache_of_somebody_else_warns(tmp_path, without_rights):
    filled(tmp_path)
    without_rights()
    with (
        pytest.warns(CacheWarning, match="readonly database|unable to open"),
        FeatureCache(tmp_path) as cache,
    ):
        cache.add_rows(1, [(digest_of(30), row_of(30))])


def test_a_full_disk_warns_and_the_job_goes_on(small_disk, featurizer, pictures):
    paths = find_images(pictures)
    expected = featurizer.set_params(cache=None).fit_transform(paths)
    (small_disk / "ballast").write_bytes(b"0" * 40_000)
    featurizer.set_params(cache=small_disk)
    with pytest.warns(CacheWarning, match=r"full|I/O"):
        np.testing.assert_array_equal(featurizer.fit_transform(paths), expected)


def test_a_second_run_computes_nothing_and_a_new_image_alone(featurizer, pictures, computed):
    paths = find_images(pictures)
    first = featurizer.fit_transform(paths[:-1])
    assert sum(computed) == len(paths) - 1
    second = featurizer.fit_transform(paths)
    assert sum(computed) == len(paths)
    np.testing.assert_array_equal(first, second[:-1])


def test_a_killed_run_loses_the_batches_in_flight_alone(
    tmp_path, featurizer, pictures, computed, tiny_network
):
    code = """
import os, signal, sys
from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.features.cache import FeatureCache
from resnet_kmeans.images.finding import find_images
kept, add_rows = [], FeatureCache.add_rows
def add_then_die(self, network, rows):
    add_rows(self, network, rows)
    kept.append(len(rows))
    if len(kept) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
FeatureCache.add_rows = add_then_die
weights, pictures, cache = sys.argv[1:]
ResNetFeaturizer(weights=weights, input_shape=(32, 32), preprocess="tf", batch_size=4,
                 cache=cache).fit_transform(find_images(pictures))
"""
    arguments = [str(tiny_network), str(pictures), str(tmp_path / "cache")]
    killed = subprocess.run([sys.executable, "-c", code, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    with FeatureCache(tmp_path / "cache") as cache:
        assert cache.n_rows() == 12
    paths = find_images(pictures)
    rows = featurizer.fit_transform(paths)
    assert sum(computed) == len(paths) - 12
    np.testing.assert_array_equal(rows, featurizer.set_params(cache=None).fit_transform(paths))


def test_two_processes_may_write_at_once(tmp_path):
    code = """
import sys
import numpy as np
from resnet_kmeans.features.cache import FeatureCache
folder, start = sys.argv[1], int(sys.argv[2])
with FeatureCache(folder) as cache:
    cache.add_network("the network", "f" * 64, 16)
    network = cache.find_network("the network")[0]
    for n in range(start, start + 120):
        row = np.arange(16, dtype=np.float32) + 1000 * n
        cache.add_rows(network, [(n.to_bytes(16, "big"), row)])
        cache.add_files([(f"/photos/{n}.jpg", "state", n.to_bytes(16, "big"))])
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    running = [subprocess.Popen([*command, str(start)]) for start in (0, 80)]
    assert [process.wait() for process in running] == [0, 0]
    with FeatureCache(tmp_path) as cache:
        network = cache.find_network("the network")[0]
        assert cache.n_rows() == 200
        for number in range(200):
            assert (cache.find_row(network, digest_of(number)) == row_of(number)).all()


def noise(path: Path, seed: int) -> None:
    """Write a picture whose file has the same size whatever is drawn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "BMP")


@pytest.mark.usefixtures("trusting")
def test_an_edited_file_of_the_same_size_and_time_is_never_served_stale(
    tmp_path, featurizer, computed
):
    path = tmp_path / "photo.bmp"
    noise(path, 0)
    before, _ = file_state(path)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    first = featurizer.fit_transform([path])
    assert (featurizer.transform([path]) == first).all()
    assert computed == [1]
    while file_state(path)[0] == before:  # the system's clock ticks every few milliseconds
        noise(path, 1)
        os.utime(path, ns=times)
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (times[1], path.stat().st_size)
    second = featurizer.transform([path])
    assert not (second == first).all()
    np.testing.assert_array_equal(second, featurizer.set_params(cache=None).transform([path]))


@pytest.mark.usefixtures("trusting")
def test_a_file_that_another_one_replaced_is_never_served_stale(tmp_path, featurizer):
    one, other = tmp_path / "one.bmp", tmp_path / "other.bmp"
    noise(one, 0)
    noise(other, 1)
    for path in (one, other):
        os.utime(path, ns=(0, 0))
    first = featurizer.fit_transform([one, other])
    os.replace(other, one)
    assert (featurizer.transform([one]) == first[1]).all()


def test_a_file_that_was_just_written_is_read_again(tmp_path):
    path = tmp_path / "photo.bmp"
    noise(path, 0)
    assert not file_state(path)[1]
    os.utime(path, ns=(0, 0))
    assert not file_state(path)[1]  # its time is old, its change is not


@pytest.mark.usefixtures("trusting")
def test_identical_files_pass_the_network_once(tmp_path, featurizer, computed):
    for name in ("a.bmp", "b.bmp", "c.bmp"):
        noise(tmp_path / name, seed=0 if name != "b.bmp" else 1)
    paths = [tmp_path / name for name in ("a.bmp", "b.bmp", "c.bmp")]
    rows = featurizer.fit_transform(paths)
    assert computed == [2]
    assert (rows[0] == rows[2]).all()
    assert not (rows[0] == rows[1]).all()
    with FeatureCache(tmp_path / "cache") as cache:
        assert cache.n_rows() == 2


def test_replaced_weights_of_the_same_size_and_time_are_another_network(
    tmp_path, featurizer, tiny_network, pictures
):
    import keras

    path = tmp_path / "network.keras"
    network = keras.models.load_model(tiny_network)
    network.save(path)
    paths = find_images(pictures)
    featurizer.set_params(weights=str(path))
    first = featurizer.fit_transform(paths)
    found = path.stat()
    network.set_weights([weights * 1.5 for weights in network.get_weights()])
    network.save(path)
    with open(path, "ab") as file:  # a zip may be followed by anything
        file.write(bytes(max(0, found.st_size - path.stat().st_size)))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    fingerprint = featurizer.fingerprint_
    assert not (featurizer.fit_transform(paths) == first).all()
    assert featurizer.fingerprint_ != fingerprint
