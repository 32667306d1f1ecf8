"""An export works as well where files, paths and names are as on Windows or macOS."""

import errno
import html
import json
import ntpath
import os
import shutil
import stat
import subprocess
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from unittest import mock

import filelock
import numpy as np
import pytest

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    confirm_images,
    export_clusters,
    finish_export,
    redo_export,
    rename_cluster,
    undo_export,
    write_export_report,
    write_report,
)
from resnet_kmeans.cli import exports as cli_exports
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import OutputFolderError
from resnet_kmeans.export import corrections, files, read_export, survey
from resnet_kmeans.report import page
from tests.export_folders import contents, images_in, make_images, present_rows, visible

ACTIONS = ("copy", "hardlink", "symlink", "move")
LABELS = [0, 0, 1, 1]


class Other:
    """A module of which some attributes are others."""

    def __init__(self, module, **others):
        self.__dict__.update(others, module=module)

    def __getattr__(self, name):
        return getattr(self.module, name)


class Entry(Other):
    """What Windows says of a file in a folder: all but its inode."""

    def __fspath__(self):
        return self.module.path

    def stat(self, *, follow_symlinks=True):
        found = self.module.stat(follow_symlinks=follow_symlinks)
        times = {name: getattr(found, name) for name in ("st_mtime_ns", "st_mtime")}
        return os.stat_result((found.st_mode, 0, 0, 0, *found[4:10]), times)


def entries(make):
    """Return an `os.scandir` whose entries are made by a function."""

    class Scandir:
        def __init__(self, folder):
            self.found = [make(entry) for entry in os.scandir(folder)]

        def __enter__(self):
            return self.found

        def __exit__(self, *exception):
            pass

    return Scandir


def refuse(path, reason):
    raise PermissionError(errno.EACCES, reason, os.fspath(path))


def refuse_if_open(path):
    """Raise an error if this process has a file open, or one in a folder, also as a map."""
    full = os.path.abspath(path)
    for handle in os.listdir("/proc/self/fd"):
        if os.path.lexists(link := f"/proc/self/fd/{handle}"):
            is_folder = os.path.isdir(link)
            if not is_folder and f"{os.readlink(link)}/".startswith(f"{full}/"):
                refuse(path, "open")
    if full in Path("/proc/self/maps").read_text():
        refuse(path, "mapped")


def refuse_if_read_only(path):
    if not stat.S_IMODE(os.lstat(path).st_mode) & stat.S_IWUSR:
        refuse(path, "read-only")


