"""Libraries read an export as a labelled data set, with the clusters as labels."""

from pathlib import Path

import pytest
from sklearn.datasets import load_files

from resnet_kmeans import export_clusters, write_report
from tests.export_folders import make_images

LABELS = [1, 0, 1, 2]


@pytest.fixture
def export(tmp_path):
    """A function that exports four images to folders of these names, with all our own files."""

    def make(*names) -> Path:
        images, out = make_images(tmp_path / "in"), tmp_path / "out"
        export_clusters(images, LABELS, out, names=names)
        (out / ".resnet-kmeans.1.safetensors").touch()  # as a model that is kept
        write_report(LABELS, out / "report.html", images=images, names=names)
        return out

    return make


def by_folder(out, paths, labels) -> bool:
    """Return whether the paths are all images of an export, each labelled with its folder."""
    labelled = {Path(path): label for path, label in zip(paths, labels)}
    return labelled == {path: path.parent.name for path in out.glob("*/*.png")}


def test_scikit_learn_reads_the_clusters_as_labels(export):
    out = export("cats", "dogs", "test")
    loaded = load_files(out, load_content=False)
    assert loaded.target_names == ["cats", "dogs", "test"]
    assert by_folder(out, loaded.filenames, [loaded.target_names[i] for i in loaded.target])


def test_torchvision_reads_the_clusters_as_labels(export):
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    out = export("cats", "dogs", "test")
    loaded = datasets.ImageFolder(out)
    assert loaded.classes == ["cats", "dogs", "test"]
    assert by_folder(out, *zip(*((path, loaded.classes[i]) for path, i in loaded.samples)))


@pytest.fixture
def load_dataset(tmp_path, monkeypatch):
    """`datasets.load_dataset` of Hugging Face's imagefolder, apart from the user's cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging_face"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")

    def load(out, **options):
        options = {"data_dir": str(out), "cache_dir": str(tmp_path / "cache"), **options}
        loaded = datasets.load_dataset("imagefolder", split="train", **options)
        names = loaded.features["label"].names
        images = loaded.cast_column("image", datasets.Image(decode=False))["image"]
        return [image["path"] for image in images], [names[i] for i in loaded["label"]]

    return load


def test_hugging_face_reads_the_clusters_as_labels(export, load_dataset):
    out = export("cats", "dogs", "cluster_2")
    assert by_folder(out, *load_dataset(out))


@pytest.mark.parametrize("name", ["train", "cluster_2_high_speed_train", "test.1"])
def test_hugging_face_reads_clusters_named_like_splits_if_given_all_files(
    export, load_dataset, name
):
    # Without data_files it takes these folders for splits, and skips all others.
    out = export("cats", "dogs", name)
    assert by_folder(out, *load_dataset(out, data_files="**", drop_labels=False))
