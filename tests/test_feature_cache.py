"""The feature cache: what it keeps, what it never serves, and that it stops no job."""

import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from resnet_kmeans import ResNetFeaturizer, find_images
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import CacheWarning, UnreadableImagesWarning
from tests.stand_in import never_the_same, write_stand_in


@pytest.fixture(scope="module")
def paths(pictures):
    return find_images(pictures)


@pytest.fixture
def featurizer(stand_in, tmp_path):
    return ResNetFeaturizer(weights=stand_in, input_shape=(32, 32), cache=tmp_path / "cache")


@pytest.fixture(scope="module")
def noisy_network(tmp_path_factory):
    """A file of a network that returns other rows each time: only cached rows are all equal.

    Each of its threads draws the same random numbers, so a row may be equal by chance.
    """
    file = tmp_path_factory.mktemp("noisy") / "noisy.network"
    return write_stand_in(file, "noisy", never_the_same)


@pytest.fixture
def noisy(noisy_network, tmp_path):
    return ResNetFeaturizer(
        weights=noisy_network,
        input_shape=(32, 32),
        precision="float32",
        batch_size=4,
        cache=tmp_path / "cache",
    )


@pytest.fixture
def later(monkeypatch):
    """A function that lets seconds pass; ten have passed, so that no file is of this moment."""
    seconds, now = [10.0], time.time
    monkeypatch.setattr(time, "time", lambda: now() + sum(seconds))
    return seconds.append


def is_same(first, second):
    """Return which rows are equal."""
    return (first == second).all(axis=1).tolist()


