"""A clusterer that cannot predict does, by the nearest rows of its fit."""

import numpy as np
from sklearn.base import clone
from sklearn.cluster import DBSCAN, AgglomerativeClustering

from resnet_kmeans.clustering.nearest import NearestLabels

ROWS = np.array([[x, 0] for x in (0, 1, 2, 3, 4, 20, 21, 22, 23, 24)], dtype=np.float32)


def test_new_rows_get_the_label_of_the_nearest_rows():
    nearest = NearestLabels(AgglomerativeClustering(2)).fit(ROWS)
    first, last = nearest.labels_[[0, -1]]
    np.testing.assert_array_equal(nearest.labels_, [first] * 5 + [last] * 5)
    assert nearest.predict([[-3, 1], [40, 2], [11.4, 0]]).tolist() == [first, last, first]


def test_rows_of_the_fit_keep_their_labels():
    rows = np.array([[0.0], [1], [1.1], [1.2], [1.3], [9]])
    nearest = NearestLabels(DBSCAN(eps=0.5, min_samples=2)).fit(rows)
    assert nearest.labels_.tolist() == [-1, 0, 0, 0, 0, -1]
    np.testing.assert_array_equal(nearest.predict(rows), nearest.labels_)


def test_a_tie_is_decided_by_distance():
    rows = np.array([[0.0], [0.1], [4], [4.1], [4.2]])  # the two of one side are nearer
    nearest = NearestLabels(AgglomerativeClustering(2)).fit(rows)
    assert nearest.predict([[0.05]])[0] == nearest.labels_[0]
    assert nearest.predict([[2.5]])[0] == nearest.labels_[-1]


def test_fewer_rows_than_neighbours_can_be_fitted():
    nearest = NearestLabels(AgglomerativeClustering(1)).fit(ROWS[:2])
    assert nearest.predict(ROWS).tolist() == [0] * 10


def test_new_rows_among_noise_are_noise():
    nearest = NearestLabels(DBSCAN(eps=2, min_samples=5)).fit(np.append(ROWS[:5], [[90, 0]] * 3, 0))
    assert nearest.predict([[88, 0], [2, 1]]).tolist() == [-1, 0]


def test_the_given_clusterer_is_cloned():
    given = AgglomerativeClustering(2)
    nearest = clone(NearestLabels(given)).fit(ROWS)
    assert not hasattr(given, "labels_")
    assert nearest.get_params()["clusterer__n_clusters"] == 2
