"""The report: what it sums up, shows and writes."""

import base64
import io
import os
import re

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image
from sklearn.cluster import DBSCAN

from resnet_kmeans import ImageFolderClusterer, write_report
from resnet_kmeans.report.page import join_modules
from tests.report_page import HOSTILE, ReportPage, cluster_hostile


def gray(value):
    return np.full((20, 30, 3), value, dtype=np.uint8)


def line(*values):
    return np.array(values, dtype=np.float32)[:, None]


@pytest.fixture
def report(tmp_path):
    """A function that writes the report of labels, and reads its page."""

    def report(labels, images=None, **options):
        images = [gray(0)] * len(labels) if images is None else images
        return ReportPage(write_report(labels, tmp_path / "report.html", images=images, **options))

    return report


# --- What it sums up


def test_the_most_typical_images_come_first(report):
    page = report([0, 0, 0, 1, 1, 1], features=line(1, 3, 2.2, 9, 12, 12.1))
    assert page.positions == [[2, 1, 0], [4, 5, 3]]


def test_given_distances_decide_what_is_typical(report):
    (cluster,) = report([4, 4, 4], distances=[3, 1, 2]).clusters
    assert (cluster.label, cluster.name, cluster.size) == (4, "cluster_4", 3)
    assert cluster.positions == [1, 2, 0]


def test_an_image_that_another_cluster_would_rather_have_is_doubtful(report):
    features = line(0, 1, 10, 11, 30, 31, 12)
    page = report([0, 0, 1, 1, 2, 2, 2], features=features)
    assert [image.suggestion for image in page.images] == [1, 1, 0, 0, 1, 1, 1]
    assert np.argmax([image.doubt for image in page.images]) == 6
    assert page.images[6].doubt > 0.5


def test_given_doubts_and_suggestions_are_shown(report):
    page = report([0, 0, 1], doubts=[0.25, 0.75, np.nan], suggestions=[1, 1, -1])
    shown = [(image.doubt, image.suggestion) for image in page.images]
    assert shown == [(0.25, 1), (0.75, 1), (None, -1)]


def test_without_features_there_are_no_doubts_and_no_map(report):
    page = report([0, 1])
    assert [image.doubt for image in page.images] == [None, None]
    assert not page.has_map
    assert page.points == []


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-3, -3, -3], [-3, -3, 7]])
def test_a_clustering_without_doubts_has_a_report(report, labels):
    page = report(labels, features=np.eye(3, dtype=np.float32))
    n_clustered = sum(label >= 0 for label in labels)
    assert sum(cluster.size for cluster in page.clusters) == n_clustered


def test_unreadable_images_are_listed_with_their_reasons(report):
    features = np.array([[1.0], [np.nan], [2.0], [9.0]])
    paths = ["p/a.jpg", "p/b\n.jpg", "p/c.jpg", "p/d.jpg"]
    reasons = {"p/b\n.jpg": "the file is empty"}
    page = report([0, -3, 0, 1], paths, features=features, reasons=reasons)
    assert ("b\\n.jpg", "the file is empty") in page.terms
    assert sorted(point[2] for point in page.points) == [0, 2, 3]


def test_names_are_relative_to_the_common_folder(report):
    page = report([0, 1, -3], ["out/0/a.jpg", "out/1/b.jpg", "in/c.jpg"], reasons={})
    assert [image.name for image in page.images] == ["0/a.jpg", "1/b.jpg"]
    assert "c.jpg" in dict(page.terms)
    assert os.getcwd() not in page.html


def test_clusters_of_equal_names_are_merged(report):
    names = ["cats", "dogs", "cats"]
    page = report([0, 1, 2, 2], names=names, features=line(1, 9, 2, 2.2))
    clusters = [(cluster.label, cluster.name, cluster.size) for cluster in page.clusters]
    assert clusters == [(0, "cats", 3), (1, "dogs", 1)]
    assert page.album["label"] == [0, 0, 0, 1]
    assert "4 images in 2 clusters" in page.text


def test_names_can_be_given_for_some_labels(report):
    page = report([0, 1, 7], names={1: "dogs\n"})
    assert [cluster.name for cluster in page.clusters] == ["cluster_0", "dogs\\n", "cluster_7"]


def test_noise_and_images_set_aside_are_shown_but_not_counted_as_clusters(report):
    page = report([0, 0, 1, 1, -2, -1], features=line(0, 0.1, 5, 5.1, 90, 3))
    names = ["cluster_0", "cluster_1", "noise", "_set_aside"]
    assert [cluster.name for cluster in page.clusters] == names
    assert sorted(point[2] for point in page.points) == [0, 1, 2, 3, 4, 5]
    assert [image.doubt is None for image in page.images] == [False] * 4 + [True] * 2
    assert "4 images in 2 clusters" in page.text


def test_a_pandas_series_of_paths_is_indexed_by_position(report):
    page = report([0, 0], pd.Series(["p/a.jpg", "p/b.jpg"], index=[7, 8]))
    assert [image.name for image in page.images] == ["a.jpg", "b.jpg"]


