"""Corrections of an export: folders are renamed, merged and split, images moved and set aside."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnet_kmeans import apply_curation, export_clusters, rename_cluster, undo_export
from resnet_kmeans.exceptions import (
    ClusterNameError,
    CurationError,
    MissingImagesWarning,
    OutputFolderError,
)
from tests.export_folders import contents, images_in, make_images, present_rows, rows_of

N_CURATIONS = int(os.environ.get("RESNET_KMEANS_N_CURATIONS", "20"))


@pytest.fixture
def images(tmp_path) -> list[Path]:
    return make_images(tmp_path / "in", ("a.png", "b.png", "sub/a.png", "c.png", "d.png"))


@pytest.fixture
def out(tmp_path, images) -> Path:
    """An export by moving: a and sub/a in cluster 0, b in 1, c and d in 2."""
    export_clusters(images, [0, 1, 0, 2, 2], tmp_path / "out", action="move")
    return tmp_path / "out"


def test_undo_finds_images_that_were_renamed_or_moved_by_hand(tmp_path):
    images = make_images(tmp_path / "in", ("a.png", "b.png", "c.png", "d.png"))
    before, out = contents(tmp_path / "in"), tmp_path / "out"
    export_clusters(images, [0, 0, 1, 1], out, action="move")
    (out / "cluster_0").rename(out / "cats")
    (out / "cats" / "b.png").rename(out / "cluster_1" / "renamed.png")
    lost = (out / "cluster_1" / "c.png").rename(tmp_path / "elsewhere.png")
    with pytest.raises(OutputFolderError) as raised:
        undo_export(out)
    assert "images that were moved are back (3)" in str(raised.value)
    assert f"cluster_1/c.png: not found; it came from {images[2]}" in str(raised.value)
    assert contents(tmp_path / "in") == {k: v for k, v in before.items() if k != "c.png"}
    assert str(images[2]) in [row["source_path"] for row in rows_of(out)]
    (out / "anywhere").mkdir()
    lost.rename(out / "anywhere" / "c.png")
    assert undo_export(out) == [str(images[2])]
    assert contents(tmp_path / "in") == before
    assert not out.exists()


def test_images_swapped_by_hand_return_to_their_own_sources(tmp_path):
    images = make_images(tmp_path / "in", ("1/a.png", "2/a.png"))
    for i, image in enumerate(images):
        image.write_bytes(b"%d" % i)  # of one size, so that only time and content tell them apart
        os.utime(image, ns=(i, i))
    before, out = contents(tmp_path / "in"), tmp_path / "out"
    export_clusters(images, [0, 1], out, action="move")
    (out / "cluster_0" / "a.png").rename(out / "x")
    (out / "cluster_1" / "a.png").rename(out / "cluster_0" / "a.png")
    (out / "x").rename(out / "cluster_1" / "a.png")
    undo_export(out)
    assert contents(tmp_path / "in") == before


def test_an_edited_image_is_returned_with_its_edits(out, images):
    (out / "cluster_1" / "b.png").write_bytes(b"edited")
    undo_export(out)
    assert images[1].read_bytes() == b"edited"


def test_changes_by_hand_are_reported_and_nothing_is_written(out):
    (out / "cluster_0").rename(out / "cats")
    (out / "cluster_1" / "b.png").rename(out / "cluster_2" / "b.png")
    (out / "cluster_2" / "c.png").unlink()
    (out / "cats" / "new.png").write_bytes(b"new")
    before = contents(out)
    assert [(row.cluster, row.exported_path) for row in present_rows(out) if row.exported_path] == [
        *((0, "cats/a.png"), (2, "cluster_2/b.png"), (0, "cats/a_2.png")),
        *((2, "cluster_2/c.png"), (2, "cluster_2/d.png")),  # c.png is missing; its place is kept
    ]
    assert contents(out) == before


def test_equal_names_merge_and_keep_every_image(out):
    everything = sorted(images_in(out).values())
    rows = apply_curation(out, {"names": {"cluster_0": "cats", "cluster_2": "cats"}})
    assert [row.exported_path for row in rows] == [
        *("cats/a.png", "cluster_1/b.png", "cats/a_2.png", "cats/c.png", "cats/d.png")
    ]
    assert [row.cluster for row in rows] == [0, 1, 0, 2, 2]
    assert sorted(images_in(out).values()) == everything
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["cats", "cluster_1"]
    assert [row["name"] for row in rows_of(out)] == [row.name for row in rows]


def test_images_move_to_present_or_new_folders_or_are_set_aside(out):
    moves = {"cluster_0/a.png": "cluster_1", "cluster_0/a_2.png": "dogs", "cluster_1/b.png": None}
    rows = apply_curation(out, {"format": 1, "moves": moves})
    assert [(row.cluster, row.exported_path) for row in rows[:3]] == [
        *((1, "cluster_1/a.png"), (-3, "_set_aside/b.png"), (3, "dogs/a_2.png"))
    ]
    assert rows[1].reason == "set aside"
    assert set(images_in(out)) == {row.exported_path for row in rows}
    rows = apply_curation(out, {"moves": {"_set_aside/b.png": "cluster_1"}})
    assert (rows[1].cluster, rows[1].reason) == (1, "confirmed")


def test_folders_that_swap_names_keep_the_names_of_their_images(tmp_path):
    images = make_images(tmp_path / "in", ("1/a.png", "2/a.png"))
    out = tmp_path / "out"
    export_clusters(images, [0, 1], out)
    first, second = images_in(out).values()
    apply_curation(out, {"names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"}})
    assert images_in(out) == {"cluster_0/a.png": second, "cluster_1/a.png": first}


def test_repeating_a_correction_changes_nothing(out, tmp_path):
    file = tmp_path / "curation.json"
    curation = {"names": {"cluster_0": "cats"}, "moves": {"cluster_1/b.png": "cats"}}
    file.write_text(json.dumps({"format": 1, **curation}))
    apply_curation(out, file)
    before = images_in(out)
    apply_curation(out, file)
    assert images_in(out) == before == images_in(out)
    assert "cats/b.png" in before


def test_other_files_move_along_with_a_renamed_folder(out):
    (out / "cluster_0" / "notes.txt").write_text("mine")
    rename_cluster(out, 0, "cats")
    assert (out / "cats" / "notes.txt").read_text() == "mine"
    assert not (out / "cluster_0").exists()


def test_a_cluster_is_renamed_by_number_or_folder_and_merged_by_an_equal_name(out):
    rename_cluster(out, 0, "cats")
    rename_cluster(out, "cats", "cars")
    rows = rename_cluster(out, 2, "cars")
    assert {row.name for row in rows} == {"cars", "cluster_1"}
    with pytest.raises(CurationError, match=r"folders cars, cluster_1, got 9"):
        rename_cluster(out, 9, "cars")


def test_a_change_of_case_is_a_change_of_name(out):
    rename_cluster(out, 0, "Cats")
    rows = rename_cluster(out, 0, "cats")
    assert rows[0].exported_path == "cats/a.png"
    assert (out / "cats" / "a.png").exists()


@pytest.mark.parametrize(
    ("curation", "error", "message"),
    [
        ({"format": 2}, CurationError, "format 2, newer than 1"),
        ({"export": "another"}, CurationError, "got those of another"),
        ({"names": {"nowhere": "x"}}, CurationError, "nowhere: not part of this export"),
        (
            {"moves": {"cluster_0/gone.png": "x"}},
            CurationError,
            "gone.png: not part of this",
        ),
        ({"moves": {"../in/x.png": "x"}}, CurationError, "not part of this export"),
        ({"name": {}}, CurationError, "unknown keys 'name'"),
        ({"names": ["x"]}, CurationError, "a list as"),
        ({"moves": {"cluster_0/a.png": 3}}, CurationError, "'cluster_0/a.png': 3"),
        ({"names": {"cluster_0": "a/b"}}, ClusterNameError, "a/b"),
        ({"names": {"cluster_0": "con"}}, ClusterNameError, "device"),
        ({"moves": {"cluster_0/a.png": "clusters.csv"}}, ClusterNameError, "clusters.csv"),
        ({"moves": {"cluster_0/a.png": ".."}}, ClusterNameError, "dot"),
    ],
    ids=str,
)
def test_an_invalid_curation_is_refused_and_changes_nothing(out, curation, error, message):
    before = contents(out)
    with pytest.raises(error, match=message):
        apply_curation(out, curation)
    assert contents(out) == before


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10_000])
def test_a_file_that_is_not_a_curation_is_refused(out, tmp_path, text):
    (tmp_path / "curation.json").write_text(text)
    with pytest.raises(CurationError, match=r"Expected corrections.*Nothing was done"):
        apply_curation(out, tmp_path / "curation.json")
    with pytest.raises(CurationError, match=r"nowhere\.json: No such file.*Check the path"):
        apply_curation(out, tmp_path / "nowhere.json")


def test_missing_images_are_listed_and_the_others_moved(out):
    (out / "cluster_0" / "a.png").unlink()
    moves = {"cluster_0/a.png": "cats", "cluster_1/b.png": "cats"}
    with pytest.warns(
        MissingImagesWarning,
        match=r"no longer in the folder .*\(1\):(?s:.*)cluster_0/a\.png",
    ) as warned:
        apply_curation(out, {"moves": moves})
    assert warned[0].filename == __file__
    assert (out / "cats" / "b.png").exists()


def test_a_dry_run_returns_the_plan_and_does_nothing(out):
    before, curation = contents(out), {"names": {"cluster_0": "cats"}}
    planned = apply_curation(out, curation, dry_run=True)
    assert contents(out) == before
    assert apply_curation(out, curation) == planned


def test_undo_returns_all_images_after_corrections_and_changes_by_hand(out, images, tmp_path):
    before = {f"in/{p.relative_to(tmp_path / 'in')}": None for p in images}
    apply_curation(out, {"names": {"cluster_0": "cats", "cluster_1": "cats"}})
    (out / "cats").rename(out / "by hand")
    apply_curation(out, {"moves": {"cluster_2/c.png": None}})
    assert len(undo_export(out, all_steps=True)) == 5
    assert set(contents(tmp_path)) == set(before)


names = st.sampled_from(["cluster_0", "cluster_1", "cluster_2", "cats", "Dogs", "été"])
files = st.sampled_from(["a.png", "A.png", "b.png", "a_2.png"])


@pytest.mark.slow
@settings(
    max_examples=N_CURATIONS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_after_random_curations_every_image_is_where_it_should_be(tmp_path_factory, data):
    """Against a model of a folder: the content of each image, and the folder it belongs to."""
    root = tmp_path_factory.mktemp("random")
    n_images = data.draw(st.integers(1, 8))
    paths = [root / "in" / str(i) / data.draw(files) for i in range(n_images)]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_bytes(str(data.draw(st.integers(0, 4)) if i % 2 else i).encode())
    before = contents(root / "in")
    labels = [data.draw(st.integers(0, 2)) for _ in paths]
    rows = export_clusters(paths, labels, root / "out", action="move", n_clusters=3)
    model = [row.name for row in rows]
    for _ in range(data.draw(st.integers(1, 3))):
        present = sorted(set(model) - {"_set_aside"})
        new = data.draw(st.dictionaries(st.sampled_from(present), names)) if present else {}
        chosen = data.draw(st.sets(st.sampled_from(range(n_images))))
        moves = {i: data.draw(st.none() | names) for i in chosen}
        curation = {
            "names": new,
            "moves": {rows[i].exported_path: name for i, name in moves.items()},
        }
        model = [
            (moves[i] or "_set_aside") if i in moves else new.get(name, name)
            for i, name in enumerate(model)
        ]
        rows = apply_curation(root / "out", curation)
        assert [row.exported_path.split("/")[0] for row in rows] == model
        for row, path in zip(rows, paths):
            source = before[str(path.relative_to(root / "in"))]
            assert (root / "out" / row.exported_path).read_bytes() == source
        placed = [row.exported_path.casefold() for row in rows]
        assert len(set(placed)) == n_images
        assert set(images_in(root / "out")) == {row.exported_path for row in rows}
    undo_export(root / "out", all_steps=True)
    assert contents(root) == {f"in/{path}": content for path, content in before.items()}
    shutil.rmtree(root)


def test_corrections_saved_by_the_first_version_are_applied(out):
    """The file is never changed: every later version must read it."""
    rows = apply_curation(out, Path(__file__).with_name("data") / "curation.json")
    assert [row.exported_path for row in rows] == [
        *("cats/a.png", "_set_aside/b.png", "dogs/a_2.png", "birds/c.png", "cats/d.png")
    ]
