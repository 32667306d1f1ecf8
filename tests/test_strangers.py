"""An export or a model file of somebody else touches nothing outside what was given."""

import json
import os
from pathlib import Path

import pytest

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    apply_curation,
    export_clusters,
    export_log,
    finish_export,
    redo_export,
    rename_cluster,
    undo_export,
    write_export_report,
)
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import NetworkError, OutputFolderError
from tests.export_folders import contents, images_in, make_images, present_rows
from tests.kills import KILLED, run_here

JOURNAL = ".resnet-kmeans.jsonl"


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / "in")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def as_stranger(monkeypatch, tmp_path):
    """A function that makes this process one of another user, with a key of their own."""

    def become(name="stranger"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))

    return become


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink", "move"])
def test_what_leaves_a_strangers_export_is_asked_for_first(
    images, out, as_stranger, action, capsys
):
    before = contents(out.parent)
    export_clusters(images, [0, 0, 1, 1], out, action=action)
    as_stranger()
    exported = contents(out)
    with pytest.raises(OutputFolderError, match=r"somebody else.*4 files") as raised:
        undo_export(out)
    assert all(str(image) in str(raised.value) for image in images)
    assert "--trust" in str(raised.value)
    assert contents(out) == exported
    assert main(["undo", str(out)]) == 2
    assert main(["undo", "--trust", str(out)]) == 0
    assert "To have the export back" in capsys.readouterr().out
    assert {path: data for path, data in contents(out.parent).items() if "in/" in path} == before


def test_a_strangers_export_is_read_shown_and_corrected_within_its_folder(images, out, as_stranger):
    export_clusters(images, [0, 0, 1, 1], out)
    sources = contents(out.parent / "in")
    as_stranger()
    rename_cluster(out, 0, "cats")
    apply_curation(out, {"moves": {"cats/a.png": "dogs"}})
    assert [step.command for step in export_log(out)] == ["export", "rename", "apply"]
    undo_export(out)
    undo_export(out)
    assert {row.name for row in present_rows(out)} == {"cluster_0", "cluster_1"}
    with pytest.raises(OutputFolderError, match="somebody else"):
        undo_export(out)
    assert contents(out.parent / "in") == sources


def test_an_interrupted_export_of_a_stranger_is_not_finished_unasked(images, out, as_stranger):
    n = 0
    while len(images_in(out)) != 2:
        n += 1
        if out.exists():
            undo_export(out) if (out / JOURNAL).exists() else None
        job = ("export_clusters", images, [0, 0, 1, 1], out)
        assert run_here(n, str(out.parent), *job, action="move")[0] == KILLED
    as_stranger()
    before = contents(out), contents(images[0].parent)
    with pytest.raises(OutputFolderError, match="somebody else"):
        finish_export(out)
    assert (contents(out), contents(images[0].parent)) == before
    finish_export(out, trust=True)
    assert len(images_in(out)) == 4


def test_a_redo_of_a_strangers_step_is_asked_for_first(images, out, as_stranger, tmp_path):
    export_clusters(images, [0, 0, 1, 1], out)
    (out / "mine.txt").write_text("so that the folder stays")
    export = contents(out)
    as_stranger()
    undo_export(out, trust=True)
    with pytest.raises(OutputFolderError, match="somebody else"):
        redo_export(out)
    assert set(contents(out)) == {"mine.txt"}
    redo_export(out, trust=True)
    assert images_in(out) == {path: data for path, data in export.items() if "/" in path}


def test_a_link_in_a_strangers_export_is_not_followed(images, out, as_stranger, tmp_path):
    export_clusters(images, [0, 0, 1, 1], out, action="symlink")
    as_stranger()
    with pytest.raises(OutputFolderError, match="links of another user are not followed"):
        write_export_report(out)
    (out / "cluster_0" / "link.png").symlink_to(images[0])  # nor one that was put there by hand
    (out / "cluster_0" / "file.png").write_bytes(images[0].read_bytes())
    assert write_export_report(out).read_text().count("data:image/jpeg") == 1
    with pytest.raises(OutputFolderError, match="somebody else"):
        undo_export(out)