@pytest.mark.slow
def test_above_a_thousand_images_each_cluster_shows_a_sample(report):
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [2800, 180, 20])
    features = random.normal(size=(3000, 4)) + 3 * labels[:, None]
    paths = [f"{i}" for i in range(3000)]
    page = report(labels, paths, features=features, projection="pca")
    assert [len(cluster.images) for cluster in page.clusters] == [800, 180, 20]
    large = page.clusters[0]
    doubtful = [image.doubt for image in large.images[600:]]
    assert doubtful == sorted(doubtful, reverse=True)
    assert doubtful[0] > 0.2
    assert large.size == 2800
    assert "This page shows 1,000 of them" in page.text
    assert {image.position for image in page.images} == {point[2] for point in page.points}
    rest = np.setdiff1d(np.arange(3000), [image.position for image in page.images])
    assert page.album["hidden"]["placed"] == len(rest)
    assert page.album["hidden"]["wrong"] > 0


@pytest.mark.parametrize(
    "given",
    [
        {"labels": [0, 1]},
        {"labels": [0.5, 1.5, 2.5]},
        {"labels": [0, 1, 2], "features": np.ones((2, 4))},
        {"labels": [0, 1, 2], "distances": [1]},
    ],
    ids=["labels", "fractions", "features", "distances"],
)
def test_different_lengths_raise_an_error_and_write_nothing(given, tmp_path):
    labels = given.pop("labels")
    with pytest.raises(ValueError, match="equal numbers"):
        write_report(labels, tmp_path / "r.html", images=[gray(0)] * 3, **given)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("n_columns", [1, 2, 8])
@pytest.mark.parametrize("n_rows", [1, 2, 5, 12])
def test_a_map_can_be_made_of_any_number_of_rows(report, n_rows, n_columns):
    rows = np.random.default_rng(0).normal(size=(n_rows, n_columns)).astype(np.float32)
    points = np.array(report([0] * n_rows, features=rows).points)
    assert sorted(points[:, 2].astype(int).tolist()) == list(range(n_rows))
    assert points[:, :2].min() >= 0
    assert points[:, :2].max() <= 1


def test_equal_rows_are_in_the_middle_of_the_map(report):
    points = report([0] * 12, features=np.ones((12, 4), dtype=np.float32)).points
    assert [point[:2] for point in points] == [[0.5, 0.5]] * 12


@pytest.mark.parametrize("projection", ["auto", "pca", "tsne"])
def test_a_map_keeps_groups_apart(report, projection):
    rows = np.random.default_rng(0).normal(size=(60, 8)) + 20 * (np.arange(60) % 2)[:, None]
    points = report([0] * 60, features=rows.astype(np.float32), projection=projection).points
    places = np.array([point[:2] for point in points])
    assert np.linalg.norm(places[::2].mean(axis=0) - places[1::2].mean(axis=0)) > 0.3


def test_an_unknown_projection_raises_an_error(report, tmp_path):
    with pytest.raises(ValueError, match="'lda'"):
        report([0] * 20, features=np.eye(20), projection="lda")
    assert os.listdir(tmp_path) == []


# --- The page


@pytest.fixture(scope="module")
def clusterer(pictures, stand_in, tmp_path_factory):
    return cluster_hostile(pictures, tmp_path_factory.mktemp("report") / "photos", stand_in)


@pytest.fixture(scope="module")
def page(clusterer, tmp_path_factory):
    return write_report(clusterer, tmp_path_factory.mktemp("page") / "report.html")


def test_a_page_shows_all_results_of_a_clusterer(page, clusterer):
    text = page.read_text()
    assert "26 images in 5 clusters" in text
    shown = [(cluster.name, cluster.size) for cluster in ReportPage(page).clusters]
    sizes = np.bincount(clusterer.labels_[clusterer.labels_ >= 0]).tolist()
    assert shown == [(f"cluster_{label}", size) for label, size in enumerate(sizes)]
    assert "<dt>broken.jpg</dt><dd>the file is empty</dd>" in text
    assert clusterer.pipeline_["featurizer"].fingerprint_ in text
    assert "<dt>Clusters</dt><dd>5</dd>" in text
    assert "<dt>Seed</dt><dd>0</dd>" in text
    assert "KMeans(n_clusters=5, n_init=10, random_state=0)" in text
    assert "scikit-learn 1." in text
    assert text.count("data:image/jpeg;base64,") == 26


def test_a_page_makes_no_requests(page):
    text = page.read_text()
    loaded = re.findall(r'<(?!a\b)[^>]*\b(?:src|href|poster|srcset)="([^"]*)"', text)
    assert len(loaded) > 1
    assert [address for address in loaded if not address.startswith("data:")] == []
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", text)
    assert "http:" not in text
    assert "https:" not in text


def test_file_names_are_escaped_everywhere(page):
    text = page.read_text()
    assert HOSTILE not in text
    assert "</script><b>" not in text
    names = ReportPage(page).album["name"]
    assert {f"{HOSTILE}.png", r"</script><b>\n\udcff\u202e.png"} <= set(names)


