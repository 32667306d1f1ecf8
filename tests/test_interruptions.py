"""A command that is stopped at any step loses no image, and `finish` or `undo` completes it."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import pytest
from PIL import ImageFile

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    export_clusters,
    export_log,
    finish_export,
    rename_cluster,
    undo_export,
)
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import EditedCopiesWarning, OutputFolderError
from resnet_kmeans.export import watching
from tests.export_folders import contents, draw, images_in, paint, present_rows, state_of, visible
from tests.kills import KILLED, run_here, run_in_forks, stopped, watched

OLD, NEW = [0, 8, 16, 240, 248], [1, 9, 247, 120]
N_RANDOM = int(os.environ.get("RESNET_KMEANS_RANDOM_KILLS", "20"))


@pytest.fixture(scope="module")
def in_fork(tmp_path_factory):
    """Does a job in a fork that SIGKILL ends at the n-th change of the disk."""
    with run_in_forks(str(tmp_path_factory.mktemp("printed") / "printed")) as run:
        yield run


@pytest.fixture
def place(tmp_path):
    """Folders of images, of more images, and of the export."""
    draw(tmp_path / "work" / "in", OLD), draw(tmp_path / "work" / "more", NEW, "new_")
    for image in (tmp_path / "work" / "more").iterdir():
        image.chmod(0o444)
    return {name: tmp_path / "work" / name for name in ("in", "more", "out")}


@pytest.fixture
def export(place, stand_in):
    """A function that exports the dark and the light images; the export keeps its model."""
    model = ImageFolderClusterer(2, featurizer=ResNetFeaturizer(weights=stand_in), reducer=None)
    model.set_params(random_state=0).fit(place["in"])
    model.set_cluster_names({int(model.labels_[0]): "dark", int(model.labels_[-1]): "light"})

    def run(action="move"):
        return model.export(place["out"], action=action)

    return run


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another file system than that of the images."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


class Snapshot:
    """The state of folders, hard links included, to which they can be returned."""

    def __init__(self, place, folder):
        # Of an export that was undone, whose records are elsewhere.
        aside = Path(os.environ["XDG_STATE_HOME"], "resnet_kmeans", "undone")
        self.roots = sorted({path.parent for path in place.values()} | {aside})
        self.folder = folder
        for i, root in enumerate(self.roots):
            root.mkdir(parents=True, exist_ok=True)
            copy_all(root, folder / str(i))

    def restore(self):
        for i, root in enumerate(self.roots):
            shutil.rmtree(root)
            copy_all(self.folder / str(i), root)


def copy_all(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", source, target], check=True)


def state(place) -> dict[str, dict[str, bytes]]:
    """Return the files of all folders, apart from our own hidden ones."""
    return {name: visible(path) for name, path in place.items()}


def images_of(place) -> set[bytes]:
    found = (item for files in state(place).values() for item in files.items())
    return {data for path, data in found if path.endswith(".png")}


def check_all_else_is_refused(run, out, job):
    before = contents(out)
    others = [
        ("rename_cluster", str(out), 0, "other"),
        ("write_export_report", str(out)),
        ("main", "report", str(out)),
    ]
    for other in others:
        code, text = run(0, out, *other)
        assert code == 2, (other, text)
        assert f"resnet-kmeans finish {out}" in text, other
    if job[0] not in (
        "undo_export",
        "redo_export",
    ):  # another reason may come first: its images are moved already
        code, text = run(0, out, *job)
        assert code == 2, text
    assert contents(out) == before


def check_kills(run, steps, place, snapshot, job, undone=None, at_least=3):
    """Kill a job at some steps, then finish it, or undo it to the state `undone`."""
    options = job[-1] if isinstance(job[-1], dict) else {}
    arguments = [a for a in job if a is not options]
    root, out = os.path.commonpath(place.values()), place["out"]
    begin, before, images = Snapshot(place, snapshot), state(place), images_of(place)
    assert run(0, root, *arguments, **options) == (0, "")
    after = state(place)
    n_unfinished = 0
    if run is run_here:  # a kill of the process itself, which is slow, takes place at each step
        steps = [*steps[::6], steps[-1]]
    for n in steps:
        begin.restore()
        code, text = run(n, root, *arguments, **options)
        assert images <= images_of(place), f"an image is lost by a kill at step {n}"
        if code == 0:
            break
        assert code == KILLED, text
        if state_of(out) == "unfinished":
            n_unfinished += 1
            if n_unfinished % 5 == 1:
                check_all_else_is_refused(run, out, arguments)
            way = "undo" if undone and n_unfinished % 2 else "finish"
            code, text = run(0, root, f"{way}_export", str(out))
            assert code == 0, (n, way, text)
            if way == "undo":
                assert state(place) == undone, n
                assert undone["out"] or not out.exists(), n
                assert {step.state for step in export_log(out)} <= {"done", "undone"}, n
                continue
            assert state_of(out) == ("finished" if after["out"] else "none"), n
        elif state(place) != after:  # no plan was written yet, or none is needed
            if job[0] not in ("undo_export", "redo_export"):
                assert state(place) == before, n
            assert run(0, root, *arguments, **options) == (0, ""), n
        assert state(place) == after, n
    assert code == 0, "there are more steps"
    assert n > at_least, "the kills were too few to be true"


@pytest.fixture(params=["here", pytest.param("fork", marks=pytest.mark.slow)])
def run(request):
    """Does a job in this process, stopped by an error, or in a fork, ended by SIGKILL."""
    return run_here if request.param == "here" else request.getfixturevalue("in_fork")


ALL = range(1, 300)
SOME = (2, 7, 12, 17, 22, 27, 299)


def test_a_process_that_is_killed_loses_nothing(in_fork, export, place, tmp_path):
    export()
    undone = state(place)
    job = job_of("images are added by moving", place)
    check_kills(in_fork, SOME, place, tmp_path / "snapshot", job, undone)


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink", "move"])
def test_an_export_that_is_killed_at_any_step_can_be_finished_or_undone(
    run, place, tmp_path, action
):
    images = sorted(map(str, place["in"].iterdir()))
    undone = {**state(place), "out": {}}
    job = ("export_clusters", images, [0, 1, 0, 1, 1], str(place["out"]), {"action": action})
    check_kills(run, ALL, place, tmp_path / "snapshot", job, undone)


def test_a_move_to_another_file_system_that_is_killed_loses_nothing(
    run, place, tmp_path, elsewhere
):
    place["out"] = elsewhere / "out"
    images = sorted(map(str, place["more"].iterdir()))
    undone = {**state(place), "out": {}}
    job = ("export_clusters", images, [0, 1, 0, 1], str(place["out"]), {"action": "move"})
    check_kills(run, ALL, place, tmp_path / "snapshot", job, undone)


JOBS = {
    "two folders swap their names": (
        "apply_curation",
        {"names": {"dark": "light", "light": "dark"}, "moves": {"dark/8.png": None}},
    ),
    "two folders merge": ("apply_curation", {"names": {"dark": "greys", "light": "greys"}}),
    "a folder is renamed": ("rename_cluster", "dark", "night"),
    "a folder is split": ("split_cluster", "dark", 2),
    "images are added by copying": ("add_images", "copy"),
    "images are added by moving": ("add_images", "move"),
}


def job_of(name, place):
    function, *arguments = JOBS[name]
    if function == "add_images":
        return (function, str(place["out"]), str(place["more"]), {"action": arguments[0]})
    # An empty mapping of options, since the last argument may be a mapping itself.
    return (function, str(place["out"]), *arguments, {})


@pytest.mark.parametrize("name", JOBS)
def test_a_change_that_is_killed_at_any_step_can_be_finished_or_undone(
    run, export, place, tmp_path, name
):
    export()
    undone = state(place)
    check_kills(run, ALL, place, tmp_path / "snapshot", job_of(name, place), undone)


@pytest.mark.slow
def test_an_addition_of_copies_that_is_killed_at_any_step_can_be_finished_or_undone(
    run, export, place, tmp_path
):
    export("copy")
    undone = state(place)
    job = job_of("images are added by copying", place)
    check_kills(run, ALL, place, tmp_path / "snapshot", job, undone)


def test_undo_that_is_killed_at_any_step_can_be_finished(run, export, place, tmp_path):
    export()
    add_images(place["out"], place["more"], action="move")
    rename_cluster(place["out"], "dark", "night")
    job = ("undo_export", str(place["out"]), {"all_steps": True})
    check_kills(run, ALL, place, tmp_path / "snapshot", job)


def test_undo_of_a_move_to_another_file_system_that_is_killed_loses_nothing(
    run, place, tmp_path, elsewhere
):
    place["out"] = elsewhere / "out"
    export_clusters(sorted(place["more"].iterdir()), [0, 1, 0, 1], place["out"], action="move")
    job = ("undo_export", str(place["out"]), {})
    check_kills(run, ALL, place, tmp_path / "snapshot", job)


@pytest.mark.parametrize("command", ["undo_export", "redo_export"])
@pytest.mark.parametrize(
    "action",
    [
        *("copy", "move elsewhere"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("hardlink", "symlink", "move")),
    ],
)
def test_undo_and_redo_that_are_killed_at_any_step_can_be_finished(
    run, place, tmp_path, request, action, command
):
    if action == "move elsewhere":
        place["out"] = request.getfixturevalue("elsewhere") / "out"
    (place["in"] / "0.mov").write_text("goes with its photo")
    images = sorted(path for path in place["in"].iterdir() if path.suffix == ".png")
    export_clusters(images, [0, 1, 0, 1, 1], place["out"], action=action.split()[0])
    apply_curation(place["out"], {"names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"}})
    if command == "redo_export":
        undo_export(place["out"])
        undo_export(place["out"])
    before = state(place)
    undone = before if command == "redo_export" else None
    job = (command, str(place["out"]), {} if undone else {"all_steps": True})
    check_kills(run, ALL, place, tmp_path / "snapshot", job, undone)


@pytest.mark.parametrize("command", ["undo_export", "redo_export"])
def test_a_correction_is_taken_back_and_repeated_in_spite_of_kills(run, place, tmp_path, command):
    images = sorted(place["in"].iterdir())
    export_clusters(images, [0, 1, 0, 1, 1], place["out"])
    apply_curation(place["out"], {"names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"}})
    if command == "redo_export":
        undo_export(place["out"])
    before = state(place)
    job = (command, str(place["out"]), {})
    undone = before if command == "redo_export" else None
    check_kills(run, ALL, place, tmp_path / "snapshot", job, undone)


def test_undo_of_an_addition_that_is_killed_at_any_step_keeps_an_export_of_copies(
    run, export, place, tmp_path
):
    export("copy")
    before = state(place)
    add_images(place["out"], place["more"], action="move")
    job = ("undo_export", str(place["out"]), {})
    check_kills(run, ALL, place, tmp_path / "snapshot", job, at_least=3)
    assert state(place) == before


LABELS, NAMES = [0, 0, 1, 1, 1, 1], ["dark", "light"]
SWAP = {"names": {"dark": "light", "light": "dark"}}
MOVES = {"moves": {"dark/0.png": "light", "light/240.png": "dark", "light/248.png": None}}
WATCHED = {  # and how many files are reported
    "export": (lambda images, out: export_clusters(images, LABELS, out, action="move"), 6),
    "apply": (lambda images, out: apply_curation(out, MOVES), 3),
    "swap": (lambda images, out: apply_curation(out, SWAP), 8),  # both 0.png wait for each other
    "undo": (lambda images, out: undo_export(out), 6),
}


@pytest.mark.parametrize("back", [undo_export, finish_export])
@pytest.mark.parametrize("name", WATCHED)
def test_a_step_reports_each_file_and_can_be_stopped_after_any(place, images, tmp_path, name, back):
    work, n_files = WATCHED[name]
    images += draw(place["in"] / "sub", [0])
    paint(images[-1], 200)
    if name != "export":
        export_clusters(images, LABELS, place["out"], action="move", names=NAMES)
    begin, before, every = Snapshot(place, tmp_path / "snapshot"), state(place), images_of(place)
    seen = []
    with watching(lambda *counts: seen.append(counts)):
        work(images, place["out"])
    assert seen == [(i, n_files) for i in range(1, n_files + 1)]
    after = state(place)

    def stop(n_stop, n_done, _):
        if n_done == n_stop:
            raise KeyboardInterrupt

    for n_stop in range(1, n_files + 1):
        begin.restore()
        with pytest.raises(KeyboardInterrupt), watching(partial(stop, n_stop)):
            work(images, place["out"])
        assert every <= {*contents(place["in"].parent).values()}  # some wait, hidden
        assert export_log(place["out"])[-1].state == "interrupted"
        back(place["out"])  # of an undo, both complete it
        assert state(place) == (before if back is undo_export and name != "undo" else after)
        assert images_of(place) == every


def interrupt(place, work, error):
    """Stop a command once the first image is in the folder of the export."""
    is_begun = len(images_in(place["out"]))
    with stopped(place["out"], lambda: len(images_in(place["out"])) > is_begun, error):
        return work()


@pytest.fixture
def images(place):
    return sorted(place["in"].iterdir(), key=lambda path: int(path.stem))


@pytest.fixture
def stop_export(place, images):
    """A function that exports five images to two folders until the disk is full."""

    def stop(action="copy"):
        error = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(OutputFolderError, match="No space left") as raised:
            interrupt(
                place,
                lambda: export_clusters(images, [0, 1, 0, 1, 1], place["out"], action=action),
                error,
            )
        return str(raised.value)

    return stop


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink", "move"])
def test_a_stopped_export_says_what_to_do_and_is_finished_as_it_was_planned(
    place, images, stop_export, action
):
    before = contents(place["in"])
    said = stop_export(action)
    assert f"resnet-kmeans finish {place['out']}" in said
    assert "No image was lost" in said
    rows = finish_export(place["out"])
    assert [row.exported_path for row in rows] == [
        *("cluster_0/0.png", "cluster_1/8.png", "cluster_0/16.png"),
        *("cluster_1/240.png", "cluster_1/248.png"),
    ]
    assert present_rows(place["out"]) == rows == finish_export(place["out"])
    found = images_in(place["out"])
    assert [found[row.exported_path] for row in rows] == [before[image.name] for image in images]


def test_a_stopped_export_is_neither_repeated_nor_replaced(place, images, stop_export):
    stop_export("move")
    before = contents(place["out"].parent)
    left = [path for path in images if path.exists()]
    for paths, action in ((images, "move"), (left, "move"), (left, "copy")):
        with pytest.raises(OutputFolderError, match=r"interrupted.*finish.*undo"):
            export_clusters(paths, [0] * len(paths), place["out"], action=action)
    assert contents(place["out"].parent) == before


def test_an_image_deleted_meanwhile_is_listed_and_the_others_are_exported(
    place, images, stop_export
):
    stop_export()
    images[4].unlink()
    rows = finish_export(place["out"])
    assert (rows[4].cluster, rows[4].exported_path) == (-3, None)
    assert "deleted" in rows[4].reason
    assert len(images_in(place["out"])) == 4


def test_an_unplugged_drive_stops_the_export_until_it_is_back(place, stop_export):
    stop_export()
    away = place["in"].rename(place["in"].with_name("away"))
    for _ in range(2):
        with pytest.raises(OutputFolderError, match="No such file"):
            finish_export(place["out"])
    away.rename(place["in"])
    assert all(row.exported_path for row in finish_export(place["out"]))


def test_an_image_is_not_moved_over_another_one(place, images, stop_export):
    stop_export("move")
    before = contents(place["in"])
    (place["out"] / "cluster_1").mkdir()
    (place["out"] / "cluster_1" / "8.png").write_text("another")
    rows = finish_export(place["out"])
    assert rows[1].exported_path == "cluster_1/8_2.png"
    assert images_in(place["out"])["cluster_1/8_2.png"] == before["8.png"]
    assert (place["out"] / "cluster_1" / "8.png").read_text() == "another"


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink"])
def test_undo_of_a_stopped_export_removes_unchanged_copies_and_links(place, stop_export, action):
    before = state(place)
    stop_export(action)
    assert undo_export(place["out"]) == []
    assert state(place) == before
    assert not place["out"].exists()


def test_undo_of_a_stopped_export_leaves_edited_copies_and_names_them(place, stop_export):
    stop_export()
    (place["out"] / "cluster_0" / "0.png").write_bytes(b"edited")
    with pytest.warns(EditedCopiesWarning, match=r"\(1\):(?s:.*)cluster_0/0\.png") as warned:
        undo_export(place["out"])
    assert warned[0].filename == __file__
    assert contents(place["out"]) == {"cluster_0/0.png": b"edited"}


def test_undo_of_a_stopped_addition_of_copies_keeps_the_export(export, place):
    export("copy")
    before = state(place)
    with pytest.raises(OutputFolderError, match="the disk is full"):
        interrupt(
            place, lambda: add_images(place["out"], place["more"]), OSError("the disk is full")
        )
    undo_export(place["out"])
    assert state(place) == before


def test_one_process_at_a_time_writes_to_a_folder(place, images):
    refused = []

    def try_others():
        for work in (
            lambda: finish_export(place["out"]),
            lambda: undo_export(place["out"]),
            lambda: rename_cluster(place["out"], 0, "cats"),
            lambda: export_clusters(images, [0] * 5, place["out"]),
        ):
            with pytest.raises(OutputFolderError, match=r"writing|interrupted") as raised:
                work()
            refused.append("writing" in str(raised.value))

    def is_begun():
        if images_in(place["out"]) and not refused:
            try_others()

    with watched(place["out"], is_begun):
        rows = export_clusters(images, [0, 1, 0, 1, 1], place["out"], action="move")
    assert refused[:2] == [True, True]
    assert present_rows(place["out"]) == rows


def test_an_export_made_by_another_process_meanwhile_is_not_overwritten(place, images):
    def other():
        if not place["out"].exists():
            export_clusters(images, [0] * 5, place["out"])

    with watched(place["out"], other), pytest.raises(OutputFolderError, match="new or empty"):
        export_clusters(images, [1] * 5, place["out"])
    assert [row.cluster for row in present_rows(place["out"])] == [0] * 5


def test_what_cannot_be_locked_is_refused(place, images, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    for lock in ("flock", "lockf"):
        monkeypatch.setattr(fcntl, lock, refuse)
    before = state(place)
    with pytest.raises(OutputFolderError, match="cannot be locked"):
        export_clusters(images, [0] * 5, place["out"])
    assert state(place) == before


@pytest.fixture
def command(place, stand_in):
    """The arguments of the command that clusters the images of a folder."""
    options = ["--weights", stand_in, "--reducer", "none", "-k", 2, "--quiet"]
    return ["cluster", place["in"], place["out"], *options]


def on_command_line(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("action", ["copy", "move"])
def test_after_ctrl_c_every_other_command_is_refused_and_names_the_way_out(
    place, command, capsys, tmp_path, action
):
    out, model = place["out"], tmp_path / "model"
    first = [*command, "--action", action, "--save-model", model]
    assert interrupt(place, lambda: on_command_line(*first), KeyboardInterrupt()) == 130
    ways = f"resnet-kmeans finish {out}", f"resnet-kmeans undo {out}"
    said = capsys.readouterr().err
    assert all(way in said for way in ways)
    before = contents(tmp_path)
    others = [
        first[:-2],
        [*command, "--action", "hardlink"],
        ["cluster", place["more"], *command[2:], "--action", action],
        ["assign", model, place["in"], out, "--quiet"],
        ["report", out],
        ["rename", out, 0, "cats"],
        ["split", out, 0],
        ["add", out, place["more"], "--quiet"],
    ]
    for other in others:
        assert on_command_line(*other) == 2, other
        said = capsys.readouterr().err
        assert "was interrupted" in said, other
        assert all(way in said for way in ways), other
        assert contents(tmp_path) == before, other
    assert on_command_line("finish", out) == 0
    assert "5 images are in 2 clusters" in capsys.readouterr().out
    assert on_command_line("finish", out) == 0
    assert "Nothing was interrupted" in capsys.readouterr().out


def test_ctrl_c_before_the_first_change_says_that_no_image_was_touched(place, command, capsys):
    with stopped(place["out"], lambda: True, KeyboardInterrupt()):
        assert on_command_line(*command, "--action", "move") == 130
    assert "No image was touched" in capsys.readouterr().err
    assert on_command_line(*command, "--action", "move") == 0


def test_ctrl_c_while_the_report_is_written_leaves_a_complete_export(place, command, capsys):
    out = place["out"]
    with stopped(out, lambda: state_of(out) == "finished", KeyboardInterrupt()):
        assert on_command_line(*command, "--report") == 130
    assert f"Nothing in {out} is half done; see resnet-kmeans log {out}" in (
        capsys.readouterr().err
    )
    assert state_of(out) == "finished"


@pytest.fixture
def while_decoding(monkeypatch):
    """A function that has another one called with each image that is decoded."""
    load = ImageFile.ImageFile.load

    def use(do):
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: (do(), load(image))[1])

    return use


def test_ctrl_c_drops_the_images_that_wait_to_be_decoded(tmp_path, stand_in, while_decoding):
    images, seen = draw(tmp_path / "many", range(200)), []

    def decode():
        seen.append(None)
        if len(seen) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)

    while_decoding(decode)
    with pytest.raises(KeyboardInterrupt):
        ResNetFeaturizer(weights=stand_in, cache=None).transform(images)
    n_seen = len(seen)
    assert n_seen < 100
    time.sleep(0.1)
    assert len(seen) == n_seen


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
def test_a_worker_that_is_killed_is_an_error_and_no_wait(
    tmp_path, stand_in, while_decoding, capsys
):
    images, killed = draw(tmp_path / "many", range(250)), []

    def decode():
        workers = active_children()
        if workers and not killed:
            killed.append(os.kill(workers[0].pid, signal.SIGKILL))

    while_decoding(decode)
    options = ["--weights", stand_in, "--jobs", 2, "--cache", "none"]
    assert on_command_line("cluster", images[0].parent, tmp_path / "out", *options) == 2
    assert killed
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "resnet-kmeans: error: One of 2 worker processes was ended by the system"
    )


SLOW = """
import itertools, sys, time
from multiprocessing import active_children
from PIL import ImageFile
load, numbers = ImageFile.ImageFile.load, itertools.count()
def slow(image):
    number = next(numbers)
    if number == 300:
        while "--jobs" in sys.argv and not active_children():
            time.sleep(0.01)
        print("begun", flush=True)
    if number >= 300:
        time.sleep(SECONDS)
    return load(image)
