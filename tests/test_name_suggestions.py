"""Clusters get the names of the classes that the network sees in their images."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_sample_images
from sklearn.exceptions import NotFittedError

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    name_suggestions,
    suggest_cluster_names,
)
from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.name_suggestions import folder_names
from resnet_kmeans.network import Head

# What the images show: three of dogs on grass, three of cats on grass, three of what it may be.
SEEN = np.array([[0.5, 0, 0.6], [0.6, 0, 0.6], [0.7, 0, 0.6], [0, 0.8, 0.6], [0, 0.9, 0.6]])
SEEN = np.vstack([SEEN, [[0, 0.7, 0.6]], np.full((3, 3), 0.05)])


class Seen(TransformerMixin, BaseEstimator):
    """A stand-in featurizer: an image's name is the number of its row."""

    n_features_out_ = 3

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([SEEN[int(x)] if int(x) < len(SEEN) else [np.nan] * 3 for x in X])


class PlainHead(Head):
    """A head whose probabilities are the features."""

    def probabilities(self, features):
        return features


@pytest.fixture
def clusterer(monkeypatch):
    head = PlainHead(np.eye(3), np.zeros(3), ["dog", "cat", "grass"])
    monkeypatch.setattr(name_suggestions, "head_of_featurizer", lambda featurizer: head)
    images = [str(i) for i in range(9)]
    return ImageFolderClusterer(3, featurizer=Seen(), reducer=None, random_state=0).fit(images)


def by_first_image(clusterer, found):
    return [found[clusterer.labels_[i]] for i in (0, 3, 6)]


@pytest.mark.parametrize("block", [2, 100])
def test_a_class_that_all_clusters_show_is_not_suggested(clusterer, monkeypatch, block):
    monkeypatch.setattr(name_suggestions, "BLOCK", block)
    dog, cat, unknown = by_first_image(clusterer, suggest_cluster_names(clusterer))
    assert dog == ("dog", pytest.approx(0.6))
    assert cat == ("cat", pytest.approx(0.8))
    assert unknown is None


def test_classes_below_min_probability_are_not_suggested(clusterer):
    found = suggest_cluster_names(clusterer, min_probability=0.7)
    assert by_first_image(clusterer, found) == [None, ("cat", pytest.approx(0.8)), None]
    assert None not in suggest_cluster_names(clusterer, min_probability=0)
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        suggest_cluster_names(clusterer, min_probability=1.5)


def test_classes_of_the_same_name_are_added(clusterer, monkeypatch):
    head = PlainHead(np.eye(3), np.zeros(3), ["pet", "grass", "pet"])
    monkeypatch.setattr(name_suggestions, "head_of_featurizer", lambda featurizer: head)
    dog, *_ = by_first_image(clusterer, suggest_cluster_names(clusterer))
    assert dog == ("pet", pytest.approx(1.2))


def test_features_can_be_passed(clusterer, monkeypatch):
    expected = suggest_cluster_names(clusterer)
    monkeypatch.setattr(Seen, "transform", None)
    found = suggest_cluster_names(clusterer, SEEN)
    for one, other in zip(found, expected):
        assert one == other or one == (other[0], pytest.approx(other[1]))


def test_other_images_can_be_passed_and_unreadable_ones_are_skipped(clusterer):
    found = suggest_cluster_names(clusterer, ["2", "99"])
    assert by_first_image(clusterer, found) == [("dog", pytest.approx(0.7)), None, None]


def test_images_deleted_since_the_fit_are_skipped(clusterer):
    clusterer.image_paths_[2] = "99"
    dog, *_ = by_first_image(clusterer, suggest_cluster_names(clusterer))
    assert dog == ("dog", pytest.approx(0.55))


def test_a_fit_to_images_in_memory_needs_them_again(clusterer):
    clusterer.image_paths_ = [f"X[{i}]" for i in range(9)]
    with pytest.raises(ValueError, match=r"images in memory.*Pass images, or their features"):
        suggest_cluster_names(clusterer)


def test_a_loaded_model_needs_images(clusterer):
    del clusterer.labels_, clusterer.image_paths_
    with pytest.raises(ValueError, match=r"loaded from a file.*Pass images, or their features"):
        suggest_cluster_names(clusterer)


def test_an_unfitted_clusterer_raises_an_error():
    with pytest.raises(NotFittedError):
        suggest_cluster_names(ImageFolderClusterer())


@pytest.mark.parametrize(
    "featurizer",
    [
        ResNetFeaturizer(weights=None),
        ResNetFeaturizer(layer="conv4_block6_out"),
        ResNetFeaturizer(pooling="max"),
        Seen(),
    ],
    ids=["untrained", "layer", "max", "other"],
)
def test_features_without_a_known_head_raise_an_error_before_any_work(featurizer):
    with pytest.raises(NetworkError, match="Nothing was computed"):
        name_suggestions.head_of_featurizer(featurizer)


def test_photos_are_named_without_a_second_pass_through_the_network(monkeypatch):
    from resnet_kmeans.network import Network

    photos = load_sample_images().images
    crops = [
        np.ascontiguousarray(p[y:][:320, x:][:, :320])
        for p in photos
        for y in (0, 107)
        for x in (0, 160, 320)
    ]
    featurizer = ResNetFeaturizer(backbone="efficientnet_lite0")
    clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0).fit(crops)
    monkeypatch.setattr(Network, "__call__", None)
    found = suggest_cluster_names(clusterer, crops, min_probability=0.1)
    assert [found[clusterer.labels_[i]][0] for i in (0, -1)] == ["palace", "daisy"]


def test_folder_names_append_the_suggestion():
    found = [("Dalmatian", 0.8), None, ("cardboard box / carton", 0.5), ("jack-o'-lantern", 0.4)]
    names = folder_names([f"cluster_{i}" for i in range(4)], found)
    assert names == [
        *("cluster_0_dalmatian", "cluster_1", "cluster_2_cardboard_box_carton"),
        "cluster_3_jack_o_lantern",
    ]
