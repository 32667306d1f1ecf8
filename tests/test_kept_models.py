"""The model that an export keeps: images are added to clusters, clusters are split."""

import functools
import os
import shutil
from pathlib import Path

import joblib
import pytest
from PIL import Image
from resnet_kmeans.kept_models import split_cluster

from resnet_kmeans import ImageFolderClusterer, add_images, apply_curation
from resnet_kmeans.cli import clusters, main
from resnet_kmeans.exceptions import (
    CurationError,
    OutputFolderError,
    TooFewImagesError,
    UnreadableImagesWarning,
)
from resnet_kmeans.export import execution, export_clusters, kept_model, read_export, undo_export
from resnet_kmeans.sample_pictures import draw_pictures
from tests.commands_in_forks import MeanColour
from tests.test_exporter import contents, make_images


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def exported(pictures, tiny_network, tmp_path_factory):
    """An export of 24 pictures by moving, and more pictures, to be copied by each test."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(pictures, folder / "in")
    draw_pictures(folder / "more", n_each=1, seed=7)
    small = functools.partial(clusters.ResNetFeaturizer, input_shape=(32, 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "ResNetFeaturizer", small)
        options = ["--weights", tiny_network, "--preprocess", "tf", "--quiet", "-k", 4]
        assert run("cluster", folder / "in", folder / "out", "--action", "move", *options) == 0
    return folder


@pytest.fixture
def story(exported, tmp_path):
    """A copy of the export whose images came from folders beside it."""
    for name in ("more", "out"):
        shutil.copytree(exported / name, tmp_path / name)
    journal = tmp_path / "out" / ".resnet-kmeans.jsonl"
    journal.write_text(journal.read_text().replace(str(exported), str(tmp_path)))
    (tmp_path / "in").mkdir()
    return tmp_path


def test_undo_after_all_commands_restores_every_file(story, pictures, capsys):
    out, more = story / "out", contents(story / "more")
    assert run("rename", out, 0, "cats") == 0
    (story / "curation.json").write_text('{"format": 1, "names": {"cluster_1": "cats"}}')
    assert run("apply", out, story / "curation.json") == 0
    assert run("split", out, "cats", "--quiet") == 0
    names = {image.name for image in read_export(out).images}
    assert names == {"cats_1", "cats_2", "cluster_2", "cluster_3"}
    assert run("add", out, story / "more", "--quiet") == 0
    assert "6 images added to" in capsys.readouterr().out
    placed = {image.name for image in read_export(out).images}
    assert placed == names
    assert run("add", out, story / "more", "--quiet") == 0
    assert "6 images were skipped: already in the export\n0 images added" in capsys.readouterr().out
    assert run("undo", out) == 0
    assert contents(story / "in") == contents(pictures)
    assert contents(story / "more") == more
    assert not out.exists()


def test_the_kept_model_is_hidden_and_below_1_mib(story):
    file = kept_model(story / "out")
    assert file.name.startswith(".")
    assert file.stat().st_size < 2**20


def test_added_images_go_to_the_present_folders_of_their_clusters(story):
    out = story / "out"
    run("rename", out, 0, "all")
    for label in (1, 2, 3):
        run("rename", out, label, "all")
    rows = add_images(out, story / "more", dry_run=True)
    assert {row.name for row in rows} == {"all"}
    assert len(read_export(out).images) == 24
    rows = add_images(out, sorted((story / "more").iterdir())[:2])
    assert len(rows) == 2
    assert len(read_export(out).images) == 26
    assert len(add_images(out, story / "more")) == 4
    assert len({row.cluster for row in rows} - {0, 1, 2, 3}) == 0


def test_images_that_fit_badly_are_marked_and_set_aside_on_request(story):
    (story / "odd").mkdir()
    make_images(story / "odd", ("white.png",))
    row = add_images(story / "out", story / "odd", dry_run=True)[0]
    far = "farther from the centre than 99 % of the images of the fit"
    assert row.reason == far
    assert row.cluster >= 0
    row = add_images(story / "out", story / "odd", set_aside=True)[0]
    assert (row.cluster, row.exported_path, row.reason) == (-1, "_set_aside/white.png", far)


def test_unreadable_images_are_listed_and_read_again_next_time(story):
    bad = story / "more" / "bad.png"
    bad.touch()
    with pytest.warns(UnreadableImagesWarning):
        rows = add_images(story / "out", [bad])
    assert [(r.cluster, r.exported_path, r.reason) for r in rows] == [
        (-1, None, "the file is empty")
    ]
    shutil.copy(next((story / "more").glob("red*")), bad)
    assert add_images(story / "out", [bad])[0].exported_path
    paths = [i.source_path for i in read_export(story / "out").images]
    assert paths.count(str(bad)) == 1


def test_a_split_changes_where_new_images_go(story):
    rows = split_cluster(story / "out", 2, 2)
    new = {row.cluster for row in rows if row.name.startswith("cluster_2_")}
    assert new == {4, 5}
    state = read_export(story / "out")
    assert state.centers == [0, 1, 3, 4, 5]
    assert [f.name for f in (story / "out").glob(".*.safetensors")] == [
        kept_model(story / "out").name
    ]
    with pytest.raises(TooFewImagesError):
        split_cluster(story / "out", 0, 99)
    with pytest.raises(CurationError, match="got 77"):
        split_cluster(story / "out", 77)


def test_adding_and_splitting_need_a_kept_model(tmp_path):
    images = make_images(tmp_path / "in")
    export_clusters(images, [0] * 4, tmp_path / "out")
    for work in (
        lambda: add_images(tmp_path / "out", images),
        lambda: split_cluster(tmp_path / "out", 0),
    ):
        with pytest.raises(OutputFolderError, match=r"keeps its model.*Nothing was done"):
            work()
    with pytest.raises(ValueError, match="got 'eat'"):
        add_images(tmp_path / "out", images, action="eat")


DARK, LIGHT = range(0, 40, 4), range(200, 240, 4)


def draw(folder: Path, shades, prefix="") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for shade in shades:
        Image.new("L", (3, 3), shade).save(folder / f"{prefix}{shade}.png")
    return [folder / f"{prefix}{shade}.png" for shade in shades]


@pytest.fixture
def export(tmp_path, monkeypatch):
    """A function that exports dark and light pictures, clustered by their mean colour."""
    # `save` would refuse the stand-in for the network.
    monkeypatch.setattr(ImageFolderClusterer, "save", lambda self, path: joblib.dump(self, path))
    monkeypatch.setattr(ImageFolderClusterer, "load", lambda path, **_: joblib.load(path))
    images = draw(tmp_path / "in", [*DARK, *LIGHT])
    clusterer = ImageFolderClusterer(2, featurizer=MeanColour(), reducer=None, random_state=0)
    labels = clusterer.fit_predict(images)
    names = {int(labels[0]): "dark", int(labels[-1]): "light"}

    def run(action="move"):
        options = {"distances": clusterer.distances_, "model": clusterer, "names": names}
        export_clusters(images, labels, tmp_path / "out", action=action, **options)
        return tmp_path / "out"

    return run


def test_folders_renamed_or_merged_by_hand_or_by_command_receive_new_images(export, tmp_path):
    out = export()
    (out / "dark").rename(out / "night")
    draw(tmp_path / "new", [1, 201], "new_")
    assert {row.name for row in add_images(out, tmp_path / "new")} == {"night", "light"}
    apply_curation(out, {"names": {"night": "greys", "light": "greys"}})
    draw(tmp_path / "newer", [2, 202], "newer_")
    assert [row.name for row in add_images(out, tmp_path / "newer")] == ["greys", "greys"]


def test_a_renamed_folder_is_recognised_even_if_most_of_its_images_are_in_the_root(
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
    Image.new("L", (3, 3), 2).save(tmp_path / "in" / "4.png")
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
    undo_export(out)
    assert contents(tmp_path) == before


def test_undo_returns_what_was_moved_to_an_export_of_copies_and_keeps_the_rest(export, tmp_path):
    out = export("copy")
    apply_curation(out, {"names": {"dark": "night"}})
    draw(tmp_path / "new", [1, 201], "new_")
    before, sources = contents(out), contents(tmp_path / "new")
    add_images(out, tmp_path / "new", action="move")
    assert len(undo_export(out)) == 2
    after = contents(out)
    assert after.keys() == before.keys()
    assert {p: after[p] for p in after if "/" in p} == {p: before[p] for p in before if "/" in p}
    assert after["clusters.csv"] == before["clusters.csv"]
    assert contents(tmp_path / "new") == sources
    with pytest.raises(OutputFolderError, match=r"never moved"):
        undo_export(out)


def test_undo_of_interrupted_copying_to_an_export_says_how_to_finish_it(
    export, tmp_path, monkeypatch
):
    out = export("copy")
    draw(tmp_path / "new", [1], "new_")

    def stop(folder, journal):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(execution, "carry_out", stop)
        with pytest.raises(OutputFolderError, match="stopped: the disk is full"):
            add_images(out, tmp_path / "new")
    with pytest.raises(OutputFolderError, match=r"'add'.*interrupted.*resnet-kmeans finish"):
        undo_export(out)


def test_images_inside_the_export_are_not_added(export):
    out = export()
    Image.new("L", (3, 3), 2).save(out / "dark" / "by_hand.png")
    assert add_images(out, [out / "dark" / "by_hand.png"]) == []


def test_a_split_gives_each_part_a_folder_and_new_images_go_to_the_parts(export, tmp_path):
    out = export()
    rows = split_cluster(out, "dark")
    assert {row.name for row in rows if row.exported_path} == {"dark_1", "dark_2", "light"}
    assert sorted(path.name for path in out.glob("[!.]*/")) == ["dark_1", "dark_2", "light"]
    draw(tmp_path / "new", [1, 37, 201], "new_")
    low, high, light = sorted(add_images(out, tmp_path / "new"), key=lambda row: row.source_path)[
        :3
    ]
    assert low.name.startswith("dark_")
    assert {low.name, light.name} != {high.name}
    siblings = {Path(i.exported_path).stem for i in read_export(out).images if i.name == low.name}
    assert siblings == {"0", "4", "8", "12", "16", "new_1"}
    model = joblib.load(kept_model(out))
    assert len(model.cluster_centers_) == 3
    assert len(list(out.glob(".resnet-kmeans.*.safetensors"))) == 1


def test_parts_of_merged_clusters_replace_the_centres_of_all(export, tmp_path):
    out = export()
    apply_curation(out, {"names": {"dark": "greys", "light": "greys"}})
    split_cluster(out, "greys", 3)
    names = {row.name for row in read_export(out).images}
    assert names == {"greys_1", "greys_2", "greys_3"}
    draw(tmp_path / "new", [1, 201], "new_")
    assert {row.name for row in add_images(out, tmp_path / "new")} < names
    assert len(joblib.load(kept_model(out)).cluster_centers_) == 3


def test_a_dry_run_of_adding_or_splitting_writes_nothing(export, tmp_path):
    out = export()
    draw(tmp_path / "new", [1], "new_")
    before = contents(tmp_path)
    assert len(add_images(out, tmp_path / "new", action="move", dry_run=True)) == 1
    split_cluster(out, "0", dry_run=True)
    assert contents(tmp_path) == before


def test_a_model_with_a_custom_step_is_not_kept(tmp_path):
    images = draw(tmp_path / "in", [*DARK, *LIGHT])
    clusterer = ImageFolderClusterer(2, featurizer=MeanColour(), reducer=None).fit(images)
    export_clusters(images, clusterer.labels_, tmp_path / "out", model=clusterer)
    assert kept_model(tmp_path / "out") is None
    assert sorted(os.listdir(tmp_path / "out"))[0] == ".resnet-kmeans.jsonl"
