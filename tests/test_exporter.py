"""Exports to one folder per cluster: what is written, what is refused, what survives a kill."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from PIL import Image
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    evaluate_export,
    export_clusters,
    find_and_cluster_images,
    find_images,
    finish_export,
    undo_export,
)
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import EditedCopiesWarning, OutputFolderError
from tests.export_folders import MTIME_NS, contents, make_images, rows_of

ACTIONS = ("copy", "hardlink", "symlink", "move")


@pytest.fixture
def images(tmp_path) -> list[Path]:
    return make_images(tmp_path / "in")


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize("action", ACTIONS)
def test_each_image_is_in_the_folder_of_its_cluster_with_its_time(images, out, action):
    before = contents(images[0].parent)
    rows = export_clusters(images, [0, 1, 0, 1], out, action=action)
    assert [row.exported_path for row in rows] == [
        *("cluster_0/a.png", "cluster_1/b.png", "cluster_0/a_2.png", "cluster_1/c.png")
    ]
    for row, content in zip(rows, [before[k] for k in ("a.png", "b.png", "sub/a.png", "c.png")]):
        exported = out / row.exported_path
        assert exported.read_bytes() == content
        assert exported.stat().st_mtime_ns == MTIME_NS
        assert os.path.lexists(row.source_path) == (action != "move")
        assert exported.is_symlink() == (action == "symlink")
        if action == "hardlink":
            assert exported.samefile(row.source_path)
    assert contents(images[0].parent) == ({} if action == "move" else before)


def test_the_table_lists_every_image_with_distance_or_reason(images, out):
    reasons = {str(images[1]): "damaged: cut short"}
    rows = export_clusters(images, [2, -3, 0, 0], out, distances=[0.5, 0, 1, 2], reasons=reasons)
    table = rows_of(out)
    columns = ["cluster", "name", "exported_path", "source_path", "distance", "reason"]
    assert list(table[0]) == [*columns, "doubt", "suggestion"]
    assert table[0] == {
        "cluster": "2",
        "name": "cluster_2",
        "exported_path": "cluster_2/a.png",
        "source_path": str(images[0]),
        "distance": "0.5",
        "reason": "",
        "doubt": "",
        "suggestion": "",
    }
    assert table[1] == {
        "cluster": "-3",
        "name": "",
        "exported_path": "",
        "source_path": str(images[1]),
        "distance": "",
        "reason": "damaged: cut short",
        "doubt": "",
        "suggestion": "",
    }
    assert rows[1].exported_path is None
    assert len(table) == len(images)


def test_noise_has_its_own_folder_and_label(images, out):
    rows = export_clusters(images, [0, -1, -1, -3], out, distances=[1, float("nan"), 1, 1])
    assert [(row.cluster, row.exported_path) for row in rows] == [
        *((0, "cluster_0/a.png"), (-1, "noise/b.png"), (-1, "noise/a.png"), (-3, None))
    ]
    assert [row["cluster"] for row in rows_of(out)] == ["0", "-1", "-1", "-3"]
    assert rows_of(out)[1]["distance"] == rows_of(out)[1]["reason"] == ""
    assert (out / "noise" / "b.png").read_bytes() == images[1].read_bytes()


def test_folder_names_are_padded_for_the_highest_cluster(images, out):
    rows = export_clusters(images, [0, 1, 2, 3], out, n_clusters=11)
    assert rows[3].exported_path == "cluster_03/c.png"
    rows = export_clusters(images, [0, 1, 2, 100], out.with_name("wide"))
    assert rows[0].exported_path == "cluster_000/a.png"
    rows = export_clusters(images, [0] * 4, out.with_name("ten"), n_clusters=10)
    assert rows[0].exported_path == "cluster_0/a.png"


def test_equal_names_are_numbered_ignoring_case(tmp_path, out):
    decomposed = "e\u0301.png"  # é as macOS writes it
    names = ["a.png", "1/A.PNG", "2/a.png", "3/a_2.png", "é.png", f"4/{decomposed}"]
    rows = export_clusters(make_images(tmp_path / "in", names), [0] * 6, out)
    written = [Path(row.exported_path).name for row in rows]
    assert written == ["a.png", "A_2.PNG", "a_3.png", "a_2_2.png", "é.png", "e\u0301_2.png"]
    assert len(os.listdir(out / "cluster_0")) == 6


def test_the_number_comes_last_if_the_name_has_no_real_extension(tmp_path, out):
    name = "at 12.30 in the old harbor"
    rows = export_clusters(make_images(tmp_path / "in", [name, f"sub/{name}"]), [0, 0], out)
    assert rows[1].exported_path == f"cluster_0/{name}_2"


def test_numbering_ten_thousand_equal_names_is_fast(tmp_path):
    paths = [f"{tmp_path}/{i}/cover.jpg" for i in range(10_000)]
    with pytest.raises(OutputFolderError, match="missing"):  # planned, then checked
        export_clusters(paths, [0] * len(paths), tmp_path / "out")


def test_a_name_of_255_bytes_is_shortened_between_characters(tmp_path, out):
    long = "é" * 125 + ".jpeg"  # 2 bytes each
    images = make_images(tmp_path / "in", [long, f"sub/{long}"])
    rows = export_clusters(images, [0, 0], out)
    name = Path(rows[1].exported_path).name
    assert name == "é" * 124 + "_2.jpeg"
    assert (out / rows[1].exported_path).read_bytes() == images[1].read_bytes()
    full = "a" * 251 + ".png"  # 1 byte each
    rows = export_clusters(make_images(tmp_path / "more", [full, f"sub/{full}"]), [0, 0], out / "2")
    assert rows[1].exported_path == f"cluster_0/{'a' * 249}_2.png"


@pytest.mark.parametrize("name", ["new\nline.png", "quo\"te'.png", "🦊.png", "\udcff\udcfe.png"])
@pytest.mark.parametrize("action", ["copy", "move"])
def test_any_name_is_exported_and_moved_back(tmp_path, out, name, action):
    (image,) = make_images(tmp_path / "in", [name])
    content = image.read_bytes()
    export_clusters([image], [0], out, action=action)
    assert (out / "cluster_0" / name).read_bytes() == content
    assert len(rows_of(out)) == 1
    if action == "move":
        assert undo_export(out) == [str(image)]
        assert image.read_bytes() == content


def test_formulas_are_escaped_in_the_table(tmp_path, out):
    texts = ["=HYPERLINK(1)", "@SUM(1)", "+1", "-1", "\t=1", "\r=1", "\n=1"]
    reasons = {f"{i}.png": text for i, text in enumerate(texts)}
    export_clusters(list(reasons), [-3] * len(texts), out, reasons=reasons)
    assert [row["reason"] for row in rows_of(out)] == [f"'{text}" for text in texts]


def test_a_dry_run_returns_the_plan_and_writes_nothing(images, out):
    before = contents(images[0].parent)
    planned = export_clusters(images, [0, 0, 0, 1], out, action="move", dry_run=True)
    assert contents(images[0].parent) == before
    assert not out.exists()
    assert export_clusters(images, [0, 0, 0, 1], out, action="move") == planned


def test_a_folder_with_anything_in_it_is_refused(images, out):
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(OutputFolderError, match=r"new or empty.*entries: 1.*Choose another"):
        export_clusters(images, [0] * 4, out)
    assert contents(out) == {"mine.txt": b"precious"}


def test_a_finished_export_is_not_overwritten(images, out):
    export_clusters(images, [0] * 4, out)
    before = contents(out)
    with pytest.raises(OutputFolderError, match="new or empty"):
        export_clusters(images, [1] * 4, out)
    assert contents(out) == before


def test_a_file_in_place_of_the_folder_is_refused(images, tmp_path):
    (tmp_path / "file").write_text("precious")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputFolderError, match="cannot be listed"):
            export_clusters(images, [0] * 4, folder)


def test_the_input_folder_itself_is_refused_through_links_too(images, tmp_path):
    source = images[0].parent
    (tmp_path / "link").symlink_to(source)
    for folder in (source, tmp_path / "link", source / "sub" / ".."):
        with pytest.raises(OutputFolderError, match="not empty"):
            find_and_cluster_images(source, folder)


def test_an_export_inside_the_input_is_no_input_of_the_next(images):
    source = images[0].parent
    export_clusters(images, [0, 1, 0, 1], source / "sorted")
    assert find_images(source) == sorted(images)
    export_clusters(find_images(source), [0] * 4, source / "again", action="move")
    undo_export(source / "again")
    assert find_images(source) == sorted(images)


def test_find_images_skips_exported_folders(images, out):
    export_clusters(images, [0] * 4, out)
    assert find_images(out.parent) == find_images(images[0].parent)


def test_all_images_that_cannot_be_exported_are_listed_before_anything_is_written(images, out):
    images[0].unlink()
    images[1].unlink()
    images[1].mkdir()
    with pytest.raises(OutputFolderError) as raised:
        export_clusters(images, [0] * 4, out)
    assert f"{images[0]}: missing, not a file, or not readable" in str(raised.value)
    assert f"{images[1]}: missing, not a file, or not readable" in str(raised.value)
    assert "Nothing was written" in str(raised.value)
    assert not out.exists()


def test_escape_codes_in_names_are_printed_as_text(tmp_path, out):
    with pytest.raises(OutputFolderError) as raised:
        export_clusters([tmp_path / "\x1b[31mred\n.png"], [0], out)
    assert "\x1b" not in str(raised.value)
    assert r"\x1b[31mred\n.png" in str(raised.value)


def test_a_link_or_a_file_listed_twice_is_not_moved(images, out):
    link = images[0].with_name("link.png")
    link.symlink_to(images[0])
    with pytest.raises(OutputFolderError, match="a symbolic link, which may break"):
        export_clusters([link], [0], out, action="move")
    with pytest.raises(OutputFolderError, match="listed twice"):
        export_clusters([images[0], images[0]], [0, 1], out, action="move")
    assert link.is_symlink()
    export_clusters([link], [0], out, action="hardlink")
    assert (out / "cluster_0" / "link.png").samefile(images[0])
    assert not (out / "cluster_0" / "link.png").is_symlink()


def test_an_unknown_action_or_a_missing_label_is_refused(images, out):
    for action, labels, got in (
        ("delete", [0] * 4, "'delete'"),
        ("copy", [0] * 3, "3 labels for 4"),
    ):
        with pytest.raises(ValueError, match=f"got {got}"):
            export_clusters(images, labels, out, action=action)
    assert not out.exists()


def interrupt(images, out, action="copy"):
    """Stop an export after its first image, as a full disk would."""
    make_folder = Path.mkdir

    def fill(folder, *args, **options):
        if folder.name == "cluster_1":
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        make_folder(folder, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", fill)
        with pytest.raises(
            OutputFolderError, match=r"stopped.*No image was lost.*resnet-kmeans finish"
        ):
            export_clusters(images, [0, 1, 0, 1], out, action=action)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_stopped_export_is_finished_as_it_was_planned(images, out, action):
    interrupt(images, out, action)
    rows = finish_export(out)
    assert [row.exported_path for row in rows] == [
        *("cluster_0/a.png", "cluster_1/b.png", "cluster_0/a_2.png", "cluster_1/c.png")
    ]
    assert [row["exported_path"] for row in rows_of(out)] == [row.exported_path for row in rows]
    assert finish_export(out) == rows


@pytest.mark.parametrize("action", ["copy", "move"])
def test_no_other_export_finishes_an_interrupted_one(images, out, action):
    interrupt(images, out, action)
    before = contents(out.parent)
    ways = r"interrupted.*resnet-kmeans finish.*resnet-kmeans undo"
    others = ((images, [0, 1, 0, 0], action), (images[:2], [0, 1], action))
    same = (images, [0, 1, 0, 1])
    for paths, labels, other in (*others, (*same, "hardlink"), (*same, action)):
        with pytest.raises(OutputFolderError, match=ways):
            export_clusters(paths, labels, out, action=other)
    assert contents(out.parent) == before


def test_an_image_deleted_during_the_export_is_listed_and_the_others_are_exported(images, out):
    interrupt(images, out)
    images[3].unlink()
    rows = finish_export(out)
    assert (rows[3].cluster, rows[3].exported_path) == (-3, None)
    assert rows_of(out)[3]["reason"] == "deleted before it could be exported"
    assert len(contents(out / "cluster_0") | contents(out / "cluster_1")) == 3


def test_an_unplugged_drive_stops_the_export_until_it_is_back(images, out):
    interrupt(images, out)
    images[0].parent.rename(images[0].parent.with_name("away"))
    for _ in range(2):
        with pytest.raises(OutputFolderError, match="No such file"):
            finish_export(out)
    images[0].parent.with_name("away").rename(images[0].parent)
    assert all(row.exported_path for row in finish_export(out))


@pytest.fixture
def paused(images, out, monkeypatch):
    """An export that waits in another thread before it copies its first image."""
    copy, may_begin, has_begun = shutil.copy2, threading.Event(), threading.Event()

    def wait(*args, **options):
        has_begun.set()
        may_begin.wait(30)
        return copy(*args, **options)

    monkeypatch.setattr(shutil, "copy2", wait)
    thread = threading.Thread(target=export_clusters, args=(images, [0] * 4, out))
    thread.start()
    assert has_begun.wait(30)
    yield
    may_begin.set()
    thread.join(30)
    assert [row["cluster"] for row in rows_of(out)] == ["0"] * 4


def test_one_process_at_a_time_exports_to_a_folder(images, out, paused):
    for work in (finish_export, undo_export):
        with pytest.raises(OutputFolderError, match=f"Another process is writing to {out}"):
            work(out)


def test_an_export_that_another_process_has_begun_is_not_overwritten(images, out, paused):
    with pytest.raises(OutputFolderError, match="resnet-kmeans finish"):
        export_clusters(images, [1] * 4, out)
    assert not (out / "cluster_1").exists()


def test_undo_returns_moved_images_and_removes_the_folder(images, out):
    before = contents(images[0].parent)
    export_clusters(images, [0, 1, 0, 1], out, action="move")
    shutil.rmtree(images[0].parent)  # empty by now
    assert sorted(undo_export(out)) == sorted(map(str, images))
    assert contents(images[0].parent) == before
    assert images[0].stat().st_mtime_ns == MTIME_NS
    assert not out.exists()


def test_undo_leaves_other_files_alone(images, out):
    export_clusters(images, [0, 1, 0, 1], out, action="move")
    (out / "cluster_0" / "mine.txt").write_text("precious")
    images[1].write_text("another b")
    with pytest.raises(OutputFolderError, match=r"(?s)b\.png: its source path is taken by"):
        undo_export(out)
    assert images[1].read_text() == "another b"
    assert (out / "cluster_1" / "b.png").exists()
    images[1].unlink()
    assert undo_export(out) == [str(images[1])]
    assert contents(out) == {"cluster_0/mine.txt": b"precious"}


def test_undo_tells_files_of_the_same_size_and_time_apart(images, out):
    content = images[1].read_bytes()
    export_clusters(images, [0, 1, 0, 1], out, action="move")
    images[1].write_bytes(content[::-1])
    os.utime(images[1], ns=(MTIME_NS, MTIME_NS))
    with pytest.raises(OutputFolderError, match=r"b\.png: its source path is taken by"):
        undo_export(out)
    assert images[1].read_bytes() == content[::-1]
    assert (out / "cluster_1" / "b.png").read_bytes() == content


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink"])
def test_undo_of_an_interrupted_export_removes_unchanged_copies_and_links(images, out, action):
    before = contents(images[0].parent)
    interrupt(images, out, action)
    assert undo_export(out) == []
    assert contents(images[0].parent) == before
    assert not out.exists()


def test_undo_of_an_interrupted_export_leaves_edited_copies_and_names_them(images, out):
    interrupt(images, out)
    (out / "cluster_0" / "a.png").write_bytes(b"edited")
    copies = r"Edited copies were kept.*\(1\):(?s:.*)cluster_0/a\.png: differs from"
    with pytest.warns(EditedCopiesWarning, match=copies) as warned:
        undo_export(out)
    assert warned[0].filename == __file__
    assert contents(out) == {"cluster_0/a.png": b"edited"}


def test_undo_of_a_move_leaves_an_edited_copy_that_was_added(images, out, stand_in):
    before = contents(images[0].parent)
    featurizer = ResNetFeaturizer(weights=stand_in)
    clusterer = ImageFolderClusterer(2, featurizer=featurizer, reducer=None, random_state=0)
    clusterer.fit(images[:3]).export(out, action="move")
    (row,) = add_images(out, images[3:])
    (out / row.exported_path).write_bytes(b"edited")
    with pytest.warns(EditedCopiesWarning, match=row.exported_path):
        undo_export(out, all_steps=True)
    assert contents(images[0].parent) == before
    assert contents(out) == {row.exported_path: b"edited"}


def test_what_is_no_export_is_refused(out):
    out.mkdir()
    with pytest.raises(OutputFolderError, match="it has no journal"):
        undo_export(out)
    (out / "file").touch()
    for name, problem in (("nowhere", "No such file"), ("file", "file")):
        for use in (undo_export, finish_export):
            with pytest.raises(OutputFolderError, match=rf"{name}.*{problem}"):
                use(out / name)


@pytest.mark.parametrize("damage", [b"", b"not json\n", b"[" * 100_000, b"\xff\xfe"], ids=len)
def test_a_damaged_record_is_refused_and_nothing_is_touched(images, out, damage):
    export_clusters(images, [0] * 4, out, action="move")
    for file in [path for path in out.iterdir() if path.name.startswith(".")]:
        if not file.name.endswith(".lock"):  # some versions of filelock empty it
            file.write_bytes(damage)
    before = contents(out)
    for use in (undo_export, finish_export):
        with pytest.raises(OutputFolderError, match=str(out)):
            use(out)
    assert contents(out) == before


@pytest.mark.parametrize("action", ["copy", "move"])
def test_a_full_disk_stops_the_export_until_there_is_space(tmp_path, small_disk, action):
    images = make_images(tmp_path / "in")
    images[2].write_bytes(bytes(range(256)) * 128)
    before = contents(tmp_path / "in")
    big = tmp_path / "in" / "big.png"
    big.write_bytes(b"0" * 100_000)
    with pytest.raises(OutputFolderError, match=r"bytes are needed, \d+ are free"):
        export_clusters([big], [0], small_disk / "never", action=action)
    big.unlink()
    assert not os.listdir(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 20_000)
    out = small_disk / "out"
    with pytest.raises(OutputFolderError, match="No space left"):
        export_clusters(images, [0, 1, 0, 1], out, action=action)
    kept = [*contents(tmp_path / "in").values(), *contents(out).values()]
    assert all(content in kept for content in before.values())
    ballast.unlink()
    rows = finish_export(out)
    assert [(out / r.exported_path).read_bytes() for r in rows] == [
        before[str(image.relative_to(tmp_path / "in"))] for image in images
    ]


@pytest.mark.slow
def test_missing_permissions_are_reported_before_anything_is_written(tmp_path):
    """Root may write anywhere, so this runs as another user, in a process of its own."""
    if os.getuid() != 0:
        pytest.skip("needs root to become a user without rights")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        images = make_images(Path(folder, "in"))
        closed = Path(folder, "closed")
        closed.mkdir(mode=0o755)
        images[0].chmod(0o000)
        code = (
            "import os, sys\n"
            "from resnet_kmeans import export_clusters\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "images, closed = sys.argv[1:5], sys.argv[5]\n"
            "for given, out, action in ((images, closed + '/out', 'copy'),\n"
            "        (images[:2], closed + '/../out', 'copy'),\n"
            "        (images[1:], closed + '/../out', 'move')):\n"
            "    try: export_clusters(given, [0] * len(given), out, action=action)\n"
            "    except Exception as error: print(type(error).__name__, error)\n"
        )
        command = [sys.executable, "-c", code, *map(str, images), str(closed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.count("OutputFolderError") == 3, done.stderr
        assert f"{closed} is not writable" in done.stdout
        assert f"{images[0]}: missing, not a file, or not readable" in done.stdout
        assert "its folder is not writable" in done.stdout
        assert not Path(folder, "out").exists()


# Evaluation


@pytest.fixture
def sorted_export(tmp_path):
    """Three cats and two dogs, of which one dog is among the cats and one cat set aside."""
    paths = []
    for name in ("cats/a", "cats/b", "cats/c", "dogs/d", "dogs/e"):
        path = tmp_path / "in" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(paths), 0, 0)).save(path)
        paths.append(path)
    export_clusters(paths, [0, 0, 0, 0, 1], tmp_path / "out")
    apply_curation(tmp_path / "out", {"moves": {"cluster_0/c.png": None}})
    return tmp_path / "out"


def test_an_export_is_compared_with_the_folders_that_its_images_came_from(sorted_export):
    found = evaluate_export(sorted_export)
    assert (found.classes, found.clusters) == (["cats", "dogs"], ["cluster_0", "cluster_1"])
    assert found.counts.tolist() == [[2, 0], [1, 1]]
    assert found.accuracy == 0.75
    pair = [0, 0, 1, 1], [0, 0, 0, 1]
    assert found.ami == pytest.approx(adjusted_mutual_info_score(*pair))
    assert found.ari == pytest.approx(adjusted_rand_score(*pair))


def test_classes_of_a_file_are_compared_and_drawn(sorted_export, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "classes.csv").write_text(
        "file,class\na.png,x\nb.png,x\ncluster_1/e.png,y\n", "utf-8"
    )
    options = ["--classes", tmp_path / "classes.csv", "--plot", tmp_path / "table.png"]
    assert main(["evaluate", str(sorted_export), *map(str, options)]) == 0
    out = capsys.readouterr().out
    assert main(["evaluate", str(sorted_export), *map(str, options)]) == 2
    assert "table.png" in capsys.readouterr().err
    assert out.startswith("Images: 3, classes: 2, clusters: 2\n")
    assert "AMI 1.000, ARI 1.000, accuracy 1.000" in out
    with Image.open(tmp_path / "table.png") as drawn:
        assert drawn.format == "PNG"
    with pytest.raises(ValueError, match=r"got none.*clusters\.csv"):
        evaluate_export(sorted_export, {"gone.png": "x"})