ImageFile.ImageFile.load = slow
from resnet_kmeans.cli import main
sys.exit(main())
"""


@pytest.fixture
def start(tmp_path, stand_in):
    """A function that starts a command, which is slow after 100 images, each loaded thrice."""
    draw(tmp_path / "many", range(200))
    processes = []

    def start(seconds, *options):
        program = SLOW.replace("SECONDS", str(seconds))
        command = [sys.executable, "-c", program, "cluster", tmp_path / "many", tmp_path / "out"]
        command += ["--weights", stand_in, *options]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        processes.append(process)
        assert process.stdout.readline().startswith("begun")
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()  # workers that are left would hold it open
        process.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_the_command_which_says_how_to_go_on(start, name):
    process, number = start(0.1), getattr(signal, name)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 128 + number
    assert said[-1].startswith(
        "resnet-kmeans: stopped. No image was touched. Run the command again"
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
def test_a_second_ctrl_c_ends_the_command_at_once(start):
    process = start(60)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process in another way")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_workers_end_with_the_process_that_started_them(start, name):
    process = start(0.1, "--jobs", "2")
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=20)  # until nobody holds its output any more


def test_an_interrupted_undo_is_completed_by_finish_and_nothing_else(export, place, command):
    before = state(place)
    export()
    add_images(place["out"], place["more"], action="move")
    with stopped(place["out"].parent, lambda: any(place["in"].iterdir()), KeyboardInterrupt()):
        assert on_command_line("undo", "--all", place["out"]) == 130
    left = contents(place["out"].parent)
    for other in (command, ["rename", place["out"], 0, "cats"], ["report", place["out"]]):
        assert on_command_line(*other) == 2
    assert contents(place["out"].parent) == left
    assert finish_export(place["out"]) == []
    assert state(place) == before
    assert not place["out"].exists()


@pytest.mark.parametrize("seed", [*range(3), pytest.param(None, marks=pytest.mark.slow)])
def test_random_kills_and_commands_lose_no_image_and_move_none_unasked(
    place, command, tmp_path, request, seed
):
    run = run_here if seed is not None else request.getfixturevalue("in_fork")
    begin = Snapshot(place, tmp_path / "snapshot")
    for number in [seed] if seed is not None else range(N_RANDOM):
        begin.restore()
        story = Story(place, run, random.Random(number), command)
        for _ in range(3):
            story.step(killed=True)
            story.by_hand()
            story.step(killed=False)
            story.by_hand()
        story.end()


class Story:
    """Random commands on one export; the state of all images is checked after each."""

    def __init__(self, place, run, rng, cluster):
        self.place, self.run, self.rng, self.cluster = place, run, rng, cluster
        self.before = {name: contents(place[name]) for name in ("in", "more")}
        self.images = images_of(place)
        self.was_moved = set()
        self.moved = set()  # folders from which a command was asked to move images
        self.log = []

    def argv(self):
        out, rng = self.place["out"], self.rng
        folders = [path.name for path in out.glob("[!._]*") if path.is_dir()] or ["cluster_0"]
        kinds = ["cluster", "add", "add", "apply", "split", "rename", "undo", "redo", "finish"]
        kind = rng.choice([*kinds, "undo --all"])
        if not out.exists() and rng.random() < 0.8:
            kind = "cluster"
        if kind in ("cluster", "add"):
            add = ["add", out, self.place["more"], "--quiet"]
            action = rng.choice(["copy", "move", "move"])
            return [*(self.cluster if kind == "cluster" else add), "--action", action]
        if kind == "apply":
            curation = {"names": {rng.choice(folders): rng.choice("abc")}, "moves": {}}
            images = sorted(images_in(out)) if out.exists() else []
            for image in rng.sample(images, min(2, len(images))):
                curation["moves"][image] = rng.choice(["a", "new", None])
            file = out.with_name("curation.json")
            file.write_text(json.dumps(curation))
            return ["apply", out, file]
        if kind == "rename":
            return ["rename", out, rng.choice(folders), rng.choice("abc")]
        return [*kind.split(), out, *([rng.choice(folders)] if kind == "split" else [])]

    def do(self, n, argv):
        code, text = self.run(n, self.place["out"].parent, "main", *argv)
        self.log.append((argv, code, text))
        return code, text

    def by_hand(self):
        """Do what a person does between commands: rename a file or folder, move or add a file."""
        out, rng = self.place["out"], self.rng
        images = sorted(images_in(out)) if out.exists() else []
        if not images or rng.random() < 0.5:
            return
        image = out / rng.choice(images)
        kind = rng.choice(["rename", "move", "rename folder", "add"])
        folders = sorted({path.split("/")[0] for path in images})
        target = {
            "rename": image.with_name(f"by_hand_{len(self.log)}{image.suffix}"),
            "move": out / rng.choice([*folders, "new"]) / f"moved_{len(self.log)}{image.suffix}",
            "rename folder": out / f"folder_{len(self.log)}",
            "add": image.with_name(f"mine_{len(self.log)}.txt"),
        }[kind]
        self.log.append((kind, image, target))
        target.parent.mkdir(exist_ok=True)
        if kind == "add":
            target.write_text(f"mine {len(self.log)}")
        else:
            (image.parent if kind == "rename folder" else image).rename(target)

    def step(self, killed):
        argv, before = self.argv(), state(self.place)
        was = state_of(self.place["out"])
        code, text = self.do(self.rng.randint(1, 40) if killed else 0, argv)
        if "move" in argv and code != 2:
            self.moved.add("in" if argv[0] == "cluster" else "more")
        if argv[0] == "redo":  # of a move, perhaps
            self.moved |= self.was_moved
        self.was_moved |= self.moved
        assert self.images <= images_of(self.place), self.log
        for name in {"in", "more"} - self.moved:
            assert contents(self.place[name]) == self.before[name], self.log
        if code == 2:
            assert state(self.place) == before, self.log
            assert text.startswith("resnet-kmeans: error: "), self.log
            assert "Traceback" not in text, self.log
        if code == 0:
            assert was != "unfinished" or argv[0] in ("finish", "undo", "redo"), self.log
            assert state_of(self.place["out"]) != "unfinished", self.log
            assert text.strip(), self.log

    def end(self):
        """Take everything back: the disk is byte for byte what it was."""
        out = self.place["out"]
        if state_of(out) == "unfinished":
            assert self.do(0, [self.rng.choice(["finish", "undo"]), out])[0] == 0, self.log
        if state_of(out) == "finished":
            assert self.do(0, ["undo", "--all", out])[0] == 0, self.log
        assert all(path.endswith(".txt") for path in visible(out)), self.log
        for name, files in self.before.items():
            assert contents(self.place[name]) == files, self.log
