"""Displays draw what a summary says, on axes of their own or given ones."""

import copy
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics import silhouette_score
from sklearn.model_selection import GridSearchCV

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, choose_n_clusters
from resnet_kmeans.clustering import Evaluation
from resnet_kmeans.display import (
    ClusterMapDisplay,
    ConfusionDisplay,
    ContactSheetDisplay,
    NClustersDisplay,
    SilhouetteDisplay,
)
from tests.numbered_images import NAMES, Numbers

pyplot = pytest.importorskip("matplotlib.pyplot", reason="the plot extra is not installed")
CLUSTERING_DISPLAYS = [ClusterMapDisplay, ContactSheetDisplay, SilhouetteDisplay]


@pytest.fixture(autouse=True)
def _no_windows():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@pytest.fixture
def clustering():
    """Images in two gray tones with labels and rows to match."""
    tones = [0, 10, 20, 235, 245, 255]
    images = [np.full((30, 40, 3), tone, dtype=np.uint8) for tone in tones]
    return {"images": images, "labels": [0, 0, 0, 1, 1, 1], "features": np.c_[tones, tones]}


@pytest.fixture(scope="module")
def clusterer(pictures, stand_in):
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    return ImageFolderClusterer(3, featurizer=featurizer, random_state=0).fit(pictures)


@pytest.mark.parametrize("display", CLUSTERING_DISPLAYS)
def test_a_fitted_clusterer_is_drawn(display, clusterer, tmp_path):
    drawn = display.from_estimator(clusterer)
    assert drawn.figure_ is drawn.ax_.figure
    drawn.figure_.savefig(tmp_path / "drawn.png", dpi=40)
    assert (tmp_path / "drawn.png").stat().st_size > 1000


@pytest.mark.parametrize("display", CLUSTERING_DISPLAYS)
def test_given_axes_are_drawn_on(display, clustering):
    axes = pyplot.figure().subplots(1, 2)
    drawn = display.from_predictions(**clustering, ax=axes[1])
    assert drawn.ax_ is axes[1]
    assert not axes[0].has_data()
    assert len(pyplot.get_fignums()) == 1


def test_a_contact_sheet_shows_the_most_typical_images_first(clustering):
    drawn = ContactSheetDisplay.from_predictions(**clustering, n_images=2)
    sheet = drawn.ax_.images[0].get_array()
    assert sheet.shape == (256, 256, 4)
    assert [sheet[60, 60, 0], sheet[60, 190, 0]] == [10, 0]
    assert [sheet[190, 60, 0], sheet[190, 190, 0]] == [245, 235]
    assert [label.get_text() for label in drawn.ax_.get_yticklabels()] == [
        "cluster_0\n3 images",
        "cluster_1\n3 images",
    ]


@pytest.mark.parametrize("display", CLUSTERING_DISPLAYS)
def test_clusters_are_drawn_by_name_and_equal_names_are_merged(display, clusterer):
    named = copy.deepcopy(clusterer).set_cluster_names(["dots", "stripes", "dots"])
    ax = display.from_estimator(named).ax_
    texts = [label.get_text() for label in ax.get_yticklabels()]
    texts = texts or [points.get_label() for points in ax.collections]
    assert [text.split("\n")[0] for text in texts] == ["dots", "stripes"]


def test_the_gaps_of_a_contact_sheet_show_the_background_of_the_style(clustering):
    clustering["labels"] = [0, 0, 1, 1, 1, 1]
    sheet = ContactSheetDisplay.from_predictions(**clustering).ax_.images[0].get_array()
    assert (sheet[0, :, 3] == 0).all()
    assert sheet[60, 60::128, 3].tolist() == [255, 255, 0, 0]  # as wide as the longest row


