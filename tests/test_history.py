"""An export remembers its steps, takes each of them back, and proves before a file goes."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from resnet_kmeans import (
    apply_curation,
    export_clusters,
    export_log,
    find_images,
    finish_export,
    redo_export,
    rename_cluster,
    undo_export,
)
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import (
    CurationError,
    EditedCopiesWarning,
    MissingImagesWarning,
    OutputFolderError,
)
from resnet_kmeans.export import read_export
from tests.export_folders import contents, draw, images_in, make_images, present_rows, visible
from tests.kills import KILLED, run_here

ACTIONS = ("copy", "hardlink", "symlink", "move")
JOURNAL = ".resnet-kmeans.jsonl"


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / "in", ("a.png", "b.png", "sub/a.png", "c.png"))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.mark.parametrize("action", ACTIONS)
def test_each_step_is_taken_back_and_repeated(images, out, action):
    states = [contents(out.parent)]
    export_clusters(images, [0, 0, 1, 1], out, action=action)
    for step in (
        lambda: rename_cluster(out, 0, "cats"),
        lambda: apply_curation(out, {"names": {"cats": "cluster_1", "cluster_1": "cats"}}),
        lambda: apply_curation(out, {"moves": {"cats/a.png": None, "cluster_1/b.png": "dogs"}}),
        lambda: apply_curation(out, {"names": {"cats": "all", "cluster_1": "all", "dogs": "all"}}),
    ):
        states.append(visible(out))
        step()
    states.append(visible(out))
    for before in states[-2:0:-1]:
        undo_export(out)
        assert visible(out) == before
    undo_export(out)
    assert contents(out.parent) == states[0]
    assert not out.exists()
    for after in states[1:]:
        redo_export(out)
        assert visible(out) == after
    with pytest.raises(OutputFolderError, match="nothing to redo"):
        redo_export(out)
    undo_export(out, all_steps=True)
    assert contents(out.parent) == states[0]
    assert not out.exists()


def test_the_log_lists_what_was_done_when_and_to_how_many_images(images, out, capsys):
    export_clusters(images, [0, 0, 0, 1], out)
    rename_cluster(out, 0, "cats")
    undo_export(out)
    steps = export_log(out)
    assert [(s.number, s.command, s.n_images, s.state, s.of) for s in steps] == [
        (1, "export", 4, "done", []),
        (2, "rename", 3, "undone", []),
        (3, "undo", 3, "done", [2]),
    ]
    assert steps[0].time[:2] == "20"
    assert main(["log", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines] == ["export", "rename", "undo"]
    assert "3 images  (undone)" in lines[1]
    undo_export(out)
    assert len(export_log(out)) == 4  # the history is still there when the folder is not


def test_a_step_after_an_undo_leaves_nothing_to_redo(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    rename_cluster(out, 0, "cats")
    undo_export(out)
    rename_cluster(out, 0, "dogs")
    with pytest.raises(OutputFolderError, match="nothing to redo"):
        redo_export(out)
    undo_export(out)
    redo_export(out)
    assert {row.name for row in present_rows(out)} == {"dogs", "cluster_1"}


@pytest.mark.parametrize("work", [undo_export, redo_export])
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(images, out, work, caplog):
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    rename_cluster(out, 0, "cats")
    if work is redo_export:
        undo_export(out)
    before = contents(out.parent)
    with caplog.at_level("INFO"):
        said = work(out, dry_run=True)
    assert contents(out.parent) == before
    assert work(out) == said
    assert len(said) == 2
    if work is undo_export:
        assert "would be: 2 moved back" in caplog.text


def test_a_dry_run_completes_no_interrupted_command(images, out):
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    rename_cluster(out, 0, "cats")
    for work in (undo_export, redo_export):
        job = (work.__name__, str(out))
        n = next(
            n for n in range(1, 99) if run_here(n, str(out), *job)[0] != KILLED or unfinished(out)
        )
        before = contents(out.parent)
        with pytest.raises(OutputFolderError, match="was interrupted"):
            work(out, dry_run=True)
        assert contents(out.parent) == before, n
        work(out)


def unfinished(out):
    return export_log(out)[-1].state == "interrupted"


def test_a_dry_run_of_undo_names_what_is_in_the_way(images, out):
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    images[1].write_text("another")
    before = contents(out.parent)
    with pytest.raises(OutputFolderError, match=r"b\.png: its source path is taken"):
        undo_export(out, dry_run=True)
    assert contents(out.parent) == before


def test_what_a_person_moved_stays_there_when_a_correction_is_taken_back(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    rename_cluster(out, 0, "cats")
    (out / "cats" / "a.png").rename(out / "cluster_1" / "mine.png")
    (out / "cats" / "b.png").rename(out / "cats" / "renamed.png")
    undo_export(out)
    assert set(images_in(out)) == {
        *("cluster_1/mine.png", "cluster_0/renamed.png", "cluster_1/a.png", "cluster_1/c.png")
    }
    assert present_rows(out)[0].exported_path == "cluster_1/mine.png"
    undo_export(out)
    assert not out.exists()


def test_the_folders_of_a_step_that_was_undone_are_unknown(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    apply_curation(out, {"moves": {"cluster_0/a.png": "dogs"}})
    undo_export(out)
    with pytest.raises(CurationError, match="dogs: not part of this export"):
        apply_curation(out, {"names": {"dogs": "cats"}})


def test_corrections_made_on_an_earlier_state_are_applied_where_they_still_fit(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    page = {"revision": 1, "names": {"cluster_0": "cats", "cluster_1": "dogs"}}
    page["moves"] = {"cluster_0/a.png": "dogs"}
    rename_cluster(out, 0, "felines")
    apply_curation(out, {"names": {"cluster_1": "felines"}})  # which leaves no cluster_1
    apply_curation(out, {"moves": {"felines/c.png": "cluster_0"}})  # another cluster_0
    (out / "felines" / "b.png").unlink()
    page["moves"]["cluster_0/b.png"] = "dogs"
    with pytest.warns(MissingImagesWarning, match=r"\(1\):(?s:.*)cluster_0/b\.png"):
        rows = apply_curation(out, page)
    there = [row.exported_path for row in rows if (out / row.exported_path).exists()]
    assert there == ["dogs/a.png", "dogs/a_2.png", "cluster_0/c.png"]


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    rename_cluster(out, 0, "cats")
    (out / "cluster_0").mkdir()
    (out / "cluster_0" / "a.png").write_text("mine")
    undo_export(out)
    assert (out / "cluster_0" / "a.png").read_text() == "mine"
    assert (out / "cluster_0" / "a_2.png").read_bytes() == images[0].read_bytes()


# Proof: for each way to lose an image, with each action


def swap_folders(out, images):
    for before, after in (("cluster_0", "x"), ("cluster_1", "cluster_0"), ("x", "cluster_1")):
        (out / before).rename(out / after)


def edit_copy(out, images):
    (out / "cluster_0" / "a.png").unlink()
    (out / "cluster_0" / "a.png").write_bytes(b"edited")


def edit_source(out, images):
    images[0].write_bytes(b"edited")


def replace_source(out, images):
    images[0].unlink(missing_ok=True)
    images[0].write_bytes(b"another")


def lose_source(out, images):
    images[0].unlink(missing_ok=True)


def link_sources_to_export(out, images):
    for image, row in zip(images, present_rows(out)):
        image.unlink(missing_ok=True)
        image.symlink_to(out / row.exported_path)


def link_source_folder_to_export(out, images):
    folder = images[0].parent
    folder.rename(folder.with_name("away"))
    folder.symlink_to(out / "cluster_0")


def link_source_folder_to_a_copy(out, images):
    folder = images[0].parent
    shutil.copytree(folder, folder.with_name("copy"), symlinks=True)
    folder.rename(folder.with_name("away"))
    folder.symlink_to(folder.with_name("copy"))


def hide_export(out, images):
    (out / "cluster_0").rename(out.with_name("elsewhere"))
    (out / "cluster_0").symlink_to(out.with_name("elsewhere"))


def copy_export(out, images):
    shutil.copytree(out, out.with_name("out2"), symlinks=True)
    undo_export(out.with_name("out2"))


WAYS = [
    *(swap_folders, edit_copy, edit_source, replace_source, lose_source),
    *(link_sources_to_export, link_source_folder_to_export, link_source_folder_to_a_copy),
    *(hide_export, copy_export),
]


@pytest.mark.filterwarnings("ignore::resnet_kmeans.exceptions.EditedCopiesWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("action", ACTIONS)
def test_undo_loses_no_content_and_puts_none_in_the_place_of_another(
    tmp_path, images, out, action, way
):
    for image in images:  # of one size and time, so that only the content tells them apart
        image.write_bytes(image.name.encode() + image.parent.name.encode().ljust(9))
        os.utime(image, (1.4e9, 1.4e9))
    source = {str(image): image.read_bytes() for image in images}
    export_clusters(images, [0, 0, 1, 1], out, action=action)
    way(out, images)
    everything = {path.read_bytes() for path in tmp_path.rglob("*.png") if path.is_file()}
    for _ in range(2):
        with suppress(OutputFolderError):  # it names what stays
            undo_export(out, all_steps=True)
    assert everything <= {p.read_bytes() for p in tmp_path.rglob("*.png") if p.is_file()}
    for image in images:
        if image.is_file() and not image.is_symlink() and not image.parent.is_symlink():
            is_edited = image == images[0] and image.read_bytes() in (b"edited", b"another")
            assert is_edited or image.read_bytes() == source[str(image)]


def test_an_export_that_took_the_place_of_its_sources_keeps_every_image(tmp_path, images, out):
    export_clusters(images, [0, 0, 1, 1], tmp_path / "old", action="move")
    export_clusters(find_images(tmp_path / "old"), [1, 0, 1, 0], out, action="move")
    shutil.rmtree(tmp_path / "old")
    out.rename(tmp_path / "old")
    before = sorted(images_in(tmp_path / "old").values())
    with pytest.raises(OutputFolderError, match="is in this export itself"):
        undo_export(tmp_path / "old")
    assert sorted(images_in(tmp_path / "old").values()) == before


def test_what_one_image_prevents_does_not_stop_the_others(tmp_path, images, out):
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    shutil.rmtree(tmp_path / "in" / "sub")
    (tmp_path / "in" / "sub").write_text("notes")
    for n_back in (3, 0):
        with pytest.raises(OutputFolderError, match=r"returned \(1\)") as raised:
            undo_export(out)
        assert f"are back ({n_back})" in str(raised.value)
    (tmp_path / "in" / "sub").unlink()
    assert undo_export(out) == [str(images[2])]
    assert not out.exists()


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink"])
def test_undo_of_an_export_that_was_emptied_by_hand_says_so(images, out, action, caplog):
    export_clusters(images, [0, 0, 1, 1], out, action=action)
    shutil.rmtree(out / "cluster_0")
    with caplog.at_level("INFO"):
        undo_export(out)
    assert "2 copies or links removed, 2 not in the folder any more" in caplog.text
    assert not out.exists()


def test_an_image_edited_after_it_arrived_is_told_from_what_an_interruption_left(images, out):
    content = images[1].read_bytes()
    n = 1
    while not (out / "cluster_0" / "b.png").exists():
        shutil.rmtree(out, ignore_errors=True)
        n += 1
        job = ("export_clusters", images, [0, 0, 1, 1], out)
        assert run_here(n, str(out.parent), *job, action="move")[0] == KILLED
        if images[0].exists():
            continue
        if not (out / "cluster_0" / "b.png").exists():
            undo_export(out)
    (out / "cluster_0" / "a.png").write_bytes(b"edited")
    undo_export(out)
    assert images[0].read_bytes() == b"edited"
    assert images[1].read_bytes() == content
    assert not out.exists()


def test_a_move_is_repeated_only_with_the_image_that_was_moved(images, out):
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    undo_export(out)
    images[0].write_bytes(b"another")
    with pytest.raises(OutputFolderError, match=r"a\.png: it is another image now"):
        redo_export(out)
    assert images[0].read_bytes() == b"another"
    assert len(images_in(out)) == 3


# Files that a person put into the folder


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_persons_own_report_and_table_are_left_alone(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    for name in ("report.html", "clusters.csv"):
        put(out / name, "mine")
    undo_export(out)
    assert contents(out) == {"report.html": b"mine", "clusters.csv": b"mine"}


@pytest.mark.parametrize("names", ["cats", "cats dogs", "cats dogs cats", "cats cluster_0 cats"])
def test_a_persons_file_comes_back_with_the_folder_it_went_along_with(images, out, names):
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    put(out / "cluster_0" / "notes.txt", "mine")
    for name in names.split():
        rename_cluster(out, 0, name)
    undo_export(out, all_steps=True)
    assert contents(out) == {"cluster_0/notes.txt": b"mine"}
    redo_export(out)
    assert (out / "cluster_0" / "notes.txt").exists()


@pytest.mark.parametrize("n_swaps", [1, 2, 3])
def test_equal_names_of_a_persons_files_are_swapped_with_their_folders(images, out, n_swaps):
    export_clusters(images, [0, 0, 1, 1], out)
    put(out / "cluster_0" / "n.txt", "of 0"), put(out / "cluster_1" / "n.txt", "of one")
    before = visible(out)
    for _ in range(n_swaps):
        apply_curation(out, {"names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"}})
        first = next(row.name for row in present_rows(out))
        assert (out / first / "n.txt").read_text() == "of 0"
    undo_export(out, all_steps=True)
    left = {path: data for path, data in before.items() if path.endswith(".txt")}
    assert contents(out) == left


def test_a_persons_file_in_the_way_stops_no_undo(images, out):
    export_clusters(images, [1, 0, 1, 0], out, action="move")
    put(out / "cluster_0" / "a.png", "mine")
    apply_curation(out, {"names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"}})
    undo_export(out, all_steps=True)
    assert set(contents(out).values()) == {b"mine"}
    assert all(image.exists() for image in images)


def test_no_file_is_moved_through_a_link(images, out, tmp_path):
    export_clusters(images, [0, 0, 1, 1], out)
    apply_curation(out, {"moves": {"cluster_0/a.png": None, "cluster_0/b.png": None}})
    put(out / "cluster_0" / "n.txt", "mine")
    (tmp_path / "private").mkdir()
    (out / "cats").symlink_to(tmp_path / "private")
    with pytest.raises(OutputFolderError, match="cats: a link"):
        apply_curation(out, {"names": {"cluster_0": "cats"}})
    assert (out / "cluster_0" / "n.txt").exists()


def test_a_folder_in_the_way_of_a_file_is_kept(images, out):
    export_clusters(images, [0, 0, 1, 2], out)
    (out / "cluster_1" / "b.png").mkdir()
    rows = rename_cluster(out, 0, "cluster_1")
    assert rows[1].exported_path == "cluster_1/b_2.png"


def test_folders_that_differ_in_case_alone_are_merged_only_when_asked(images, out):
    export_clusters(images, [0, 0, 1, 2], out)
    (out / "cluster_0").rename(out / "Cats")
    if (out / "cats").exists():
        pytest.skip("a file system that ignores case")
    (out / "cluster_1").rename(out / "cats")
    rename_cluster(out, 2, "dogs")
    assert {path.split("/")[0] for path in images_in(out)} == {"Cats", "cats", "dogs"}


def test_a_file_reached_by_two_paths_is_not_moved_twice(images, out, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(OutputFolderError, match="listed twice"):
        export_clusters([images[0], tmp_path / "link" / "a.png"], [0, 1], out, action="move")


def test_a_path_through_a_link_and_back_names_the_file_that_the_system_opens(out, tmp_path):
    right, wrong = (
        put(tmp_path / "else" / "a.png", "right"),
        put(tmp_path / "in" / "a.png", "wrong"),
    )
    (tmp_path / "else" / "d").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "else" / "d")
    export_clusters([tmp_path / "in" / "link" / ".." / "a.png"], [0], out, action="move")
    assert wrong.exists()
    assert not right.exists()
    undo_export(out)
    assert right.read_text() == "right"


# The record itself


def test_a_last_line_cut_short_is_an_interruption_and_not_damage(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    whole = (out / JOURNAL).read_bytes()
    rename_cluster(out, 0, "cats")
    lines = (out / JOURNAL).read_bytes()[len(whole) :].splitlines(keepends=True)
    assert len(lines) == 2
    for cut in range(1, len(lines[1])):  # the step is recorded, but not that it is done
        (out / JOURNAL).write_bytes(whole + lines[0] + lines[1][:cut])
        if cut < len(lines[1]) - 1:
            with pytest.raises(OutputFolderError, match="was interrupted"):
                present_rows(out)
    assert finish_export(out)
    (out / JOURNAL).write_bytes(whole + lines[0][:50])  # of a step that was never begun
    assert len(export_log(out)) == 1
    (out / "cats").rename(out / "cluster_0")
    rename_cluster(out, 0, "dogs")
    assert [step.command for step in export_log(out)] == ["export", "rename"]


def test_a_damaged_line_before_the_last_is_refused(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    rename_cluster(out, 0, "cats")
    lines = (out / JOURNAL).read_bytes().splitlines(keepends=True)
    (out / JOURNAL).write_bytes(b"".join([lines[0], lines[1][:99] + b"\n", *lines[2:]]))
    with pytest.raises(OutputFolderError, match="cannot be read"):
        undo_export(out)
    assert len(images_in(out)) == 4


def test_undo_works_on_a_full_disk(tmp_path, small_disk):
    images, out = draw(tmp_path / "in", range(3)), small_disk / "out"
    export_clusters(images, [0, 0, 1], out)
    with suppress(OSError), open(small_disk / "ballast", "wb", buffering=0) as file:
        while file.write(b"0" * 512):
            pass
    assert not shutil.disk_usage(small_disk).free
    undo_export(out)
    assert not out.exists()


def test_a_correction_costs_a_line_and_not_the_whole_journal(tmp_path, out):
    images = draw(tmp_path / "in", range(200))
    export_clusters(images, [0] * 100 + [1] * 100, out)
    size = (out / JOURNAL).stat().st_size
    apply_curation(out, {"moves": {"cluster_0/0.png": "cats"}})
    assert (out / JOURNAL).stat().st_size - size < size / 20


# Files that belong to a photo


def companions(folder: Path) -> list[Path]:
    names = ("a.MOV", "a.png.json", "b.xmp", "c.png.supplemental-meta.json", "alone.mov")
    for name in names:
        (folder / name).write_text(name)
    return [folder / name for name in names]


def test_what_belongs_to_a_photo_moves_with_it_and_comes_back(images, out, tmp_path):
    companions(tmp_path / "in")
    before = contents(tmp_path)
    rows = export_clusters(images, [0, 0, 1, 1], out, action="move")
    assert [row.exported_path for row in rows] == [row.exported_path for row in present_rows(out)]
    assert set(images_in(out)) == {
        *("cluster_0/a.png", "cluster_0/a.MOV", "cluster_0/a.png.json", "cluster_0/b.png"),
        *("cluster_0/b.xmp", "cluster_1/a.png", "cluster_1/c.png"),
        "cluster_1/c.png.supplemental-meta.json",
    }
    apply_curation(out, {"moves": {"cluster_0/a.png": "cluster_1"}})
    moved = {path for path in images_in(out) if "cluster_1/a_2" in path}
    assert moved == {"cluster_1/a_2.png", "cluster_1/a_2.MOV", "cluster_1/a_2.png.json"}
    undo_export(out, all_steps=True)
    assert contents(tmp_path) == before


def test_copies_take_companions_along_only_on_request(images, out, tmp_path):
    companions(tmp_path / "in")
    export_clusters(images, [0, 0, 1, 1], out)
    assert len(images_in(out)) == 4
    undo_export(out)
    export_clusters(images, [0, 0, 1, 1], out, companions=True)
    assert len(images_in(out)) == 8
    undo_export(out)
    export_clusters(images, [0, 0, 1, 1], out, action="move", companions=False)
    assert len(images_in(out)) == 4


def test_exact_copies_are_left_out_on_request(images, out, tmp_path, caplog):
    twin = shutil.copy(images[0], tmp_path / "in" / "twin.png")
    with caplog.at_level("INFO"):
        export_clusters([*images, twin], [0, 0, 1, 1, 1], out)
    assert "images with the content of others: 1" in caplog.text
    undo_export(out)
    rows = export_clusters([*images, twin], [0, 0, 1, 1, 1], out, action="move", skip_copies=True)
    assert rows[4].exported_path is None
    assert rows[4].reason == f"the same content as {images[0]}"
    assert Path(twin).exists()


@pytest.mark.parametrize("name", ["a:b.png", "D:x.png", "a\\b.png"])
def test_a_name_that_leads_elsewhere_on_another_system_is_changed(tmp_path, out, name):
    (image,) = make_images(tmp_path / "in", [name])
    (row,) = export_clusters([image], [0], out, action="move")
    assert row.exported_path == f"cluster_0/{name.replace(':', '_').replace(chr(92), '_')}"
    undo_export(out)
    assert image.exists()


def test_labels_beyond_all_reason_are_refused_before_anything_is_made(images, out):
    with pytest.raises(ValueError, match="labels below 1000000, got 1000000000"):
        export_clusters(images, [0, 1, 2, 10**9], out)


def test_an_edited_copy_is_named_and_stays(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    (out / "cluster_0" / "a.png").write_bytes(b"edited")
    with pytest.warns(EditedCopiesWarning, match=r"cluster_0/a\.png"):
        undo_export(out)
    assert contents(out) == {"cluster_0/a.png": b"edited"}


def test_a_journal_that_was_read_before_is_compared_byte_by_byte(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    rename_cluster(out, 0, "cats")
    journal, log = out / JOURNAL, export_log(out)
    known, status = journal.read_bytes(), journal.stat()
    journal.write_bytes(known.replace(b'"time":"20', b'"time":"19', 1))
    os.utime(journal, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [step.time[:2] for step in export_log(out)] == ["19", "20"]
    journal.write_bytes(b"".join(known.splitlines(keepends=True)[:-1]))
    assert [step.state for step in export_log(out)] == ["done", "interrupted"]
    journal.write_bytes(known)
    assert export_log(out) == log
    first = read_export(out)
    undo_export(out, all_steps=True)
    export_clusters(images, [0, 1, 1, 1], out)
    second = read_export(out)
    assert second.id != first.id
    assert [image.cluster for image in second.images] == [0, 1, 1, 1]


def test_what_a_caller_changes_is_not_what_the_next_one_gets(images, out):
    export_clusters(images, [0, 0, 1, 1], out)
    apply_curation(out, {"moves": {"cluster_0/a.png": "cats"}}).clear()
    undo_export(out)
    for of in [step.of for step in export_log(out)]:
        of.append(7)
    state = read_export(out)
    state.images.clear(), state.positions.clear(), state.folders.clear()
    state.model.own[:] = 7
    assert [step.of for step in export_log(out)] == [[], [], [2]]
    again = read_export(out)
    assert (len(again.images), again.positions) == (4, [0, 1, 2, 3])
    assert again.folders == ["cluster_0", "cluster_1"]
    assert again.model.own.tolist() == [-1] * 4  # without features


@pytest.mark.parametrize("n_lines", [3, 4])
def test_a_line_that_lacks_only_its_end_was_not_written(images, out, tmp_path, n_lines):
    export_clusters(images, [0, 0, 1, 1], out)
    export_clusters(images, [0, 0, 0, 0], tmp_path / "other")
    rename_cluster(out, 0, "cats")
    lines = (out / JOURNAL).read_bytes().splitlines(keepends=True)
    written = b"".join(lines[: n_lines + 1])[:-1]
    if n_lines == 3:  # before the first file was touched
        undo_export(out)
    (out / JOURNAL).write_bytes(written)
    finish_export(out)
    rename_cluster(out, 1, "dogs")
    assert export_log(tmp_path / "other")  # so that nothing of the journal is known any more
    commands = [step.command for step in export_log(out)]
    assert commands == (["export", "rename"] if n_lines == 3 else ["export", "rename", "rename"])
    assert {image.name for image in present_rows(out)} >= {"dogs"}
