"""Awkward data through the whole command: all that can be read is clustered, the rest named."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import UnreadableImagesError, UnreadableImagesWarning

# Their pixels end early. Pillow opens them, and tells of it in the first attempt to read all.
READ_AT_THE_SECOND_ATTEMPT = {
    "truncated/pillow__truncated_end_chunk.png",
    "truncated/pillow__broken_data_stream.png",
}
# Or they lack only the marker of their end.
READ_AT_THE_FIRST_ATTEMPT = {"mode/pillow__hopper.psd", "truncated/pillow__truncated_jpeg.jpg"}


@pytest.fixture
def hard(test_data) -> Path:
    folder = test_data / "images_hard"
    if not (folder / "INDEX.tsv").is_file():
        pytest.skip("RESNET_KMEANS_TEST_DATA holds no images_hard")
    return folder


@pytest.fixture
def network(stand_in) -> list[str]:
    """Options that name the network."""
    return ["--weights", str(stand_in), "--quiet"]


def table_of(out: Path) -> list[dict[str, str]]:
    with open(out / "clusters.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def index_of(hard: Path) -> list[dict[str, str]]:
    with open(hard / "INDEX.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_real_awkward_images_are_read_or_have_a_reason(hard, stand_in):
    rows = index_of(hard)
    paths = [str(hard / row["path"]) for row in rows]
    with pytest.raises(UnreadableImagesError) as raised:
        ResNetFeaturizer(weights=stand_in, input_shape=(32, 32)).transform(paths)
    reasons = raised.value.reasons
    for row, path in zip(rows, paths):
        is_ok = row["open"].startswith("ok") and row["convert_rgb"] == "ok"
        if row["path"] in READ_AT_THE_SECOND_ATTEMPT | READ_AT_THE_FIRST_ATTEMPT:
            is_ok = row["path"] in READ_AT_THE_FIRST_ATTEMPT
        assert (path not in reasons) == is_ok, (row["path"], reasons.get(path))


@pytest.mark.parametrize(
    ("name", "shape"), [("Landscape", (120, 180)), ("Portrait", (180, 120))], ids=str
)
def test_a_photo_in_eight_orientations_looks_the_same(hard, stand_in, name, shape):
    paths = [hard / "exif_rotation" / f"exif__{name}_{n}.jpg" for n in range(1, 9)]
    seen = 255 * ResNetFeaturizer(weights=stand_in, input_shape=shape).transform(paths)
    # They are JPEGs of their own, each with its number painted into a corner.
    assert np.median(np.abs(seen - seen[0]), axis=1).max() <= 1
    turned = seen[0].reshape(3, 4, 4).transpose(0, 2, 1).ravel()
    assert np.median(np.abs(seen - turned), axis=1).min() > 10


def test_a_folder_of_awkward_images_is_clustered_whole(hard, tmp_path, network, capsys):
    out = tmp_path / "out"
    assert main(["cluster", str(hard), str(out), "-k", "5", *network]) == 0
    table = table_of(out)
    found = [str(path) for path in find_images(hard)]
    assert [row["source_path"] for row in table] == found
    told = capsys.readouterr()
    for row in table:
        if row["cluster"] == "-3":
            assert row["reason"]
            assert not row["exported_path"]
        else:
            exported = (out / row["exported_path"]).read_bytes()
            assert exported == Path(row["source_path"]).read_bytes()
    n_bad = sum(row["cluster"] == "-3" for row in table)
    assert f"{n_bad} images could not be read" in told.err
    bad = [row for row in table if row["cluster"] == "-3"]
    named = [f"  {row['source_path']}: {row['reason']}" for row in bad][:10]
    assert "\n".join(named) in told.err
    assert f"{len(table) - n_bad} images are in 5 clusters" in told.out
    assert "Traceback" not in told.err


@pytest.fixture
def awkward(tmp_path, pictures) -> Path:
    """Eight good pictures under names of all kinds among everything that is none."""
    folder = tmp_path / "awkward"
    folder.mkdir()
    drawn = sorted(pictures.iterdir())[:8]
    names = ["new\nline.png", "quo\"te'.png", "🦊.png", "\udcff\udcfe.png", "=1+1.png"]
    names += ["\x1b[31mred.png", "<script>alert(1)<", "é" * 125 + ".jpeg"]
    names[6] += "b>.png"
    for name, picture in zip(names, drawn):
        (folder / name).write_bytes(picture.read_bytes())
    (folder / "empty\x1b[2J.jpg").touch()
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes(drawn[0].read_bytes()[:200])
    (folder / "folder.jpg").mkdir()
    (folder / "round.jpg").symlink_to("round.jpg")
    (folder / "broken.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "fifo.jpg")
    return folder


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink", "move"])
def test_names_and_files_of_every_kind_pass_through_the_command(
    awkward, tmp_path, network, capsys, action
):
    out = tmp_path / "out"
    before = {p.name: p.read_bytes() for p in awkward.iterdir() if p.is_file()}
    done = main(["cluster", str(awkward), str(out), "-k", "3", "--action", action, *network])
    told = capsys.readouterr()
    assert done == 0, told.err
    assert "\x1b" not in told.out + told.err
    table = table_of(out)
    reasons = {row["source_path"]: row["reason"] for row in table if row["cluster"] == "-3"}
    assert len(reasons) == 6
    assert sum("no such file" in reason for reason in reasons.values()) == 1
    exported = {path.name: path.read_bytes() for path in out.glob("cluster_*/*")}
    assert len(exported) == 8
    assert exported == {name: before[name] for name in exported}
    assert {path.parent.parent for path in out.glob("*/*")} == {out}
    if action == "move":
        assert main(["undo", str(out)]) == 0
        assert {p.name: p.read_bytes() for p in awkward.iterdir() if p.is_file()} == before
        assert not out.exists()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("nothing", "not a folder"),
        ("empty", "No images"),
        ("bad", "2.jpg: not an image"),
        ("few", "(-k) or add images"),
        ("full", "new or empty"),
    ],
)
def test_what_cannot_be_done_ends_with_one_message_and_nothing_written(
    tmp_path, network, capsys, prepare, message
):
    photos, out = tmp_path / "photos", tmp_path / "out"
    if prepare != "nothing":
        photos.mkdir()
    for i in range({"few": 2, "bad": 3, "full": 4}.get(prepare, 0)):
        if prepare == "bad":
            (photos / f"{i}.jpg").write_text("no image")
        else:
            Image.new("RGB", (9, 9), (i, 0, 0)).save(photos / f"{i}.png")
    if prepare == "full":
        out.mkdir()
        (out / "mine.txt").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    assert main(["cluster", str(photos), str(out), "-k", "3", *network]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.startswith("resnet-kmeans: error: ")
    assert "Traceback" not in told.err
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_images_stop_the_command_where_that_is_asked(awkward, tmp_path, network, capsys):
    out = tmp_path / "out"
    command = ["cluster", str(awkward), str(out), "-k", "2", "--unreadable", "raise", *network]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "Some images cannot be read or have no features (6)" in told
    assert "\x1b" not in told
    assert not out.exists()


def four_photos(pictures: Path, photos: Path) -> list[Path]:
    photos.mkdir()
    return [Path(shutil.copy(picture, photos)) for picture in sorted(pictures.iterdir())[:4]]


def test_undo_takes_the_report_away_too(pictures, tmp_path, network):
    photos, out = tmp_path / "photos", tmp_path / "out"
    paths = four_photos(pictures, photos)
    command = ["cluster", str(photos), str(out), "-k", "2", "--action", "move", "--report"]
    assert main([*command, *network]) == 0
    assert (out / "report.html").is_file()
    assert main(["undo", str(out)]) == 0
    assert not out.exists()
    assert all(path.is_file() for path in paths)


def test_an_image_that_vanishes_after_it_was_listed_is_named(pictures, tmp_path, stand_in):
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    gone = str(tmp_path / "gone.png")
    paths = [*map(str, sorted(pictures.iterdir())[:6]), gone]
    clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0)
    with pytest.warns(UnreadableImagesWarning, match=r"gone\.png: no such file"):
        labels = clusterer.fit_predict(paths)
    assert (labels == -3).tolist() == [False] * 6 + [True]
    assert list(clusterer.unreadable_) == [gone]
