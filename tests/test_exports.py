"""Exports go on living by the model that they keep: photos added, a cluster split."""

import functools
import shutil

import pytest

from resnet_kmeans import add_images
from resnet_kmeans.cli import clusters, main
from resnet_kmeans.cli.pictures import draw_pictures
from resnet_kmeans.exceptions import (
    CurationError,
    OutputFolderError,
    TooFewImagesError,
    UnreadableImagesWarning,
)
from resnet_kmeans.export import export_clusters, kept_model, read_export
from resnet_kmeans.exports import split_cluster
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


def test_the_whole_story_ends_where_it_began(story, pictures, capsys):
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
    assert "6 images were passed over: held already\n0 images added to" in capsys.readouterr().out
    assert run("undo", out) == 0
    assert contents(story / "in") == contents(pictures)
    assert contents(story / "more") == more
    assert not out.exists()


def test_the_kept_model_is_hidden_and_small(story):
    file = kept_model(story / "out")
    assert file.name.startswith(".")
    assert file.stat().st_size < 2**20


def test_added_images_go_where_the_model_and_the_present_names_say(story):
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


def test_what_fits_badly_is_told_and_set_aside_where_asked_for(story):
    (story / "odd").mkdir()
    make_images(story / "odd", ("white.png",))
    row = add_images(story / "out", story / "odd", dry_run=True)[0]
    far = "farther from its centre than 99 % of the images of the fit"
    assert row.reason == far
    assert row.cluster >= 0
    row = add_images(story / "out", story / "odd", set_aside=True)[0]
    assert (row.cluster, row.exported_path, row.reason) == (-1, "_set_aside/white.png", far)


def test_unreadable_images_are_listed_and_tried_again(story):
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


def test_an_export_without_a_model_says_so(tmp_path):
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