@pytest.mark.parametrize("display", [ContactSheetDisplay, SilhouetteDisplay])
@pytest.mark.parametrize("is_given", [True, False])
def test_the_names_of_many_clusters_do_not_overlap(display, is_given):
    sizes = [1, 1, 1, 30, 1, 2] * 6
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.c_[labels, np.arange(len(labels)) % 7]
    images = [np.zeros((4, 4, 3), dtype=np.uint8)] * len(labels)
    figure = pyplot.figure(figsize=(6, 6), layout="constrained") if is_given else None
    ax = figure and figure.subplots(1, 2)[1]
    drawn = display.from_predictions(images, labels, features=rows, ax=ax)
    drawn.figure_.draw_without_rendering()
    names = [label.get_window_extent() for label in drawn.ax_.get_yticklabels()]
    assert len(names) == len(sizes)
    assert is_given or drawn.ax_.get_yticklabels()[0].get_fontsize() > 5
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(names))


def test_labels_can_be_drawn_with_names(clustering):
    drawn = ContactSheetDisplay.from_predictions(**clustering, names={1: "bright"})
    texts = [label.get_text() for label in drawn.ax_.get_yticklabels()]
    assert texts == ["cluster_0\n3 images", "bright\n3 images"]


def test_noise_is_drawn_without_silhouettes(clustering):
    clustering["labels"] = [0, 0, -1, 1, 1, 1]
    sheet = ContactSheetDisplay.from_predictions(**clustering)
    assert sheet.ax_.get_yticklabels()[-1].get_text() == "noise\n1 image"
    drawn = SilhouetteDisplay.from_predictions(**clustering)
    assert [label.get_text() for label in drawn.ax_.get_yticklabels()] == ["cluster_0", "cluster_1"]


def test_a_contact_sheet_needs_no_features_and_shows_a_missing_image_gray(tmp_path):
    drawn = ContactSheetDisplay.from_predictions([tmp_path / "gone.jpg"], [0], n_images=1)
    assert drawn.ax_.images[0].get_array()[60, 60].tolist() == [211, 211, 211, 255]


def test_a_contact_sheet_does_not_warn_of_damaged_metadata(tmp_path):
    path = tmp_path / "photo.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01"
    Image.new("RGB", (40, 30), "red").save(path, exif=exif)
    drawn = ContactSheetDisplay.from_predictions([path], [0], n_images=1)
    assert drawn.ax_.images[0].get_array()[60, 60, 0] > 250


def test_silhouettes_are_drawn_with_their_mean(clustering):
    drawn = SilhouetteDisplay.from_predictions(**clustering)
    labels = np.array(clustering["labels"])
    known = labels >= 0
    mean = silhouette_score(np.array(clustering["features"])[known], labels[known])
    assert drawn.ax_.lines[0].get_xdata()[0] == pytest.approx(mean)
    assert drawn.ax_.get_title() == f"mean {mean:.2f}"
    bars = [patch.get_data() for patch in drawn.ax_.patches]
    assert [len(bar.values) for bar in bars] == [3, 3]
    # An image is a row of height 1, and the first cluster is at the top.
    assert all(np.diff(bar.edges) == pytest.approx(1) for bar in bars)
    heights = [drawn.ax_.transData.transform((0, bar.edges[0]))[1] for bar in bars]
    assert heights[0] > heights[1]


def test_a_map_draws_every_image_once(clustering):
    drawn = ClusterMapDisplay.from_predictions(**clustering)
    assert [len(points.get_offsets()) for points in drawn.ax_.collections] == [3, 3]
    assert len(drawn.ax_.images) == 2
    bare = ClusterMapDisplay.from_predictions(**clustering, thumbnails=False)
    assert len(bare.ax_.images) == 0


def _draw_map(n, n_clusters, ax=None):
    # Two columns, so that the map is a projection onto principal components.
    random = np.random.default_rng(0)
    rows = random.random((n, 2)) * [1, 0.6]
    images = [np.full((4, 4, 3), i % 256, dtype=np.uint8) for i in range(n)]
    labels = np.r_[np.arange(n_clusters), random.integers(n_clusters, size=n - n_clusters)]
    drawn = ClusterMapDisplay.from_predictions(images, labels, features=rows, ax=ax)
    drawn.figure_.draw_without_rendering()
    return drawn