def test_links_are_relative_to_the_page(page):
    links = [image.link for image in ReportPage(page).images]
    assert len(links) == 26
    assert all(link.startswith("../report0/photos/") for link in links)
    assert any(link.endswith("/%3CIMG%20src%3Dx%20onerror%3Dalert%281%29%3E.png") for link in links)


def test_labels_alone_make_a_page(report):
    page = report([0, 0, 1], [gray(0), gray(9), gray(200)])
    assert "3 images in 2 clusters" in page.text
    assert [image.name for image in page.images] == ["X[0]", "X[1]", "X[2]"]


def test_a_missing_image_has_no_thumbnail(report, photo):
    page = report([0, 1], [photo, photo.with_name("gone.jpg")])
    assert [bool(image.thumbnail) for image in page.images] == [True, False]


def test_a_page_that_can_be_mailed_tells_no_absolute_path(clusterer, tmp_path, stand_in):
    text = write_report(clusterer, tmp_path / "report.html").read_text()
    assert stand_in.name in text
    assert str(stand_in.parent) not in text
    assert os.path.dirname(clusterer.image_paths_[0]) not in text


def test_given_facts_are_shown(tmp_path):
    page = write_report([0], tmp_path / "r.html", images=[gray(0)], facts={"Seed": 7})
    assert "<dt>Seed</dt><dd>7</dd>" in page.read_text()


def test_an_older_report_is_replaced_but_no_other_file(tmp_path):
    page = tmp_path / "r.html"
    for n_images in (1, 2):
        write_report([0] * n_images, page, images=[gray(0)] * n_images)
    assert "2 images in 1 cluster<" in page.read_text()
    assert os.listdir(tmp_path) == ["r.html"]
    page.write_text("my own page")
    with pytest.raises(FileExistsError, match=r"r\.html"):
        write_report([0], page, images=[gray(0)])
    assert page.read_text() == "my own page"


def test_noise_of_a_scikit_learn_clusterer_is_shown_as_noise(tmp_path):
    features = np.array([[0.0], [0.1], [5.0], [5.1], [99.0]])
    clusterer = DBSCAN(eps=1, min_samples=2).fit(features)
    assert clusterer.labels_.tolist() == [0, 0, 1, 1, -1]
    paths = [f"{i}.png" for i in range(5)]
    write_report(clusterer, tmp_path / "report.html", images=paths, features=features)
    page = ReportPage(tmp_path / "report.html")
    assert [(cluster.name, cluster.size) for cluster in page.clusters][-1] == ("noise", 1)
    assert "reason unknown" not in page.html


def test_labels_without_images_raise_an_error(tmp_path):
    with pytest.raises(ValueError, match="images=paths"):
        write_report([0, 1], tmp_path / "r.html")


def test_a_clusterer_without_labels_raises_an_error(tmp_path):
    with pytest.raises(ValueError, match="ImageFolderClusterer without labels_"):
        write_report(ImageFolderClusterer(), tmp_path / "r.html")
    assert os.listdir(tmp_path) == []


def test_a_clusterer_is_judged_by_the_features_that_it_kept(page, clusterer):
    readable = np.flatnonzero(clusterer.labels_ >= 0)
    judged = ReportPage(page).images
    again = write_report(
        clusterer.labels_,
        page.with_name("again.html"),
        images=clusterer.image_paths_,
        features=clusterer.image_features_,
    )
    assert [im.doubt for im in judged] == [im.doubt for im in ReportPage(again).images]
    assert len(judged) == len(readable)


def test_a_thumbnail_tells_nothing_but_the_picture(report, tmp_path):
    picture, exif = Image.new("RGB", (40, 30)), Image.Exif()
    exif[ExifTags.Base.Artist] = "me"
    picture.save(tmp_path / "a.jpg", comment=b"home" * 16_000, exif=exif, xmp=b"<x:xmpmeta/>")
    (image,) = report([0], [tmp_path / "a.jpg"]).images
    shown = Image.open(io.BytesIO(base64.b64decode(image.thumbnail.partition(",")[2])))
    assert image.size == (40, 30)
    assert set(shown.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_a_thousand_thumbnails_of_noise_stay_under_20_mb(report):
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    (image,) = report([0], [noise]).images
    assert 1000 * len(image.thumbnail) < 19.5e6


def test_a_thumbnail_shows_the_whole_image(report):
    images = [Image.new("RGB", (4000, 1000)), Image.new("RGB", (20, 10)), b"no image"]
    page = report([0, 0, 0], images)
    assert [image.size for image in page.images] == [(320, 80), (20, 10), (0, 0)]


def test_damaged_metadata_does_not_warn(tmp_path):
    path = tmp_path / "photo.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01"
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    page = write_report([0], tmp_path / "r.html", images=[path])
    assert page.read_text().count("data:image/jpeg") == 1


@pytest.mark.parametrize("way", ["served", "mailed"])
def test_the_modules_of_a_page_join_into_one_scope(way):
    script = join_modules(f"{way}.js")
    declared = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert len(declared) > 100
    assert len(set(declared)) == len(declared)
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    others = {"served": "localStorage", "mailed": "fetch("}
    assert others[way] not in script
