"""Displays draw what a summary says, on axes of their own or given ones."""

import copy
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics import silhouette_score
from sklearn.model_selection import GridSearchCV

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, choose_n_clusters
from resnet_kmeans.display import (
    ClusterMapDisplay,
    ContactSheetDisplay,
    NClustersDisplay,
    SilhouetteDisplay,
)
from tests.numbered_images import NAMES, Numbers

matplotlib = pytest.importorskip("matplotlib", reason="the plot extra is not installed")
CLUSTERING_DISPLAYS = [ClusterMapDisplay, ContactSheetDisplay, SilhouetteDisplay]


@pytest.fixture(autouse=True)
def _no_windows():
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


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
    axes = matplotlib.pyplot.figure().subplots(1, 2)
    drawn = display.from_predictions(**clustering, ax=axes[1])
    assert drawn.ax_ is axes[1]
    assert not axes[0].has_data()
    assert len(matplotlib.pyplot.get_fignums()) == 1


def test_a_contact_sheet_shows_the_most_typical_images_first(clustering):
    drawn = ContactSheetDisplay.from_predictions(**clustering, n_images=2)
    sheet = drawn.ax_.images[0].get_array()
    assert sheet.shape == (256, 256, 3)
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
    assert drawn.ax_.images[0].get_array()[60, 60].tolist() == [211, 211, 211]


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
    assert len(drawn.ax_.collections) == 2


def test_a_map_draws_every_image_once(clustering):
    drawn = ClusterMapDisplay.from_predictions(**clustering)
    assert [len(points.get_offsets()) for points in drawn.ax_.collections] == [3, 3]
    assert len(drawn.ax_.artists) == 2
    bare = ClusterMapDisplay.from_predictions(**clustering, thumbnails=False)
    assert len(bare.ax_.artists) == 0


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
