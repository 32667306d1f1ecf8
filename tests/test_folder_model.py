"""The folders of an export judge its images, and learn from what a person does to them."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    confirm_images,
    export_clusters,
    export_log,
    redo_export,
    rename_cluster,
    split_cluster,
    undo_export,
    write_export_report,
    write_report,
)
from resnet_kmeans.cli import main
from resnet_kmeans.clustering import FolderGaussians
from resnet_kmeans.exceptions import (
    ClusterNameError,
    CurationError,
    ModelFileError,
    OutputFolderError,
)
from tests.export_folders import draw, images_in, rows_of
from tests.report_page import ReportPage
from tests.test_model_file import parts, rewrite

DARK, LIGHT = [*range(0, 60, 4)], [*range(196, 256, 4)]
WRONG = "light/28.png"  # a dark one


@pytest.fixture
def weights(stand_in, tmp_path):
    return shutil.copy(stand_in, tmp_path / "weights.network")


@pytest.fixture
def out(weights, tmp_path):
    """An export of dark and light pictures, of which one is in the wrong folder."""
    paths = draw(tmp_path / "in", [*DARK, *LIGHT])
    featurizer = ResNetFeaturizer(weights=weights, cache=None)
    clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0).fit(paths)
    dark, light = int(clusterer.labels_[0]), int(clusterer.labels_[-1])
    clusterer.labels_[paths.index(tmp_path / "in" / "28.png")] = light
    clusterer.set_cluster_names({dark: "dark", light: "light"}).export(tmp_path / "out")
    return tmp_path / "out"


def judgments(out):
    """The doubt and suggestion of each exported image, as the table says."""
    return {r["exported_path"]: (r["doubt"], r["suggestion"]) for r in rows_of(out)}


# --- The model


@pytest.fixture(scope="module")
def groups():
    rows = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    rows[:, 0] += np.repeat([0, 2.5, 5], 30)
    return rows, np.repeat([0, 1, 2], 30)


def test_probabilities_are_those_of_gaussians_with_one_covariance(groups):
    rows, labels = groups
    model = FolderGaussians().fit(rows, labels)
    covariance = np.linalg.inv(model.mixture_.whitening @ model.mixture_.whitening.T)
    within = sum(np.cov(rows[labels == k].T, bias=True) for k in range(3)) / 3
    np.testing.assert_allclose(covariance, within + 0.03 * rows.var() * np.eye(3), rtol=1e-3)
    means = [rows[labels == k].mean(axis=0) for k in range(3)]
    densities = np.array([multivariate_normal(m, covariance).pdf(rows) for m in means]).T
    expected = densities / densities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(rows), expected, atol=1e-4)
    assert (model.predict(rows) == expected.argmax(axis=1)).all()


def test_an_image_is_judged_by_the_others_as_if_it_were_not_there(groups):
    rows, labels = groups
    judged = FolderGaussians().fit(rows, labels).judge(rows, labels)
    for i in (0, 29, 45, 89):
        rest = np.arange(90) != i
        model = FolderGaussians().fit(rows[rest], labels[rest])
        alone = model.judge(rows[i : i + 1], labels[i : i + 1], are_members=False)
        assert judged.doubts[i] == pytest.approx(alone.doubts[0], abs=0.02)
        assert judged.others[i] == alone.others[0]


def test_a_folder_of_several_clusters_keeps_a_gaussian_for_each(groups):
    rows, labels = groups
    folders = np.array([0, 1, 0])[labels]  # the middle group is the other folder
    model = FolderGaussians().fit(rows, labels, folders)
    assert np.mean(model.predict(rows) == folders) > 0.8
    assert model.judge(rows, folders).clusters[labels == 2].tolist().count(2) > 25
    assert np.mean(FolderGaussians().fit(rows, folders).predict(rows) == folders) < 0.7


def test_folders_of_one_image_take_images_too(groups):
    rows, labels = groups
    model = FolderGaussians().fit(rows[[0, 30, 60]], labels[[0, 30, 60]])
    assert model.predict(rows[[0, 30, 60]]).tolist() == [0, 1, 2]
    judged = model.judge(rows[[0, 30, 60]], np.arange(3))
    assert np.isnan(judged.doubts).all()  # there is nothing to judge them by


# --- Doubt


def test_the_table_says_how_doubtful_each_image_is_and_where_it_would_rather_be(out):
    found = judgments(out)
    assert float(found.pop(WRONG)[0]) > 0.9
    assert {suggestion for _, suggestion in found.values()} == {"dark", "light"}
    assert max(float(doubt) for doubt, _ in found.values()) < 0.5
    assert all(float(row["distance"]) > 0 for row in rows_of(out))


def test_an_image_that_was_moved_is_never_doubtful_again(out):
    apply_curation(out, {"moves": {"dark/0.png": "light"}})
    row = next(row for row in rows_of(out) if row["exported_path"] == "light/0.png")
    assert (row["doubt"], row["suggestion"], row["reason"]) == ("0.0", "dark", "confirmed")
    undo_export(out)
    assert float(judgments(out)["dark/0.png"][0]) < 0.5


def test_an_image_that_was_moved_by_hand_counts_as_moved(out):
    (out / WRONG).rename(out / "dark" / "28.png")
    rows = apply_curation(out, {})
    (row,) = [row for row in rows if row.exported_path == "dark/28.png"]
    assert (row.doubt, row.is_confirmed) == (0.0, True)


def test_confirming_is_a_step_that_is_taken_back_and_repeated(out):
    before = images_in(out), judgments(out)
    rows = confirm_images(out, [WRONG])
    assert [row.exported_path for row in rows if row.is_confirmed] == [WRONG]
    assert judgments(out)[WRONG] == ("0.0", "dark")
    assert [(step.command, step.n_images) for step in export_log(out)][1:] == [("confirm", 1)]
    undo_export(out)
    assert (images_in(out), judgments(out)) == before
    redo_export(out)
    assert judgments(out)[WRONG] == ("0.0", "dark")


def test_whole_folders_are_confirmed_and_unknown_paths_are_refused(out):
    rows = confirm_images(out, ["dark", WRONG])
    confirmed = {row.exported_path for row in rows if row.is_confirmed}
    assert confirmed == {path for path in images_in(out) if path.startswith("dark/")} | {WRONG}
    with pytest.raises(CurationError, match="cats"):
        confirm_images(out, ["cats"])


def test_what_was_confirmed_weighs_more_in_the_judgment_of_others(out):
    before = {path: float(doubt) for path, (doubt, _) in judgments(out).items()}
    confirm_images(out, [WRONG])
    after = {path: float(doubt) for path, (doubt, _) in judgments(out).items()}
    assert after["dark/24.png"] > before["dark/24.png"]  # another like it stayed in light


def test_on_the_command_line(out, monkeypatch, capsys):
    monkeypatch.chdir(out.parent)
    assert main(["confirm", "out", "out/light/28.png", "--dry-run"]) == 0
    assert "1 image would be confirmed; " in capsys.readouterr().out
    Path("link").symlink_to("out")
    assert main(["confirm", "out", "link/dark/", "0"]) == 0
    assert "images confirmed; " in capsys.readouterr().out
    assert main(["confirm", "out", "cats"]) == 2
    assert "got cats" in capsys.readouterr().err
    assert main(["undo", "out"]) == 0
    assert "not confirmed any more" in capsys.readouterr().err


def test_the_report_shows_doubts_and_suggestions(out):
    page = ReportPage(write_export_report(out))
    names = {cluster.label: cluster.name for cluster in page.clusters}
    (wrong,) = [image for image in page.images if image.doubt > 0.5]
    assert wrong.name == WRONG
    assert names[wrong.suggestion] == "dark"
    apply_curation(out, {"moves": {WRONG: "dark"}})
    again = ReportPage(write_export_report(out))
    assert max(image.doubt for image in again.images) < 0.5
    assert sum(again.album["confirmed"]) == 1


def test_what_changes_nothing_is_no_step_and_leaves_a_redo(out):
    confirm_images(out, [WRONG])
    undo_export(out)
    rename_cluster(out, "dark", "dark")
    confirm_images(out, [])
    assert redo_export(out) == [str(out.parent / "in" / "28.png")]
    assert judgments(out)[WRONG][0] == "0.0"


def test_images_that_are_missing_or_were_edited_judge_no_others(out):
    (row,) = [row for row in rows_of(out) if row["exported_path"] == "light/220.png"]
    distance = row["distance"]
    shutil.copy(out / "dark" / "0.png", out / "light" / "212.png")
    (out / "light" / "216.png").unlink()
    rename_cluster(out, "dark", "night")
    after = judgments(out)
    assert after["light/212.png"] == ("", "")  # another picture now
    assert after["light/216.png"][0] == ""
    (row,) = [row for row in rows_of(out) if row["exported_path"] == "light/220.png"]
    assert row["distance"] != distance
    doubts = [image.doubt for image in ReportPage(write_export_report(out)).images]
    assert sum(doubt is None for doubt in doubts) == 1


def test_confirming_moves_nothing_even_if_folders_differ_only_in_case(out):
    (out / "Dark").mkdir()
    (out / "dark" / "0.png").rename(out / "Dark" / "0.png")
    before = images_in(out)
    confirm_images(out, ["Dark"])
    assert images_in(out) == before


def test_what_another_export_kept_is_not_taken_for_ones_own(out):
    (kept,) = out.glob(".resnet-kmeans.*.safetensors")
    stale = kept.read_bytes()
    undo_export(out)
    out.mkdir()
    kept.write_bytes(stale)
    images = sorted((out.parent / "in").iterdir())
    rows = export_clusters(images, [0, 1] * (len(images) // 2), out)
    assert {row.doubt for row in rows} == {None}
    with pytest.raises(OutputFolderError, match="keeps no"):
        ImageFolderClusterer.from_export(out)


def test_a_kill_at_the_end_of_an_undo_costs_no_judgment(out):
    before = judgments(out)
    undo_export(out, all_steps=True)
    undone = Path(os.environ["XDG_STATE_HOME"]).glob("resnet_kmeans/undone/*/*.jsonl")
    journal = max(undone, key=os.path.getmtime)
    out.mkdir()
    shutil.copy(journal, out)  # as if the folder had been emptied but for the journal
    undo_export(out)
    redo_export(out)
    assert judgments(out) == before


@pytest.mark.parametrize("damage", ["inf", "wide", "format", "rows"])
def test_a_hostile_file_of_features_costs_judgments_and_no_command(out, damage):
    (kept,) = out.glob(".resnet-kmeans.*.safetensors")
    header, arrays = parts(kept)
    n_images = len(arrays["features"])
    if damage == "inf":
        arrays["features"][0] = np.inf
    elif damage == "wide":
        arrays["features"] = np.zeros((n_images, 20_000), np.float16)
    elif damage == "rows":
        arrays["features"] = np.zeros((n_images + 1, 2), np.float16)
    else:
        header["format"] = 1e999
    rewrite(kept, json.dumps(header), arrays)
    assert len(rename_cluster(out, "dark", "night")) == n_images
    undo_export(out, all_steps=True)
    assert len(redo_export(out)) == n_images


def test_the_parts_of_a_folder_have_valid_names(out):
    apply_curation(out, {"moves": {"dark/0.png": None, "light/200.png": None}})
    rows = split_cluster(out, "_set_aside")
    assert {row.name for row in rows} == {"dark", "light", "set_aside_1", "set_aside_2"}
    rename_cluster(out, "light", "x" * 254)
    with pytest.raises(ClusterNameError, match="bytes long"):
        split_cluster(out, "x" * 254)
    assert export_log(out)[-1].command == "rename"


def test_a_folder_whose_images_are_missing_is_not_split(out):
    for image in (out / "dark").iterdir():
        image.unlink()
    with pytest.raises(CurationError, match="got dark"):
        split_cluster(out, "dark")


def test_what_was_split_off_is_not_confirmed(out):
    confirm_images(out, ["light"])
    assert not any(row.is_confirmed for row in split_cluster(out, "light"))


# --- Where new images go


def test_a_folder_made_by_hand_receives_images(out, tmp_path):
    (out / "middle").mkdir()
    for shade in (44, 48, 52, 56):
        (out / "dark" / f"{shade}.png").rename(out / "middle" / f"{shade}.png")
    rows = add_images(out, draw(tmp_path / "new", [2, 50, 201], "new_"))
    assert [row.name for row in rows] == ["dark", "middle", "light"]


def test_merged_and_renamed_folders_receive_what_their_parts_would(out, tmp_path):
    split_cluster(out, "dark")
    rename_cluster(out, "dark_1", "mixed")
    rename_cluster(out, "light", "mixed")
    rest = next(path for path in images_in(out) if path.startswith("dark_2/"))
    shade = int(rest.removeprefix("dark_2/").removesuffix(".png")) + 1
    rows = add_images(out, draw(tmp_path / "new", [shade, 201], "new_"))
    assert [row.name for row in rows] == ["dark_2", "mixed"]


def test_no_image_of_the_export_is_moved_unasked(out, tmp_path):
    before = images_in(out)
    add_images(out, draw(tmp_path / "new", [28, 29, 30], "new_"))
    assert before.items() < images_in(out).items()


def test_judging_and_splitting_need_neither_the_network_nor_the_cache(out, weights):
    weights.unlink()
    split_cluster(out, "dark")
    assert float(judgments(out)[WRONG][0]) > 0.5
    assert ReportPage(write_export_report(out)).has_map


# --- A model of the folders


@pytest.fixture
def model(out):
    rename_cluster(out, "dark", "night")
    apply_curation(out, {"moves": {WRONG: "night"}})
    return ImageFolderClusterer.from_export(out)


def test_an_export_gives_a_clusterer_that_predicts_as_an_addition_does(model, out, tmp_path):
    assert {*model.cluster_names_} == {"night", "light"}
    new = draw(tmp_path / "new", [1, 30, 201, 250], "new_")
    predicted = [model.cluster_names_[label] for label in model.predict(new)]
    assert predicted == [row.name for row in add_images(out, new)]
    assert model.n_clusters_ == 2


def test_its_images_are_those_in_the_folders(model, out):
    pairs = zip(model.image_paths_, model.labels_)
    found = {(path, model.cluster_names_[label]) for path, label in pairs}
    assert found == {(str(out / path), path.partition("/")[0]) for path in images_in(out)}
    assert np.isfinite(model.distances_).all()
    assert ReportPage(write_report(model, out.parent / "page.html")).has_map


def test_it_is_saved_loaded_and_pickled(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    new = draw(tmp_path / "new", [*range(1, 256, 9)], "new_")
    loaded = ImageFolderClusterer.load(tmp_path / "model.safetensors")
    for copy in (loaded, pickle.loads(pickle.dumps(model))):
        assert copy.predict(new).tolist() == model.predict(new).tolist()
        assert copy.cluster_names_ == model.cluster_names_
        assert copy.score(new) == pytest.approx(model.score(new), abs=1e-4)


def test_it_makes_an_export_whose_folders_are_the_same(model, out, tmp_path):
    rows = model.export(tmp_path / "again")
    assert {row.exported_path for row in rows} == {*images_in(out)}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gaussian_folders", lambda folders: folders + 1),
        ("gaussian_weights", lambda weights: -weights),
        ("gaussian_whitening", lambda whitening: whitening[:1]),
    ],
)
def test_a_file_of_it_that_is_damaged_is_refused(model, tmp_path, name, change):
    model.save(tmp_path / "model")
    header, arrays = parts(tmp_path / "model")
    rewrite(tmp_path / "model", json.dumps(header), {**arrays, name: change(arrays[name])})
    with pytest.raises(ModelFileError):
        ImageFolderClusterer.load(tmp_path / "model")


def test_an_export_without_images_in_folders_gives_no_model(out):
    apply_curation(out, {"moves": dict.fromkeys(images_in(out))})
    with pytest.raises(OutputFolderError, match="with images in folders, got none"):
        ImageFolderClusterer.from_export(out)