HOSTILE = [
    *("../x", "/etc/x", "a/../../x", "C:x", "C:/x", "D:x", "\\\\host\\share\\x", "//host/x", "a:b"),
    *("cluster_0/a.jpg:stream", "cluster_0\\..\\x", "", ".", "a//b", "a/./b", "a\0b"),
    *(".resnet-kmeans.jsonl", ".Resnet-Kmeans.lock", None, 5, ["x"]),
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("key", ["changes", "others", "folders"])
def test_a_path_that_leads_out_on_any_system_is_refused(images, out, as_stranger, key, path):
    export_clusters(images, [0, 0, 1, 1], out)
    header, step, done = map(json.loads, (out / JOURNAL).read_text().splitlines())
    if key == "changes":
        if path is None:
            return  # an image that is not exported
        step["changes"][0][2][0] = path
    elif key == "others":
        step["others"] = [["cluster_0/notes.txt", path]]
    else:
        step["folders"][1][0] = path
    (out / JOURNAL).write_text("".join(json.dumps(x) + "\n" for x in (header, step, done)))
    check_refused(out)


def check_refused(out):
    before = contents(out.parent)
    for use in (undo_export, finish_export, redo_export, present_rows, export_log):
        with pytest.raises(OutputFolderError, match="cannot be read"):
            use(out)
    assert contents(out.parent) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda step: step["files"][0].__setitem__(0, "relative"),
        lambda step: step["files"][0].__setitem__(0, None),
        lambda step: step["files"][0].__setitem__(0, "/a\0b"),
        lambda step: step["files"][0].__setitem__(1, "delete"),
        lambda step: step["files"][0].__setitem__(3, "x"),
        lambda step: step["files"][0].__setitem__(4, "relative"),
        lambda step: step["changes"][0].__setitem__(0, 10**9),
        lambda step: step["changes"][0].__setitem__(0, -1),
        lambda step: step["changes"][0][2].__setitem__(1, 10**9),
        lambda step: step["changes"][0][2].__setitem__(1, "0"),
        lambda step: step["changes"][0][2].__setitem__(1, 10**30),
        lambda step: step["changes"][0][2].__setitem__(3, 5),
        lambda step: step["changes"][0][2].__setitem__(4, "yes"),
        lambda step: step["folders"].__setitem__(1, "ab"),
        lambda step: step["folders"].__setitem__(1, None),
        lambda step: step["folders"].pop(),
        lambda step: step.__setitem__("folders", [[], []]),
        lambda step: step.__setitem__("folders", 5),
    ],
)
def test_a_crafted_step_is_refused(images, out, change):
    export_clusters(images, [0, 0, 1, 1], out)
    header, step, done = map(json.loads, (out / JOURNAL).read_text().splitlines())
    change(step)
    (out / JOURNAL).write_text("".join(json.dumps(x) + "\n" for x in (header, step, done)))
    check_refused(out)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "deep", "list", "format"])
def test_what_is_no_journal_is_refused_at_once(images, out, kind):
    export_clusters(images, [0, 0, 1, 1], out)
    journal = out / JOURNAL
    text = journal.read_text()
    journal.unlink()
    if kind == "pipe":
        os.mkfifo(journal)
    elif kind == "link":
        (out.parent / "elsewhere").write_text(text)
        journal.symlink_to(out.parent / "elsewhere")
    elif kind == "folder":
        journal.mkdir()
    else:
        journal.write_text({"deep": "[" * 10**5, "list": "[1]\n"}.get(kind, '{"format":3}\n'))
    for use in (undo_export, finish_export, redo_export, export_log):
        with pytest.raises(OutputFolderError, match="cannot be read"):
            use(out)


def test_a_step_whose_text_was_changed_is_not_ours_any_more(images, out, tmp_path):
    """Whoever can write to the folder cannot make us move files that we did not move."""
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    victim = tmp_path / "home" / ".profile"
    journal = out / JOURNAL
    journal.write_text(journal.read_text().replace(str(images[0]), str(victim)))
    with pytest.raises(OutputFolderError, match="somebody else") as raised:
        undo_export(out)
    assert str(victim) in str(raised.value)
    assert not victim.parent.exists()


def test_a_line_taken_out_or_put_elsewhere_is_noticed(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    rename_cluster(out, 0, "cats")
    rename_cluster(out, "cats", "cluster_0")
    lines = (out / JOURNAL).read_text().splitlines(keepends=True)
    (out / JOURNAL).write_text("".join(lines[:1] + lines[3:]))
    with pytest.raises(OutputFolderError, match="cannot be read"):
        undo_export(out)


def test_an_export_that_moved_to_another_place_is_still_ours(images, out, tmp_path):
    before = contents(tmp_path / "in")
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    out.rename(tmp_path / "elsewhere")
    undo_export(tmp_path / "elsewhere")
    assert contents(tmp_path / "in") == before


def test_a_strangers_model_opens_no_weights_file(images, tmp_path, stand_in, as_stranger):
    model = ImageFolderClusterer(2, featurizer=ResNetFeaturizer(weights=stand_in), reducer=None)
    model.fit(tmp_path / "in").save(tmp_path / "model")
    as_stranger()
    loaded = ImageFolderClusterer.load(tmp_path / "model")
    with pytest.raises(NetworkError, match=r"another user.*not opened.*weights=PATH"):
        loaded.predict(images)
    loaded.save(tmp_path / "again")  # which does not make it ours
    with pytest.raises(NetworkError, match="not opened"):
        ImageFolderClusterer.load(tmp_path / "again").predict(images)
    given = ImageFolderClusterer.load(tmp_path / "model", weights=stand_in)
    assert given.predict(images).tolist() == model.predict(images).tolist()


def test_the_key_is_the_users_alone(images, out, as_stranger, tmp_path):
    as_stranger("me")
    export_clusters(images, [0, 0, 1, 1], out)
    (key,) = Path(tmp_path, "me").rglob("key")
    assert len(key.read_bytes()) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes().hex() not in (out / JOURNAL).read_text()