@pytest.mark.parametrize(("n", "n_clusters"), [(50, 2), (500, 30), (2500, 100)])
@pytest.mark.parametrize("is_given", [True, False])
def test_thumbnails_cover_neither_points_nor_each_other(n, n_clusters, is_given):
    figure = pyplot.figure(figsize=(6, 2), layout="constrained") if is_given else None
    ax = _draw_map(n, n_clusters, figure and figure.subplots(1, 3)[1]).ax_
    # A point is a disk of 12 square points, and its edge is a line of one point.
    radius = (np.sqrt(12) + 1) / 2 * ax.figure.dpi / 72
    points = np.concatenate([ax.transData.transform(c.get_offsets()) for c in ax.collections])
    boxes = [image.get_window_extent() for image in ax.images]
    assert (len(points), len(boxes)) == (n, min(n_clusters, 48))
    for i, box in enumerate(boxes):
        outside = np.maximum(np.array(box.min) - points, points - np.array(box.max)).max(axis=1)
        assert outside.min() > radius
        assert ax.bbox.x0 < box.x0 < box.x1 < ax.bbox.x1
        assert ax.bbox.y0 < box.y0 < box.y1 < ax.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert box.width == pytest.approx(box.height)


def test_each_thumbnail_is_joined_to_its_point_in_the_color_of_the_cluster():
    ax = _draw_map(200, 30).ax_
    by_color = {}
    for points in ax.collections:
        by_color.setdefault(tuple(points.get_facecolor()[0]), []).extend(points.get_offsets())
    for line, image in zip(ax.lines, ax.images, strict=True):
        point, end = line.get_xydata()
        assert (by_color[line.get_color()] == point).all(axis=1).any()
        left, right, bottom, top = image.get_extent()
        gap = np.abs(end - [(left + right) / 2, (bottom + top) / 2]).max()
        assert gap == pytest.approx((right - left) / 2)  # the line ends at the edge
        frame = image.get_array()[0, 0] / 255
        assert frame.tolist() == pytest.approx(line.get_color()[:3], abs=0.01)


def test_the_lines_to_thumbnails_do_not_cross():
    lines = [line.get_path() for line in _draw_map(500, 48).ax_.lines]
    assert not any(a.intersects_path(b) for i, a in enumerate(lines) for b in lines[:i])


