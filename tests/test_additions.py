"""Images are added to an export and clusters are split, by what the folders contain."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from sklearn.cluster import AgglomerativeClustering

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    export_clusters,
    export_log,
    split_cluster,
    undo_export,
)
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import (
    CurationError,
    OutputFolderError,
    TooFewImagesError,
    UnreadableImagesWarning,
)
from tests.export_folders import (
    contents,
    draw,
    images_in,
    make_images,
    paint,
    present_rows,
    visible,
)

DARK, LIGHT = range(0, 40, 4), range(200, 240, 4)


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def clusterer(stand_in, tmp_path):
    """A clusterer fitted to dark and light pictures."""
    images = draw(tmp_path / "in", [*DARK, *LIGHT])
    featurizer = ResNetFeaturizer(weights=stand_in)
    fitted = ImageFolderClusterer(2, featurizer=featurizer, reducer=None, random_state=0)
    labels = fitted.fit_predict(images)
    return fitted.set_cluster_names({int(labels[0]): "dark", int(labels[-1]): "light"})


@pytest.fixture
def export(clusterer, tmp_path):
    """A function that exports these pictures."""

    def export(action="move"):
        clusterer.export(tmp_path / "out", action=action)
        return tmp_path / "out"

    return export


def test_undo_after_all_commands_restores_every_file(export, tmp_path, capsys):
    before = contents(tmp_path / "in")
    out = export()
    more = draw(tmp_path / "more", [1, 37, 201], "new_")
    (tmp_path / "curation.json").write_text('{"format": 1, "names": {"night": "all"}}')
    assert run("rename", out, "dark", "night") == 0
    assert run("apply", out, tmp_path / "curation.json") == 0
    assert run("split", out, "all") == 0
    names = {row.name for row in present_rows(out)}
    assert names == {"all_1", "all_2", "light"}
    assert run("add", out, tmp_path / "more", "--quiet") == 0
    assert "3 images added to" in capsys.readouterr().out
    assert {row.name for row in present_rows(out)} == names
    assert run("add", out, tmp_path / "more", "--quiet") == 0
    assert "3 images were skipped: already in the export\n0 images added" in capsys.readouterr().out
    assert run("undo", "--all", out) == 0
    assert contents(tmp_path / "in") == before
    assert all(path.exists() for path in more)
    assert not out.exists()


def test_images_that_no_folder_claims_are_marked_and_set_aside_on_request(export, tmp_path):
    out = export()
    Image.new("RGB", (3, 3), "red").save(tmp_path / "odd.png")
    (row,) = add_images(out, [tmp_path / "odd.png"], dry_run=True)
    assert "more unusual than 95% of the images in folders" in row.reason
    assert row.cluster >= 0
    (aside,) = add_images(out, [tmp_path / "odd.png"], set_aside=True)
    assert (aside.cluster, aside.exported_path) == (-3, "_set_aside/odd.png")
    assert aside.reason == row.reason
    assert (aside.doubt, aside.suggestion) == (None, row.name)


def test_unreadable_images_are_listed_and_read_again_next_time(export, tmp_path):
    out, bad = export(), tmp_path / "bad.png"
    bad.touch()
    with pytest.warns(UnreadableImagesWarning) as warned:
        rows = add_images(out, [bad])
    assert warned[0].filename == __file__
    assert [(r.cluster, r.exported_path, r.reason) for r in rows] == [
        (-3, None, "the file is empty")
    ]
    with pytest.warns(UnreadableImagesWarning):
        assert add_images(out, [bad]) == rows
    assert [step.command for step in export_log(out)] == ["export", "add"]
    paint(bad, 1)
    assert add_images(out, [bad])[0].exported_path
    assert [row.source_path for row in present_rows(out)].count(str(bad)) == 1


def test_a_cluster_that_cannot_be_split_is_refused(export):
    out = export()
    with pytest.raises(TooFewImagesError):
        split_cluster(out, 0, 99)
    with pytest.raises(CurationError, match="got 77"):
        split_cluster(out, 77)


def test_adding_and_splitting_need_what_labels_alone_do_not_give(tmp_path):
    images = make_images(tmp_path / "in")
    export_clusters(images, [0] * 4, tmp_path / "out")
    for work in (
        lambda: add_images(tmp_path / "out", images),
        lambda: split_cluster(tmp_path / "out", 0),
    ):
        with pytest.raises(OutputFolderError, match=r"keeps no .*Nothing was done"):
            work()
    with pytest.raises(ValueError, match="got 'eat'"):
        add_images(tmp_path / "out", images, action="eat")


def test_a_loaded_model_exports_new_images_and_says_what_it_lacks(clusterer, tmp_path):
    clusterer.save(tmp_path / "model.safetensors")
    model = ImageFolderClusterer.load(tmp_path / "model.safetensors")
    new = draw(tmp_path / "new", [1, 201], "new_")
    (tmp_path / "new" / "bad.png").touch()
    with pytest.warns(UnreadableImagesWarning):
        rows = model.export(tmp_path / "out", tmp_path / "new", action="hardlink")
    assert [row.exported_path for row in rows] == [None, "dark/new_1.png", "light/new_201.png"]
    assert (tmp_path / "out" / "dark" / "new_1.png").samefile(new[0])
    assert rows[0].reason == "the file is empty"
    with pytest.raises(ValueError, match=r"loaded from a file.*X"):
        model.export(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_folders_renamed_or_merged_by_hand_or_by_command_receive_new_images(export, tmp_path):
    out = export()
    (out / "dark").rename(out / "night")
    draw(tmp_path / "new", [1, 201], "new_")
    assert {row.name for row in add_images(out, tmp_path / "new")} == {"night", "light"}
    apply_curation(out, {"names": {"night": "grays", "light": "grays"}})
    draw(tmp_path / "newer", [2, 202], "newer_")
    assert [row.name for row in add_images(out, tmp_path / "newer")] == ["grays", "grays"]


def test_a_renamed_folder_is_recognized_even_if_most_of_its_images_are_in_the_root(
    export, tmp_path
):
    out = export()
    (out / "dark").rename(out / "night")
    for image in list((out / "night").iterdir())[:8]:
        image.rename(out / image.name)
    draw(tmp_path / "new", [1], "new_")
    assert [row.name for row in add_images(out, tmp_path / "new")] == ["night"]


def test_images_already_in_the_export_are_skipped(export, tmp_path):
    out = export("copy")
    new = draw(tmp_path / "new", [1, 201], "new_")
    shutil.copy(new[0], tmp_path / "new" / "twin.png")
    shutil.copy(tmp_path / "in" / "4.png", tmp_path / "new" / "known.png")
    assert len(add_images(out, tmp_path / "new")) == 2
    before = contents(out)
    assert add_images(out, tmp_path / "new") == []
    assert add_images(out, tmp_path / "in") == []
    assert contents(out) == before


def test_a_new_image_at_the_old_path_of_a_moved_one_is_added(export, tmp_path):
    out = export("move")
    paint(tmp_path / "in" / "4.png", 2)
    (row,) = add_images(out, tmp_path / "in")
    assert row.exported_path == "dark/4_2.png"


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink", "move"])
def test_undo_removes_or_returns_added_images(export, tmp_path, action):
    before = contents(tmp_path)
    out = export("move")
    draw(tmp_path / "new", [1, 201], "new_")
    before |= {f"new/{path}": data for path, data in contents(tmp_path / "new").items()}
    add_images(
        out, [tmp_path / "new" / "new_1.png", tmp_path / "new" / "new_201.png"], action=action
    )
    undo_export(out, all_steps=True)
    assert contents(tmp_path) == before


def test_undo_returns_what_was_moved_to_an_export_of_copies_and_keeps_the_rest(export, tmp_path):
    out = export("copy")
    apply_curation(out, {"names": {"dark": "night"}})
    draw(tmp_path / "new", [1, 201], "new_")
    before, sources = visible(out), contents(tmp_path / "new")
    add_images(out, tmp_path / "new", action="move")
    assert len(undo_export(out)) == 2
    assert visible(out) == before
    assert contents(tmp_path / "new") == sources


def test_a_pipe_or_device_is_named_and_not_waited_for(export, tmp_path):
    out = export()
    draw(tmp_path / "new", [1], "new_")
    os.mkfifo(tmp_path / "new" / "camera.png")
    (tmp_path / "new" / "zero.png").symlink_to("/dev/zero")
    with pytest.warns(UnreadableImagesWarning, match=r"camera\.png: not a regular file"):
        rows = add_images(out, tmp_path / "new")
    assert [row.exported_path for row in rows if row.exported_path] == ["dark/new_1.png"]


@pytest.mark.parametrize("action", ["copy", "move"])
def test_what_counts_is_the_content_and_not_the_path(export, tmp_path, caplog, action):
    """A camera begins again at its first name; an inbox is emptied and filled again."""
    out = export("copy")
    inbox = draw(tmp_path / "new", [1, 201], "new_")
    add_images(out, tmp_path / "new", action=action)
    for image, shade in zip(inbox, (2, 202)):
        paint(image, shade)
    twin = shutil.copy(tmp_path / "in" / "4.png", tmp_path / "new" / "twin.png")
    with caplog.at_level("INFO"):
        rows = add_images(out, tmp_path / "new", action=action)
    assert [row.exported_path for row in rows] == ["dark/new_1_2.png", "light/new_201_2.png"]
    assert f"{twin}: in the export as dark/4.png" in caplog.text
    assert Path(twin).exists()


def test_images_inside_the_export_are_not_added(export):
    out = export()
    paint(out / "dark" / "by_hand.png", 2)
    assert add_images(out, [out / "dark" / "by_hand.png"]) == []


def test_a_split_gives_each_part_a_folder_and_new_images_go_to_the_parts(export, tmp_path):
    out = export()
    rows = split_cluster(out, "dark")
    assert {row.name for row in rows if row.exported_path} == {"dark_1", "dark_2", "light"}
    assert sorted(path.name for path in out.glob("[!.]*") if path.is_dir()) == [
        "dark_1",
        "dark_2",
        "light",
    ]
    low, high, light = add_images(out, draw(tmp_path / "new", [1, 35, 201], "new_"))
    assert {low.name, high.name} == {"dark_1", "dark_2"}
    assert light.name == "light"
    siblings = {Path(path).stem for path in images_in(out) if path.startswith(f"{low.name}/")}
    assert {"0", "new_1"} < siblings
    assert "36" not in siblings


def test_merged_clusters_are_split_together(export, tmp_path):
    out = export()
    apply_curation(out, {"names": {"dark": "grays", "light": "grays"}})
    split_cluster(out, "grays", 3)
    names = {row.name for row in present_rows(out)}
    assert names == {"grays_1", "grays_2", "grays_3"}
    new = draw(tmp_path / "new", [1, 201], "new_")
    assert {row.name for row in add_images(out, new)} < names


def test_a_dry_run_of_adding_or_splitting_writes_nothing(export, tmp_path):
    out = export()
    draw(tmp_path / "new", [1], "new_")
    before = contents(tmp_path)
    assert len(add_images(out, tmp_path / "new", action="move", dry_run=True)) == 1
    split_cluster(out, "0", dry_run=True)
    assert contents(tmp_path) == before


def test_any_clusterer_makes_folders_that_receive_images(clusterer, tmp_path):
    clusterer.set_params(clusterer=AgglomerativeClustering(2)).fit(tmp_path / "in")
    clusterer.export(tmp_path / "out")
    first, second = add_images(tmp_path / "out", draw(tmp_path / "new", [1, 201]))
    assert max(first.doubt, second.doubt) < 0.05
    assert first.name != second.name


class Own(ResNetFeaturizer):
    """A featurizer that needs code of its own."""


def test_a_featurizer_that_needs_code_is_not_kept_but_its_features_are(stand_in, tmp_path):
    images = draw(tmp_path / "in", [*DARK, *LIGHT])
    clusterer = ImageFolderClusterer(2, featurizer=Own(weights=stand_in), random_state=0)
    clusterer.fit(images).export(tmp_path / "out")
    with pytest.raises(OutputFolderError, match="keeps no network"):
        add_images(tmp_path / "out", draw(tmp_path / "new", [1]))
    assert len(split_cluster(tmp_path / "out", 0)) == len(images)


def test_damage_to_what_is_kept_costs_the_judgment_and_no_image(export, caplog):
    out = export()
    (kept,) = out.glob(".resnet-kmeans.*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-9])
    rows = apply_curation(out, {"names": {"dark": "night"}})
    assert {row.name for row in rows} == {"night", "light"}
    assert {row.doubt for row in rows} == {None}
    assert "Some images cannot be judged" in caplog.text
