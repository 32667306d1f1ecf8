"""The four original functions keep their signatures and do what they did."""

import csv
import inspect

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_files, make_blobs
from sklearn.metrics import adjusted_rand_score

from resnet_kmeans import (
    ResNetFeaturizer,
    cluster_images,
    extract_features,
    find_and_cluster_images,
    find_images,
    save_clustered_images,
)
from resnet_kmeans.exceptions import (
    FolderNotFoundError,
    NoImagesError,
    OutputFolderError,
    UnreadableImagesWarning,
    WeightsNotFoundError,
)
from resnet_kmeans.sample_pictures import group_of


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (extract_features, "(folder_path, model, input_shape=(224, 224))"),
        (cluster_images, "(features, n_clusters=5)"),
        (save_clustered_images, "(labels, file_paths, output_folder)"),
        (find_and_cluster_images, "(input_folder, output_folder, n_clusters=5)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_signatures_and_defaults_stay(function, signature):
    bare = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    assert str(inspect.Signature(bare)) == signature


@pytest.mark.slow
def test_extract_features_returns_the_predictions_of_the_model(pictures, keras, tiny):
    features, paths = extract_features(pictures, tiny, (32, 32))
    assert paths == [str(path) for path in find_images(pictures)]
    bilinear = Image.Resampling.BILINEAR
    pixels = np.stack([Image.open(p).convert("RGB").resize((32, 32), bilinear) for p in paths])
    prepared = keras.applications.resnet50.preprocess_input(pixels.astype(np.float32))
    expected = tiny.predict(prepared, verbose=0).reshape(24, -1)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.slow
def test_extract_features_leaves_unreadable_images_out(pictures, tiny, tmp_path):
    (tmp_path / "a.png").write_bytes(find_images(pictures)[0].read_bytes())
    (tmp_path / "b.png").touch()
    with pytest.warns(UnreadableImagesWarning, match=r"b\.png") as warned:
        features, paths = extract_features(tmp_path, tiny, (32, 32))
    assert warned[0].filename == __file__
    assert paths == [str(tmp_path / "a.png")]
    assert len(features) == 1


def test_extract_features_of_a_folder_without_images_raises_an_error(tmp_path):
    with pytest.raises(NoImagesError):
        extract_features(tmp_path, None)
    with pytest.raises(FolderNotFoundError, match="gone"):
        extract_features(tmp_path / "gone", None)


def test_cluster_images_is_a_deterministic_kmeans():
    features, groups = make_blobs(90, 8, centers=5, random_state=0)
    labels = cluster_images(features)
    assert adjusted_rand_score(groups, labels) == 1
    np.testing.assert_array_equal(cluster_images(features), labels)
    assert set(cluster_images(features, 2)) == {0, 1}


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # scikit-learn's own
def test_cluster_images_never_parts_rows_that_are_the_same():
    different = np.random.default_rng(2).normal(size=(8, 64)).astype(np.float32)
    labels = cluster_images(different.repeat(10, axis=0), 20).reshape(8, 10)
    assert (labels == labels[:, :1]).all()


def test_save_clustered_images_copies_to_folders(pictures, tmp_path):
    paths = find_images(pictures)
    save_clustered_images(np.arange(24) % 3, paths, tmp_path / "out")
    read = load_files(tmp_path / "out", load_content=False)
    assert read.target_names == ["cluster_0", "cluster_1", "cluster_2"]
    assert len(read.filenames) == 24
    assert all(path.exists() for path in paths)


def test_find_and_cluster_images_writes_one_folder_per_cluster(
    pictures, stand_in, tmp_path, monkeypatch
):
    # The function has no parameter for the network: it takes the default one.
    monkeypatch.setitem(ResNetFeaturizer.__init__.__kwdefaults__, "weights", str(stand_in))
    assert find_and_cluster_images(pictures, tmp_path / "out", 6) is None
    with open(tmp_path / "out" / "clusters.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert sorted(row["source_path"] for row in rows) == sorted(map(str, find_images(pictures)))
    groups = [group_of(row["source_path"]) for row in rows]
    assert adjusted_rand_score(groups, [row["cluster"] for row in rows]) > 0.9


def test_the_input_as_output_folder_raises_an_error_before_any_work(pictures):
    with pytest.raises(OutputFolderError, match="not empty"):
        find_and_cluster_images(pictures, pictures)


@pytest.mark.slow
def test_without_weights_nothing_is_written(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(WeightsNotFoundError):
        find_and_cluster_images(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()
