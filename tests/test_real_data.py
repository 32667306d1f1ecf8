"""The main job on real photos with genuine weights, where RESNET_KMEANS_TEST_DATA has them."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    confirm_images,
    find_images,
)
from resnet_kmeans.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(test_data):
    return test_data / "images"


@pytest.fixture(scope="module")
def densenet(test_data):
    weights = test_data / "weights" / "densenet169_imagenet_notop_avg.keras"
    return {"weights": str(weights), "preprocess": "torch"}


@pytest.fixture(scope="module")
def resnet(test_data):
    weights = test_data / "weights" / "resnet50_imagenet_conv1-4_notop.h5"
    return {"weights": str(weights), "layer": "conv4_block6_out"}


def test_the_command_finds_25_classes_with_an_inner_layer_of_resnet50(
    photos, resnet, tmp_path, capsys
):
    options = ["-k", "25", "--seed", "0", "--quiet"]
    options += [word for name, value in resnet.items() for word in (f"--{name}", value)]
    assert main(["cluster", str(photos / "caltech101a"), str(tmp_path / "out"), *options]) == 0
    with open(tmp_path / "out" / "clusters.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = [row["source_path"].split("/")[-2] for row in rows]
    assert adjusted_mutual_info_score(classes, [row["cluster"] for row in rows]) > 0.65
    assert len([path for path in (tmp_path / "out").iterdir() if path.is_dir()]) == 25
    assert len(rows) == 1319


def test_the_network_that_comes_through_pip_finds_25_classes(photos):
    featurizer = ResNetFeaturizer(backbone="efficientnet_lite0")
    clusterer = ImageFolderClusterer(25, featurizer=featurizer, random_state=0)
    labels = clusterer.fit_predict(photos / "caltech101a")
    classes = [path.parent.name for path in clusterer.image_paths_]
    assert adjusted_mutual_info_score(classes, labels) > 0.9


def test_a_whole_network_finds_classes_and_labels_new_photos_in_another_process(
    photos, densenet, tmp_path
):
    paths = find_images(photos / "trashnet6")[::2]
    featurizer = ResNetFeaturizer(**densenet)
    clusterer = ImageFolderClusterer(6, featurizer=featurizer, random_state=0).fit(paths)
    classes = [path.parent.name for path in paths]
    assert adjusted_mutual_info_score(classes, clusterer.labels_) > 0.3
    clusterer.save(tmp_path / "model")
    new = [str(path) for path in find_images(photos / "trashnet6")[1:40:2]]
    program = (
        "import sys; from resnet_kmeans import ImageFolderClusterer as C;"
        "print(*C.load(sys.argv[1]).predict(sys.argv[2:]))"
    )
    run = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "model"), *new]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(label) for label in clusterer.predict(new)]


def test_new_photos_find_the_folders_that_a_person_corrected(photos, tmp_path):
    paths, out = np.random.default_rng(0).permutation(find_images(photos / "trashnet6")), tmp_path
    new, old = paths[:108], paths[108:]
    featurizer = ResNetFeaturizer(backbone="efficientnet_lite0")
    ImageFolderClusterer(6, featurizer=featurizer, random_state=0).fit(old).export(out / "out")
    rows = confirm_images(out / "out", [], dry_run=True)
    right = {row.exported_path: Path(row.source_path).parent.name for row in rows}
    apply_curation(out / "out", {"moves": right})
    added = add_images(out / "out", new)
    assert np.mean([row.name == Path(row.source_path).parent.name for row in added]) > 0.7
    again = ImageFolderClusterer.from_export(out / "out").predict(new)
    assert len(np.unique(again)) == 6


def test_precisions_agree_on_the_labels_of_real_photos(photos, densenet):
    paths = find_images(photos / "caltech101a")[::10]
    pipeline = Pipeline(
        [
            ("features", ResNetFeaturizer(**densenet, precision="float32")),
            ("kmeans", KMeans(10, n_init=10, random_state=0)),
        ]
    )
    exact = pipeline.fit_predict(paths)
    pipeline.set_params(features__precision="bfloat16")
    pipeline["features"].fit(paths)
    assert np.mean(pipeline.predict(paths) == exact) >= 0.99


def test_int8_features_of_real_photos_point_where_those_of_float32_point(photos):
    pytest.importorskip("nncf", reason="nncf, the int8 extra, is not installed")
    paths = find_images(photos)[::30]  # of all five sets
    exact, rows = (
        normalize(ResNetFeaturizer(backbone="efficientnet_lite0", precision=p).transform(paths))
        for p in ("float32", "int8")
    )
    cosines = (exact * rows).sum(axis=1)
    assert cosines.mean() > 0.99
    assert cosines.min() > 0.95


def test_large_photos_are_decoded_fast_but_show_the_same(test_data, stand_in, tmp_path):
    folder = test_data / "images_hard" / "exif_rotation"
    large = [path for path in find_images(folder) if "Landscape" in path.name]
    assert large
    whole = [tmp_path / f"{path.stem}.png" for path in large]
    for path, upright in zip(large, whole):
        ImageOps.exif_transpose(Image.open(path)).save(upright, compress_level=1)
    # Mean colors from 0 to 1 of a grid; JPEG files are decoded at a fraction of their size.
    fast, exact = map(ResNetFeaturizer(weights=stand_in).transform, (large, whole))
    np.testing.assert_allclose(fast, exact, atol=0.01)
    assert not np.array_equal(fast, exact)