def noise(path, seed):
    """Write a picture whose file has the same size whatever is drawn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "BMP")
    return path


def images_in(cache, capsys):
    """Return the number of images that the command reports."""
    capsys.readouterr()
    assert main(["cache", "--cache", str(cache)]) == 0
    (line, _) = capsys.readouterr().out.splitlines()
    assert line.startswith(str(cache))
    return int(line.split(": ")[1].split(" image")[0])


def test_without_a_cache_the_network_runs_again_and_nothing_is_written(
    noisy, paths, tmp_path, monkeypatch
):
    monkeypatch.setenv("RESNET_KMEANS_CACHE", str(tmp_path / "default"))
    noisy.set_params(cache=None)
    assert not all(is_same(noisy.transform(paths), noisy.transform(paths)))
    assert os.listdir(tmp_path) == []


def test_the_network_runs_once_for_an_image(noisy, paths):
    rows = noisy.fit_transform(paths[:20])
    assert all(is_same(noisy.transform(paths[:20]), rows))
    more = clone(noisy).transform(paths[::-1])[::-1]
    assert all(is_same(more[:20], rows))
    assert all(is_same(noisy.transform(paths), more))


@pytest.mark.parametrize("cache", ["cache", None])
def test_identical_images_pass_the_network_once(noisy, tmp_path, capsys, cache):
    one, other = noise(tmp_path / "one.bmp", 0), noise(tmp_path / "other.bmp", 1)
    copy = shutil.copy(one, tmp_path / "copy.bmp")
    cache = cache and tmp_path / cache
    rows = noisy.set_params(cache=cache).transform([one, other, copy, one.read_bytes()])
    assert is_same(rows, rows[[0]]) == [True, False, True, True]
    assert cache is None or images_in(cache, capsys) == 2


def test_a_moved_file_and_its_bytes_are_found_by_their_content(noisy, paths, tmp_path):
    rows = noisy.fit_transform(paths)
    moved = [shutil.copy(path, tmp_path) for path in paths]
    assert all(is_same(noisy.transform(moved), rows))
    assert all(is_same(noisy.transform([path.read_bytes() for path in paths]), rows))


def test_an_image_in_memory_is_found_by_its_pixels(noisy):
    image = np.full((40, 50, 3), 7, dtype=np.uint8)
    rows = noisy.transform([image])
    assert is_same(noisy.transform([image.copy(), image + 1]), rows) == [True, False]


def test_another_network_does_not_find_rows(noisy, stand_in, paths):
    rows = noisy.transform(paths)
    expected = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32), cache=None).transform(paths)
    other = clone(noisy).set_params(weights=stand_in)
    np.testing.assert_array_equal(other.transform(paths), expected)
    # Of these each gives other pixels: the noise alone may begin anew with each network.
    for change in ({"input_shape": (48, 48)}, {"input_shape": (44, 60)}):
        assert not all(is_same(clone(noisy).set_params(**change).transform(paths), rows))
    assert all(is_same(noisy.transform(paths), rows))


def test_replaced_weights_of_the_same_size_and_time_are_another_network(stand_in, tmp_path, paths):
    file = write_stand_in(tmp_path / "replaced.network", "other", lambda ops, rows: ops.exp(rows))
    size = max(file.stat().st_size, stand_in.stat().st_size)
    contents = [path.read_bytes().ljust(size, b"\0") for path in (stand_in, file)]
    results = []
    for content in contents:
        file.write_bytes(content)  # a zip may be followed by anything
        os.utime(file, ns=(1, 1))
        featurizer = ResNetFeaturizer(weights=file, input_shape=(32, 32))
        results.append((featurizer.fit_transform(paths), featurizer.fingerprint_))
    (first, fingerprint), (second, other) = results
    np.testing.assert_allclose(second, np.exp(first), rtol=1e-5)
    assert other != fingerprint


@pytest.mark.usefixtures("later")
def test_an_edited_file_of_the_same_size_and_time_is_never_served_stale(noisy, tmp_path, stand_in):
    path = noise(tmp_path / "photo.bmp", 0)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    old, changed = noisy.transform([path]), path.stat().st_ctime_ns
    assert is_same(noisy.transform([path]), old) == [True]
    while path.stat().st_ctime_ns == changed:  # the system's clock ticks every few milliseconds
        os.utime(noise(path, 1), ns=times)
    assert is_same(noisy.transform([path]), old) == [False]
    right = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32), cache=None)
    np.testing.assert_allclose(noisy.transform([path]), right.transform([path]), atol=2e-3)


@pytest.mark.usefixtures("later")
def test_a_file_that_another_one_replaced_is_never_served_stale(noisy, tmp_path):
    one, other = noise(tmp_path / "one.bmp", 0), noise(tmp_path / "other.bmp", 1)
    for path in (one, other):
        os.utime(path, ns=(0, 0))
    rows = noisy.transform([one, other])
    os.replace(other, one)
    assert is_same(noisy.transform([one]), rows) == [False, True]


def test_a_file_edited_within_one_tick_of_the_clock_is_read_again(noisy, tmp_path, monkeypatch):
    # As on a file system whose times are whole seconds, or two.
    path = noise(tmp_path / "photo.bmp", 0)
    stat, found = os.stat, path.stat()
    monkeypatch.setattr(
        os, "stat", lambda p, **more: found if str(p) == str(path) else stat(p, **more)
    )
    old = noisy.transform([path])
    noise(path, 1)
    assert is_same(noisy.transform([path]), old) == [False]


@pytest.mark.usefixtures("later")
def test_a_relative_path_is_known_by_its_folder(noisy, tmp_path, monkeypatch):
    rows = []
    for seed, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        noise("photo.bmp", seed)
        rows.append(noisy.transform(["photo.bmp"]))
        assert is_same(noisy.transform([tmp_path / name / "photo.bmp"]), rows[-1]) == [True]
    assert is_same(*rows) == [False]


@pytest.mark.usefixtures("later")
def test_a_path_of_any_bytes_is_remembered(noisy, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\n\xf0\x9f\xa6\x8a.bmp")
    rows = noisy.transform([noise(path, 0)])
    assert is_same(noisy.transform([path]), rows) == [True]


def test_a_repaired_image_gets_its_row(noisy, tmp_path):
    path = tmp_path / "photo.bmp"
    path.write_text("no image")
    with pytest.warns(UnreadableImagesWarning):
        noisy.set_params(unreadable="nan").transform([path])
    assert not np.isnan(noisy.transform([noise(path, 0)])).any()


DAMAGES = {
    "text": lambda whole: b"this is no database" * 500,
    "cut": lambda whole: whole[: len(whole) // 2],
    "head": lambda whole: b"\0" * 200 + whole[200:],
    "middle": lambda whole: whole[:4096] + np.random.default_rng(0).bytes(len(whole) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_warns_and_serves_nothing_until_it_is_cleared(
    tmp_path, featurizer, paths, capsys, damage
):
    expected = featurizer.fit_transform(paths)
    file = tmp_path / "cache" / "features.sqlite3"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.warns(CacheWarning, match=r"features\.sqlite3.*cache --clear"):
        again = featurizer.fit_transform(paths)
    np.testing.assert_array_equal(again, expected)
    assert main(["cache", "--clear", "--cache", str(tmp_path / "cache")]) == 0
    np.testing.assert_array_equal(featurizer.fit_transform(paths), expected)
    assert images_in(tmp_path / "cache", capsys) == len(paths)


def test_a_flipped_bit_is_never_served(tmp_path, featurizer, paths):
    paths = paths[::2]
    expected = featurizer.fit_transform(paths)
    whole = (tmp_path / "cache" / "features.sqlite3").read_bytes()
    file = tmp_path / "flipped" / "features.sqlite3"
    file.parent.mkdir()
    featurizer.set_params(cache=file.parent)
    n_warned = 0
    for place in range(0, len(whole), 499):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        file.write_bytes(flipped)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CacheWarning)
            np.testing.assert_array_equal(featurizer.fit_transform(paths), expected)
        n_warned += bool(caught)
        for part in file.parent.iterdir():
            part.unlink()
    assert n_warned > 0


@pytest.mark.parametrize("version", [0, 1, 99])
def test_a_database_of_another_layout_is_begun_anew(tmp_path, noisy, paths, version):
    rows = noisy.transform(paths)
    with sqlite3.connect(tmp_path / "cache" / "features.sqlite3") as database:
        database.execute("DROP TABLE features")
        database.execute("CREATE TABLE features (something)")
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    assert not all(is_same(noisy.transform(paths), rows))
    rows = noisy.transform(paths)
    assert all(is_same(noisy.transform(paths), rows))


def test_the_database_of_another_program_is_left_alone(tmp_path, noisy, paths):
    (tmp_path / "cache").mkdir()
    file = tmp_path / "cache" / "features.sqlite3"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE features (something)")
    database.close()
    before = file.read_bytes()
    with pytest.warns(CacheWarning, match="of another program"):
        noisy.transform(paths)
    assert main(["cache", "--clear", "--cache", str(tmp_path / "cache")]) == 0
    assert file.read_bytes() == before


def test_a_locked_cache_warns_and_keeps_what_it_has(tmp_path, noisy, paths, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.05}))
    rows = noisy.transform(paths[:12])
    other = connect(tmp_path / "cache" / "features.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.warns(CacheWarning, match="locked"):
        more = noisy.transform(paths)
    other.execute("ROLLBACK")
    other.close()
    assert all(is_same(more[:12], rows))
    again = noisy.transform(paths)
    assert all(is_same(again[:12], rows))
    assert not all(is_same(again[12:], more[12:]))


def test_a_folder_that_cannot_be_made_warns(tmp_path, featurizer, paths):
    expected = featurizer.fit_transform(paths)
    (tmp_path / "file").touch()
    featurizer.set_params(cache=tmp_path / "file" / "cache")
    with pytest.warns(CacheWarning, match=r"Not a directory.*RESNET_KMEANS_CACHE"):
        np.testing.assert_array_equal(featurizer.fit_transform(paths), expected)


def test_a_cache_of_somebody_else_warns(tmp_path, featurizer, paths, without_rights):
    images = [path.read_bytes() for path in paths]
    featurizer.set_params(weights=shutil.copy(featurizer.weights, tmp_path))
    expected = clone(featurizer).set_params(cache=None).fit_transform(images)
    featurizer.fit_transform(images[:12])
    without_rights()
    with pytest.warns(CacheWarning, match="readonly database|unable to open"):
        np.testing.assert_array_equal(featurizer.fit_transform(images), expected)


def test_a_full_disk_warns_and_the_job_goes_on(small_disk, featurizer, paths):
    expected = featurizer.fit_transform(paths)
    (small_disk / "ballast").write_bytes(b"0" * 40_000)
    featurizer.set_params(cache=small_disk)
    with pytest.warns(CacheWarning, match=r"full|I/O"):
        np.testing.assert_array_equal(featurizer.fit_transform(paths), expected)


def test_the_bound_is_kept_and_the_least_recently_used_goes_first(
    tmp_path, noisy, later, monkeypatch
):
    bound = 150_000
    monkeypatch.setenv("RESNET_KMEANS_CACHE_BYTES", str(bound))
    images = [noise(tmp_path / f"{seed}.bmp", seed) for seed in range(700)]
    noisy.set_params(batch_size=50)
    kept = noisy.transform(images[:20])
    unused = noisy.transform(images[20:40])
    for start in range(40, 700, 60):
        later(10_000)
        assert all(is_same(noisy.transform(images[:20]), kept))
        last = noisy.transform(images[start : start + 60])
        file = tmp_path / "cache" / "features.sqlite3"
        assert file.stat().st_size < 1.5 * bound
    assert all(is_same(noisy.transform(images[start : start + 60]), last))
    assert not all(is_same(noisy.transform(images[20:40]), unused))


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("order", ["the same", "another"])
def test_of_more_images_than_fit_a_part_stays(tmp_path, noisy, monkeypatch, later, order):
    monkeypatch.setenv("RESNET_KMEANS_CACHE_BYTES", "80000")
    images = [noise(tmp_path / f"{seed}.bmp", seed) for seed in range(240)]
    first = noisy.transform(images)
    hits = []
    for run in range(3):
        later(100_000)
        shuffled = np.arange(240)
        if order == "another":
            np.random.default_rng(run).shuffle(shuffled)
        rows = noisy.transform([images[i] for i in shuffled])
        hits.append(np.count_nonzero(is_same(rows, first[shuffled])))
    assert all(120 < n < 240 for n in hits)
    assert hits[2] >= hits[1] >= hits[0] - 20  # the first depends on when rows are written


def test_the_cache_serves_another_machine_and_another_batch_size(
    noisy, paths, monkeypatch, tmp_path
):
    rows = noisy.transform(paths)
    monkeypatch.setattr(platform, "node", lambda: "renamed")
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    other = clone(noisy).set_params(batch_size=7, cache=tmp_path / "cache")
    assert all(is_same(other.transform(paths), rows))
    shutil.copytree(tmp_path / "cache", tmp_path / "moved")
    moved = shutil.copy(noisy.weights, tmp_path / "moved")
    other.set_params(weights=moved, cache=tmp_path / "moved")
    assert all(is_same(other.transform(paths), rows))


def test_networks_with_the_same_weights_and_other_layers_do_not_share_rows(tmp_path, paths):
    file = tmp_path / "edited.network"
    featurizer = ResNetFeaturizer(weights=file, input_shape=(32, 32), cache=tmp_path / "cache")
    rows = []
    for change in (lambda ops, rows: rows, lambda ops, rows: ops.exp(rows)):
        write_stand_in(file, "the same weights", change)
        rows.append(featurizer.transform(paths))
    np.testing.assert_allclose(rows[1], np.exp(rows[0]), rtol=2e-2)


@pytest.mark.usefixtures("later")
def test_rows_of_a_clock_that_was_ahead_make_room(tmp_path, noisy, monkeypatch):
    images = [noise(tmp_path / f"{seed}.bmp", seed) for seed in range(240)]
    noisy.transform(images[:120])
    with sqlite3.connect(tmp_path / "cache" / "features.sqlite3") as database:
        database.execute("UPDATE features SET used = 9999999999")
    database.close()
    monkeypatch.setenv("RESNET_KMEANS_CACHE_BYTES", "50000")
    rows = noisy.transform(images[120:])
    assert np.count_nonzero(is_same(noisy.transform(images[120:]), rows)) > 20


def test_a_cache_that_can_only_be_read_and_has_all_rows_is_not_written(
    noisy, paths, tmp_path, without_rights, later, capsys
):
    noisy.set_params(weights=shutil.copy(noisy.weights, tmp_path))
    paths = [shutil.copy(path, tmp_path) for path in paths]
    rows = noisy.transform(paths)
    later(100_000)
    assert images_in(noisy.cache, capsys) == len(paths)
    without_rights()
    assert all(is_same(noisy.transform(paths), rows))
    assert main(["cache", "--clear", "--cache", str(noisy.cache)]) == 2
    assert "The cache was not cleared." in capsys.readouterr().err
    assert images_in(noisy.cache, capsys) == len(paths)


def test_the_key_of_a_network_does_not_depend_on_those_asked_for_before(stand_in):
    spec = ResNetFeaturizer(weights=stand_in, precision="float32").network_spec()
    before = spec.identity()
    ResNetFeaturizer(weights=stand_in, precision="int8").network_spec().identity()
    assert spec.identity() == before


def test_a_cache_that_can_only_be_read_serves_what_it_has(noisy, paths, tmp_path, without_rights):
    noisy.set_params(weights=shutil.copy(noisy.weights, tmp_path))
    images = [path.read_bytes() for path in paths]
    rows = noisy.transform(images[:12])
    without_rights()
    with pytest.warns(CacheWarning, match=r"cannot be written.*goes on with what it contains"):
        assert all(is_same(noisy.transform(images)[:12], rows))


@pytest.mark.parametrize("text", ["2 GB", "-1", "1e9"])
def test_a_bound_that_is_no_number_is_refused(featurizer, paths, monkeypatch, text):
    monkeypatch.setenv("RESNET_KMEANS_CACHE_BYTES", text)
    with pytest.raises(ValueError, match=rf"RESNET_KMEANS_CACHE_BYTES, got '{text}'"):
        featurizer.transform(paths)


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path, capsys):
    for name, folder in [
        ("RESNET_KMEANS_CACHE", tmp_path / "own"),
        ("XDG_CACHE_HOME", tmp_path / "xdg" / "resnet_kmeans"),
        ("HOME", tmp_path / "home" / ".cache" / "resnet_kmeans"),
    ]:
        value = folder
        while value.parent != tmp_path:
            value = value.parent
        monkeypatch.setenv(name, str(value))
        assert main(["cache"]) == 0
        assert capsys.readouterr().out == f"{folder / 'features.sqlite3'}: does not exist\n"
        monkeypatch.delenv(name)
    assert list(tmp_path.iterdir()) == []


def test_the_command_counts_clears_and_gives_the_room_back(tmp_path, featurizer, capsys):
    random = np.random.default_rng(0)
    images = list(random.integers(0, 256, (300, 32, 32, 3), dtype=np.uint8))
    featurizer.set_params(batch_size=100).transform(images)
    cache = tmp_path / "cache"
    (cache / "networks").mkdir()
    (cache / "networks" / "old.network").write_bytes(b"0" * 2_000_000)
    before = (cache / "features.sqlite3").stat().st_size
    assert images_in(cache, capsys) == 300
    assert main(["cache", "--cache", str(cache)]) == 0
    assert capsys.readouterr().out.endswith("networks: 1 network, 2.0 MB\n")
    assert main(["cache", "--clear", "--cache", str(cache)]) == 0
    assert images_in(cache, capsys) == 0
    assert (cache / "features.sqlite3").stat().st_size < before / 2
    assert list((cache / "networks").iterdir()) == []
    assert main(["cache", "--cache", "none"]) == 0
    assert "disabled" in capsys.readouterr().out


def test_threads_may_share_a_featurizer_and_its_cache(noisy, paths):
    with ThreadPoolExecutor(8) as pool:
        several = list(pool.map(lambda n: noisy.transform(paths[n:]), range(8)))
    final = noisy.transform(paths)
    assert all(is_same(noisy.transform(paths), final))
    for n, rows in enumerate(several):
        np.testing.assert_allclose(rows, final[n:], atol=2e-3)


RUN = """
import sys
import numpy as np
from resnet_kmeans import ResNetFeaturizer
weights, cache, start = sys.argv[1:]
images = list(np.load(sys.stdin.buffer))[int(start):]
featurizer = ResNetFeaturizer(weights=weights, input_shape=(32, 32), batch_size=4, cache=cache)
featurizer.fit(images)
print("running", flush=True)
sys.stdout.buffer.write(featurizer.transform(images).tobytes())
"""


@pytest.mark.slow
def test_of_two_processes_one_is_killed_and_the_other_gives_the_right_rows(
    tmp_path, featurizer, capsys
):
    images = np.random.default_rng(0).integers(0, 256, (1200, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    featurizer.set_params(batch_size=4)
    command = [sys.executable, "-W", "error", "-c", RUN, featurizer.weights, featurizer.cache]
    running = []
    for start in ("0", "400"):
        with open(tmp_path / "images.npy", "rb") as given:
            pipes = {"stdin": given, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            # Without a buffer, which would take rows that follow the line.
            running.append(subprocess.Popen([*command, start], bufsize=0, **pipes))
    for process in running:
        assert process.stdout.readline() == b"running\n"
    killed, other = running  # neither ends before its rows are read from the pipe
    while images_in(featurizer.cache, capsys) < 40:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    answer, errors = other.communicate()
    assert (killed.returncode, other.returncode, errors) == (-9, 0, b"")
    expected = clone(featurizer).set_params(cache=None).transform(list(images))
    assert answer == expected[400:].tobytes()
    assert images_in(featurizer.cache, capsys) >= 800
    np.testing.assert_array_equal(featurizer.transform(list(images)), expected)
    assert images_in(featurizer.cache, capsys) == 1200