def test_of_too_many_clusters_the_largest_have_thumbnails():
    sizes = np.r_[np.full(10, 1), np.full(48, 2)]
    labels = np.repeat(np.arange(58), sizes)
    tones = (labels >= 10) * 200
    images = [np.full((4, 4, 3), tone, dtype=np.uint8) for tone in tones]
    rows = np.c_[labels % 8, labels // 8]
    ax = ClusterMapDisplay.from_predictions(images, labels, features=rows).ax_
    assert [image.get_array()[60, 60, 0] for image in ax.images] == [200] * 48


@pytest.mark.parametrize("display", [ClusterMapDisplay, SilhouetteDisplay])
def test_displays_that_need_features_raise_an_error_without(display, clustering):
    with pytest.raises(ValueError, match=display.__name__):
        display.from_predictions(clustering["images"], clustering["labels"])


def test_tuples_of_scores_are_drawn():
    table = [(k, 0.3 - 0.1 * abs(k - 4), 10) for k in range(2, 7)]
    drawn = NClustersDisplay.from_predictions(table, 4)
    scores, chosen = drawn.ax_.lines
    assert scores.get_xdata().tolist() == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(scores.get_ydata(), [0.1, 0.2, 0.3, 0.2, 0.1])
    assert chosen.get_xdata()[0] == 4
    assert all(tick == int(tick) for tick in drawn.ax_.get_xticks())


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_the_mean_and_the_chosen_number_are_marked_in_the_color_of_text(style, clustering):
    with pyplot.style.context(style):
        lines = [
            NClustersDisplay.from_predictions([(2, 0.1), (3, 0.2)], 3).ax_.lines[1],
            SilhouetteDisplay.from_predictions(**clustering).ax_.lines[0],
        ]
        assert {line.get_color() for line in lines} == {pyplot.rcParams["text.color"]}


@pytest.mark.parametrize("words", ["dog", "a rather long name"])
@pytest.mark.parametrize("n", [1, 24])
def test_nothing_of_a_confusion_table_is_cut_off(n, words):
    names = [f"{words} {i}" for i in range(n)]
    found = Evaluation(0.12, -0.12, 0.12, names[:12], names, np.ones((min(n, 12), n), dtype=int))
    _check_that_nothing_is_cut_off(ConfusionDisplay(found).plot().figure_)


def test_long_names_beside_a_contact_sheet_are_not_cut_off():
    images = [np.zeros((4, 4, 3), dtype=np.uint8)] * 80
    names = [f"a rather long name {i}" for i in range(10)]
    drawn = ContactSheetDisplay.from_predictions(images, np.arange(80) % 10, names=names)
    _check_that_nothing_is_cut_off(drawn.figure_)


def _check_that_nothing_is_cut_off(figure):
    figure.draw_without_rendering()
    box = figure.get_tightbbox()  # in inches
    assert min(box.x0, box.y0) >= 0
    assert (box.max <= figure.get_size_inches()).all()


def test_the_result_of_choose_n_clusters_is_drawn():
    estimator = ImageFolderClusterer(featurizer=Numbers(), random_state=0)
    choice = choose_n_clusters(NAMES[:80], [3, 4, 5], estimator=estimator)
    drawn = NClustersDisplay.from_estimator(choice)
    assert drawn.ax_.get_title() == "4 clusters"
    assert drawn.ax_.lines[1].get_xdata()[0] == 4
    scores = [row.score for row in choice.table]
    np.testing.assert_allclose(drawn.ax_.lines[0].get_ydata(), scores)
    assert drawn.ax_.get_ylabel() == "score"


class _Scores(ClusterMixin, BaseEstimator):
    def __init__(self, n_clusters=2):
        self.n_clusters = n_clusters

    def fit(self, X, y=None):
        return self

    def score(self, X, y=None):
        return 1 / (1 + abs(self.n_clusters - 3))


def test_a_grid_search_is_drawn():
    search = GridSearchCV(_Scores(), {"n_clusters": [5, 2, 3]}, cv=2).fit(np.zeros((6, 1)))
    drawn = NClustersDisplay.from_estimator(search)
    assert drawn.ax_.lines[0].get_xdata().tolist() == [2, 3, 5]
    assert drawn.chosen == 3


def test_without_matplotlib_the_error_names_the_extra(monkeypatch, clustering):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"resnet-kmeans\[plot\]"):
        ContactSheetDisplay.from_predictions(**clustering)


@pytest.mark.parametrize("estimator", [ImageFolderClusterer(3), ResNetFeaturizer(layer="x")])
def test_notebooks_show_an_estimator_as_a_diagram(estimator):
    page = estimator._repr_html_()
    assert f"<div>{type(estimator).__name__}</div>" in page
    assert "sk-estimator" in page
    # A featurizer needs no fit, so only the clusterer tells whether it was.
    assert (">Not fitted<" in page) == isinstance(estimator, ImageFolderClusterer)


def test_notebooks_show_the_steps_of_a_fitted_clusterer(clusterer):
    page = clusterer.pipeline_._repr_html_()
    assert all(step in page for step in ("ResNetFeaturizer", "KMeans"))
    assert ">Fitted<" in clusterer._repr_html_()
