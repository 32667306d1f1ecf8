"""Neighbours are exact, found block by block; graphs weigh what neighbourhoods share."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from resnet_kmeans.clustering import neighbours
from resnet_kmeans.clustering.neighbours import jaccard_graph, modularity, nearest

TRIANGLES = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]])


@pytest.mark.parametrize("cells", [2**23, 100], ids=["one block", "a row at a time"])
def test_neighbours_are_the_nearest_by_cosine(cells, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_CELLS", cells)
    rows = np.random.default_rng(0).normal(size=(80, 5))
    exact = NearestNeighbors(n_neighbors=7, metric="cosine").fit(rows).kneighbors()[1]
    np.testing.assert_array_equal(nearest(rows, 7), exact)


def test_equal_rows_are_neighbours_but_no_row_is_its_own():
    found = nearest(np.ones((6, 3)), 5)
    assert [sorted(row) for row in found] == [sorted(set(range(6)) - {i}) for i in range(6)]


def test_rows_fewer_than_neighbours_have_all_others_as_neighbours():
    assert nearest(np.eye(3), 15).shape == (3, 2)
    assert nearest(np.eye(1), 15).shape == (1, 0)


def test_the_weight_of_an_edge_is_the_jaccard_index_of_the_neighbourhoods(monkeypatch):
    found = nearest(np.random.default_rng(0).normal(size=(30, 4)), 6)
    around = [{i, *row} for i, row in enumerate(found)]
    expected = np.zeros((30, 30))
    for i, row in enumerate(found):
        for j in {i, *row}:
            expected[i, j] = expected[j, i] = len(around[i] & around[j]) / len(
                around[i] | around[j]
            )
    np.testing.assert_allclose(jaccard_graph(found).toarray(), expected)
    monkeypatch.setattr(neighbours, "BLOCK_CELLS", 1)
    np.testing.assert_allclose(jaccard_graph(found).toarray(), expected)


def test_modularity_equals_the_definition_of_newman_and_girvan():
    two, one = np.array([0, 0, 0, 1, 1, 1]), np.zeros(6, int)
    assert modularity(TRIANGLES, two) == pytest.approx(1 - 2 * 0.25)
    assert modularity(TRIANGLES, two, resolution=1.5) == pytest.approx(1 - 1.5 * 2 * 0.25)
    assert modularity(TRIANGLES, one) == pytest.approx(0)
    assert modularity(TRIANGLES, np.arange(6)) == pytest.approx(-6 / 36)


def test_modularity_counts_a_link_at_both_of_its_ends():
    star = np.array([[1], [0], [0], [0]])
    labels = np.array([0, 0, 1, 1])
    # Degrees are 1 + 3, 1 + 1, 1, 1 of 8 ends; two of four links are inside.
    assert modularity(star, labels) == pytest.approx(0.5 - (6 / 8) ** 2 - (2 / 8) ** 2)
