"""Two commands at once on one export: one of them is refused, or it is as if they took turns."""

import errno
import multiprocessing
import os
import random
import shutil
import tempfile
import warnings
from functools import partial
from itertools import count, product
from pathlib import Path

import numpy as np
import pytest

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    export_clusters,
    export_log,
    finish_export,
    redo_export,
    rename_cluster,
    split_cluster,
    undo_export,
)
from resnet_kmeans.exceptions import ResNetKMeansError
from tests.export_folders import contents, draw, images_in, present_rows, visible
from tests.kills import watched

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

N_ROUNDS = int(os.environ.get("RESNET_KMEANS_N_RACES", "3"))


@pytest.fixture
def place(tmp_path, stand_in):
    """Folders of images, of more images, and of an export that keeps its model."""
    folders = {name: tmp_path / "work" / name for name in ("in", "more", "out")}
    draw(folders["in"], [0, 8, 16, 240, 248]), draw(folders["more"], [1, 9, 247], "new_")
    model = ImageFolderClusterer(2, featurizer=ResNetFeaturizer(weights=stand_in), reducer=None)
    model.set_params(random_state=0).fit(folders["in"])
    model.set_cluster_names({int(model.labels_[0]): "dark", int(model.labels_[-1]): "light"})
    model.export(folders["out"])
    rename_cluster(folders["out"], "light", "bright")
    undo_export(folders["out"])
    return folders


COMMANDS = {
    "rename": lambda place: rename_cluster(place["out"], "dark", "night"),
    "merge": lambda place: apply_curation(place["out"], {"names": {"light": "dark"}}),
    "move": lambda place: apply_curation(place["out"], {"moves": {"dark/0.png": "light"}}),
    "split": lambda place: split_cluster(place["out"], "dark"),
    "add": lambda place: add_images(place["out"], place["more"]),
    "move in": lambda place: add_images(place["out"], place["more"], action="move"),
    "undo": lambda place: undo_export(place["out"]),
    "undo all": lambda place: undo_export(place["out"], all_steps=True),
    "redo": lambda place: redo_export(place["out"]),
    "finish": lambda place: finish_export(place["out"]),
}
QUICK = [("add", "split"), ("undo all", "rename")]


def state(place):
    return {name: visible(path) for name, path in place.items()}


def attempt(name, place):
    """Run a command; return whether it was not refused."""
    try:
        COMMANDS[name](place)
    except ResNetKMeansError:
        return False
    return True


@pytest.mark.filterwarnings("ignore::resnet_kmeans.exceptions.UnreadableImagesWarning")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow)
        for pair in product(COMMANDS, repeat=2)
    ],
)
def test_a_command_started_within_another_is_refused_or_waits_its_turn(
    place, tmp_path, first, second
):
    root, snapshot = place["out"].parent, tmp_path / "snapshot"
    aside = Path(os.environ["XDG_STATE_HOME"], "resnet_kmeans", "undone")
    shutil.copytree(root, snapshot)

    def restore():
        shutil.rmtree(root)
        shutil.copytree(snapshot, root)
        shutil.rmtree(aside, ignore_errors=True)

    ends = []
    for turns in ((first,), (second,), (first, second), (second, first)):
        restore()
        for name in turns:
            attempt(name, place)
        ends.append(state(place))
    for step in count(1):
        restore()
        seen, done = count(1), []
        start = partial(_attempt_at, step, seen, done, second, place)
        with watched(str(root), start):
            attempt(first, place)
        if not done:
            break
        assert state(place) in ends, f"{second} at step {step} of {first}"
    assert step > 2 or first in ("finish", "redo")


def _attempt_at(step, seen, done, name, place):
    if next(seen) == step:
        done.append(attempt(name, place))


def _work_in_rounds(place, i, locks, barrier):
    """Run random commands, in rounds that begin and end together with those of others."""
    warnings.simplefilter("ignore")
    if locks == "fail":
        for name in ("flock", "lockf"):
            setattr(fcntl, name, _refuse)
    for number in range(N_ROUNDS):
        rng = random.Random(f"{number} {i}")
        barrier.wait(60)
        for _ in range(4):
            attempt(rng.choice([*COMMANDS]), place)
        barrier.wait(60)


def _refuse(*_):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.slow
@pytest.mark.parametrize("locks", ["work", "fail"])
def test_four_processes_at_once_lose_no_image_and_add_none_twice(place, locks):
    if fcntl is None:
        pytest.skip("Windows has no such locks")
    before = {name: contents(place[name]) for name in ("in", "more")}
    everything = {data for files in before.values() for data in files.values()}
    untouched = state(place)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(5)
    works = [(place, i, locks, barrier) for i in range(4)]
    several = [context.Process(target=_work_in_rounds, args=args) for args in works]
    for process in several:
        process.daemon = True  # if a check fails, it ends with this process
        process.start()
    for _ in range(N_ROUNDS):
        barrier.wait(60)  # begin
        barrier.wait(60)  # end; the next round begins only after the checks
        found = [data for path in place.values() for data in images_in_any(path)]
        assert everything <= set(found)
        if locks == "fail":
            assert state(place) == untouched
        elif place["out"].exists():
            rows = [row for row in present_rows(place["out"]) if row.exported_path]
            assert len({row.source_path for row in rows}) == len(rows)
            assert {row.exported_path for row in rows} == set(images_in(place["out"]))
    for process in several:
        process.join()
        assert process.exitcode == 0
    if locks == "work":
        if place["out"].exists():
            assert {step.state for step in export_log(place["out"])} <= {"done", "undone"}
            undo_export(place["out"], all_steps=True)
        assert {name: contents(place[name]) for name in before} == before
        assert not place["out"].exists()


def _compute_again(featurizer, more, expected):
    assert (featurizer.transform([np.zeros((9, 9, 3), np.uint8)]) == expected).all()
    for shape in more:
        featurizer.set_params(input_shape=shape).transform([np.zeros((9, 9, 3), np.uint8)])


@pytest.mark.skipif(os.name != "posix", reason="Windows has no forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_of_a_process_with_networks_computes_the_same(stand_in):
    featurizer = ResNetFeaturizer(weights=stand_in, cache=None)
    for shape in ((40, 32), (32, 32)):
        featurizer.set_params(input_shape=shape)
        expected = featurizer.transform([np.zeros((9, 9, 3), np.uint8)])
    work = featurizer, [(48, 32), (56, 32)], expected
    process = multiprocessing.get_context("fork").Process(target=_compute_again, args=work)
    process.start()
    process.join(60)
    process.kill()
    assert process.exitcode == 0


def images_in_any(folder):
    return [data for path, data in visible(folder).items() if path.endswith(".png")]


def test_two_exports_from_one_folder_are_undone_at_once_without_harm(tmp_path):
    """Across file systems, where both copy into the folder of the user."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    images = draw(tmp_path / "in", range(40))
    before = contents(tmp_path / "in")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        outs = [Path(folder, name) for name in ("one", "two")]
        export_clusters(images[:20], [0] * 20, outs[0], action="move")
        export_clusters(images[20:], [0] * 20, outs[1], action="move")
        spawned = multiprocessing.get_context("spawn").Process
        both = [spawned(target=undo_export, args=(out,)) for out in outs]
        for process in both:
            process.start()
        for process in both:
            process.join()
            assert process.exitcode == 0
    assert contents(tmp_path / "in") == before