@pytest.fixture
def windows(monkeypatch):
    """Files as on Windows, as far as this package depends on it."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list open files")
    fcntl = pytest.importorskip("fcntl")
    unlink, rename, replace, rmdir, fsync = os.unlink, os.rename, os.replace, os.rmdir, os.fsync
    release = filelock.FileLock._release

    def unlink_closed(path, *, dir_fd=None):
        if dir_fd is None and os.path.lexists(path):
            refuse_if_open(path)
            refuse_if_read_only(path)
        unlink(path, dir_fd=dir_fd)

    def rename_closed(source, target):
        refuse_if_open(source)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "it exists", os.fspath(target))
        rename(source, target)

    def replace_closed(source, target):
        refuse_if_open(source)
        refuse_if_open(target)
        replace(source, target)

    def rmdir_closed(path, *, dir_fd=None):
        if dir_fd is None:
            refuse_if_open(path)
        rmdir(path, dir_fd=dir_fd)

    def fsync_writable(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "the handle is read-only")
        fsync(handle)

    def release_and_remove(lock):
        release(lock)
        with suppress(FileNotFoundError):  # old versions remove it themselves
            unlink(lock.lock_file)

    def access(path, mode):
        return os.path.isdir(path) or bool(os.stat(path).st_mode & stat.S_IWUSR)

    monkeypatch.setattr(os, "unlink", unlink_closed)
    monkeypatch.setattr(os, "rename", rename_closed)
    monkeypatch.setattr(os, "replace", replace_closed)
    monkeypatch.setattr(os, "rmdir", rmdir_closed)
    monkeypatch.setattr(os, "fsync", fsync_writable)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)
    monkeypatch.setattr(filelock.FileLock, "_release", release_and_remove)
    nt = Other(os, name="nt", access=access)
    monkeypatch.setattr(files, "os", nt)
    monkeypatch.setattr(sys.modules["resnet_kmeans._files"], "os", nt)
    links = {"readlink": lambda path: f"\\\\?\\{os.readlink(path)}", "scandir": entries(Entry)}
    monkeypatch.setattr(survey, "os", Other(os, **links))


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / "in")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.mark.parametrize("action", ACTIONS)
def test_open_and_read_only_files_stop_no_step(windows, images, out, action):
    images[0].chmod(0o444)
    sources = contents(images[0].parents[1])
    export_clusters(images, LABELS, out, action=action)
    first = visible(out)
    rename_cluster(out, 0, "cats")
    apply_curation(out, {"names": {"cats": "dogs", "cluster_1": "dogs"}})
    assert {path.partition("/")[0] for path in images_in(out)} == {"dogs"}
    undo_export(out)
    undo_export(out)
    assert visible(out) == first
    undo_export(out)
    assert not out.exists()
    assert contents(out.parent) == sources
    redo_export(out)
    assert visible(out) == first


def test_a_model_and_what_an_export_keeps_are_closed_before_they_are_replaced(
    windows, pictures, stand_in, tmp_path, out
):
    model = ImageFolderClusterer(3, featurizer=ResNetFeaturizer(weights=stand_in), random_state=0)
    labels = model.fit_predict(pictures)
    for _ in range(2):
        model.save(tmp_path / "model.safetensors")
        model = ImageFolderClusterer.load(tmp_path / "model.safetensors")
        write_report(labels, tmp_path / "report.html", images=sorted(pictures.iterdir()))
    np.testing.assert_array_equal(model.predict(pictures), labels)
    model.export(out, pictures)
    assert add_images(out, pictures) == []
    undo_export(out)
    assert not out.exists()


def test_two_files_of_one_size_and_time_are_told_apart_by_their_inodes(windows, images, out):
    for image in images:
        image.write_bytes(os.fsencode(image).rjust(200))
        os.utime(image, (1e9, 1e9))
    export_clusters(images, LABELS, out)
    rename_cluster(out, 1, "dogs")  # records what was found
    a, b = out / "cluster_0" / "a.png", out / "cluster_0" / "b.png"
    for before, after in ((a, out / "x"), (b, a), (out / "x", b)):
        before.rename(after)
    assert {row.source_path: row.exported_path for row in present_rows(out)} == {
        str(images[0]): "cluster_0/b.png",
        str(images[1]): "cluster_0/a.png",
        str(images[2]): "dogs/a.png",
        str(images[3]): "dogs/c.png",
    }


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("\\\\?\\C:\\in\\a.png", "C:\\in\\a.png"),
        ("\\\\?\\UNC\\nas\\in\\a.png", "\\\\nas\\in\\a.png"),
        ("D:\\in\\a.png", "D:\\in\\a.png"),
    ],
)
def test_a_link_is_known_by_its_target_without_the_prefix_of_windows(
    images, out, monkeypatch, written, target
):
    export_clusters(images, LABELS, out, action="symlink")
    journal = out / ".resnet-kmeans.jsonl"
    journal.write_text(journal.read_text().replace(json.dumps(str(images[0])), json.dumps(target)))
    link = out / "cluster_0" / "a.png"
    readlink = {"readlink": lambda path: written if path == link else os.readlink(path)}
    monkeypatch.setattr(survey, "os", Other(os, **readlink))
    undo_export(out, trust=True)
    assert not os.path.lexists(link)


def test_a_read_only_image_moves_to_another_drive_and_back(windows, images, out, monkeypatch):
    rename = os.rename

    def rename_here(source, target):
        if (out in Path(source).parents) != (out in Path(target).parents):
            raise OSError(errno.EXDEV, "another drive")
        rename(source, target)

    def open_writable(path, flags, *mode, **folder):
        if flags & os.O_ACCMODE and os.path.exists(path):
            refuse_if_read_only(path)
        return os_open(path, flags, *mode, **folder)

    os_open, before = os.open, contents(images[0].parent)
    monkeypatch.setattr(os, "rename", rename_here)
    monkeypatch.setattr(os, "open", open_writable)
    images[0].chmod(0o444)
    export_clusters(images, LABELS, out, action="move")
    assert [image for image in images if image.exists()] == []
    undo_export(out)
    assert contents(images[0].parent) == before
    assert stat.S_IMODE(images[0].stat().st_mode) == 0o444


def test_images_that_came_from_another_system_are_corrected_but_stay(images, out):
    export_clusters(images, LABELS, out)
    journal = out / ".resnet-kmeans.jsonl"
    text = journal.read_text()
    for image in images:
        text = text.replace(json.dumps(str(image)), json.dumps(f"C:\\in\\{image.name}"))
    journal.write_text(text)
    rename_cluster(out, 0, "cats")
    assert {row.name for row in present_rows(out)} == {"cats", "cluster_1"}
    undo_export(out)
    exported = images_in(out)
    with pytest.raises(OutputFolderError, match="is on another system") as raised:
        undo_export(out, trust=True)
    assert "(4)" in str(raised.value)
    assert images_in(out) == exported


def test_a_strangers_server_is_not_looked_at(images, out, monkeypatch, tmp_path):
    export_clusters(images, LABELS, out, action="move")
    journal = out / ".resnet-kmeans.jsonl"
    text = journal.read_text().rpartition('{"done"')[0]
    journal.write_text(text.replace(json.dumps(str(images[0])), '"//server/in/a.png"'))
    (out / "cluster_0" / "a.png").unlink()
    looked_at, lexists = [], os.path.lexists
    with mock.patch("os.path.lexists", lambda path: looked_at.append(str(path)) or lexists(path)):
        for command in (undo_export, finish_export, present_rows):
            with pytest.raises(OutputFolderError):
                command(out)
    assert looked_at
    assert not [path for path in looked_at if path.startswith("//server")]


def test_names_that_hfs_lists_decomposed_are_those_of_the_journal(tmp_path, out, monkeypatch):
    names = ("é.png", "b.png", "Ünder/é.png", "plain.png")
    images = make_images(tmp_path / "in", names)
    export_clusters(images, LABELS, out, names=["Füchse", "Bären"])

    def decomposed(entry):
        return Entry(entry, name=unicodedata.normalize("NFD", entry.name))

    monkeypatch.setattr(survey, "os", Other(os, scandir=entries(decomposed)))
    state = read_export(out)
    assert (state.moved, state.missing, state.added) == ({}, {}, [])
    assert state.folders == ["Füchse", "Bären"]
    rename_cluster(out, 0, "Löwen")
    undo_export(out)
    assert present_rows(out)[0].exported_path == "Füchse/é.png"
    undo_export(out)
    assert not out.exists()


def test_a_folder_whose_case_a_person_changed_keeps_its_label(images, out):
    export_clusters(images, LABELS, out, names=["cats", "dogs"])
    (out / "cats").rename(out / "Cats")
    if not (out / "cats").exists():
        (out / "cats").symlink_to("Cats")  # so that both are one folder, as on Windows and macOS
    assert read_export(out).folders == ["Cats", "dogs"]
    assert [(row.cluster, row.name) for row in present_rows(out)[:2]] == [(0, "Cats")] * 2


def test_a_junction_is_not_followed(images, out, monkeypatch):
    export_clusters(images, LABELS, out)
    make_images(out / "cluster_0" / "elsewhere")
    (out / "dogs").mkdir()

    def with_junction(entry):
        return Entry(entry, is_junction=lambda: entry.name == "elsewhere")

    assert len(read_export(out).added) == 4
    monkeypatch.setattr(survey, "os", Other(os, scandir=entries(with_junction)))
    assert read_export(out).added == []
    monkeypatch.setattr(Path, "is_junction", lambda path: path.name == "dogs", raising=False)
    with pytest.raises(OutputFolderError, match="dogs: a link"):
        rename_cluster(out, 0, "dogs")


@pytest.mark.parametrize(
    ("image", "link"),
    [
        ("C:\\me\\in\\a b.png", "../in/a%20b.png"),
        ("C:\\me\\out\\cats\\a.png", "cats/a.png"),
        ("D:\\in\\a.png", None),  # another drive
        ("C:\\in\\a.png", None),  # only the root in common
    ],
)
def test_links_of_a_report_are_relative_on_windows_too(image, link, monkeypatch):
    monkeypatch.setattr(page, "os", Other(os, path=ntpath, sep="\\"))
    assert page._link(image, "C:\\me\\out") == link


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_a_console_of_any_encoding_shows_what_is_printed(encoding, pictures, stand_in, tmp_path):
    photos = tmp_path / "Fotos \N{CAT FACE} é"
    shutil.copytree(pictures, photos)
    (photos / "ü.png").write_bytes(b"broken")
    options = ["-k", "3", "--weights", str(stand_in), "--report"]
    command = [sys.executable, "-m", "resnet_kmeans", "cluster", str(photos), str(photos / "out")]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=True,
    )
    assert "24 images are in 3 clusters" in done.stdout.decode(encoding)
    assert b"\\U0001f431" in done.stdout
    said = done.stderr.decode(encoding)
    assert "Traceback" not in said
    assert said.startswith("Looking at 25 images")
    assert "\\u2026" not in said


def test_images_are_named_with_backslashes_too(images, out, monkeypatch):
    export_clusters(images, LABELS, out)
    with monkeypatch.context() as patch:
        patch.setattr(cli_exports, "Path", PureWindowsPath)
        patch.setattr(corrections, "Path", PureWindowsPath)
        assert main(["confirm", str(out), "cluster_0\\a.png", ".\\cluster_1\\"]) == 0
        confirm_images(out, ["cluster_0\\b.png"])
    assert [row.is_confirmed for row in present_rows(out)] == [True] * 4


def test_a_command_on_a_report_is_quoted_for_the_command_prompt_too(images, tmp_path):
    for folder, quoted in (("my clusters", '"my clusters"'), ("my $HOME", "'my $HOME'")):
        export_clusters(images, LABELS, tmp_path / folder)
        page = html.unescape(write_export_report(tmp_path / folder).read_text(encoding="utf-8"))
        assert f"resnet-kmeans apply {quoted} curation.json" in page
