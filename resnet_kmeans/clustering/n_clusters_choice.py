"""Chooses the number of clusters by how well Gaussians explain them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from resnet_kmeans.clustering.discriminant import cluster_in_rounds
from resnet_kmeans.clustering.hellinger import HellingerPCA, principal_components
from resnet_kmeans.clustering.mixture import LOWEST, ClusterStatistics
from resnet_kmeans.clustering.rows import n_different
from resnet_kmeans.clustering.threads import one_thread_if_small
from resnet_kmeans.exceptions import FlatCurveWarning, TooFewImagesError, warn_caller

COMPONENTS = 32  # principal components in which labels are scored; 24 to 40 are alike
FALLEN = 2  # the search ends at so many times the best number, at a lower score
ALL_UP_TO = 16  # all numbers up to this one are tried, and then numbers in growing steps
# Scores of noise reached 0.0002 (200 rows from a normal distribution in 100 dimensions), those of
# labeled sets with clear groups 0.03 to 0.6.
FLAT_SCORE = 0.005
FINE_STEPS = 8  # candidates between two coarse ones, at most


class NClustersScore(NamedTuple):
    """The score of one number of clusters.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    score : float
        Gain in BIC over one cluster, per image and dimension; see `choose_n_clusters`.
    smallest_cluster : int
        Number of images in the smallest cluster, out of at most 10,000 images.
    """

    n_clusters: int
    score: float
    smallest_cluster: int


@dataclass(frozen=True)
class NClustersChoice:
    """The chosen number of clusters, with the scores of all candidates.

    Parameters
    ----------
    n_clusters : int
        The chosen number.
    reason : str
        The reason for the choice, such as "the highest score, 0.31". It says if the number is
        the first or the last of those that were tried.
    table : list of NClustersScore
        Scores of each candidate, in ascending order of `n_clusters`.
    is_flat : bool
        Whether no number explains the images better than a single cluster would.
    """

    n_clusters: int
    reason: str
    table: list[NClustersScore]
    is_flat: bool


class LabelScore(NamedTuple):
    """Scores the labels of new rows together with those of a fit.

    Parameters
    ----------
    projection : HellingerPCA
        Fitted to the features of the fit.
    statistics : ClusterStatistics
        Sums over the rows of the fit. The last of its clusters is noise.
    """

    projection: HellingerPCA
    statistics: ClusterStatistics

    @classmethod
    def of(
        cls, projection: HellingerPCA, rows: np.ndarray, labels: np.ndarray, n_clusters: int
    ) -> LabelScore:
        """Sum up the projected rows of a fit (n, c), or a sample of them, with labels (n,)."""
        return cls(projection, _sum_up(rows, labels, n_clusters))

    def score(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Return `ClusterStatistics.score` of the rows of the fit and of `features` together."""
        if not len(features):
            return LOWEST
        rows, n_clusters = self.projection.transform(features), len(self.statistics.counts) - 1
        return self.statistics.plus(_sum_up(rows, labels, n_clusters)).score()


def _sum_up(rows: np.ndarray, labels: np.ndarray, n_clusters: int) -> ClusterStatistics:
    of_noise = np.where(labels < 0, n_clusters, labels)
    scored = rows[:, :COMPONENTS].astype(np.float64)
    return ClusterStatistics.of(scored, of_noise, n_clusters + 1)


def choose(
    features: np.ndarray,
    n_clusters: Iterable[int] | None,
    new_steps: Callable[[int], Pipeline] | None,
) -> NClustersChoice:
    """Choose the number of clusters whose labels have the highest score.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Features of readable images.
    n_clusters : iterable of int or None
        Candidates; those below 2, or above the number of different rows, are ignored, and so is
        n. None tries numbers in growing steps until the score has fallen, and then those around
        the best.
    new_steps : callable or None
        Called with a number of clusters; returns an unfitted Pipeline of reducer and clusterer.
        None clusters in the rounds of `ClusterDiscriminantAnalysis`, choosing in each.

    Returns
    -------
    NClustersChoice

    Raises
    ------
    TooFewImagesError
        If no candidate is left.
    ValueError
        If no candidate is above 1.

    Warns
    -----
    FlatCurveWarning
        If no candidate explains the rows better than one cluster would.
    """
    candidates, most = _candidates(features, n_clusters)
    _, _, reduced = principal_components(features)
    rows = reduced[:, :COMPONENTS]
    found: dict[int, tuple[NClustersScore, np.ndarray]] = {}

    def choose_labels(into: Callable[[int], np.ndarray], is_last: bool = True) -> np.ndarray:
        """Score the labels of each candidate; return the best."""
        found.clear()

        def score(k: int) -> float:
            labels = np.unique(into(k), return_inverse=True)[1]  # noise becomes a cluster
            found[k] = _score(k, rows, labels), labels
            return found[k][0].score

        _scan(score, candidates, most, is_last)
        return max(found.values(), key=lambda scored: scored[0].score)[1]

    with one_thread_if_small(len(features)):
        if new_steps is None:
            cluster_in_rounds(features, reduced, choose_labels, most, seed=0)
        else:
            choose_labels(partial(_labels, features, new_steps, {}))
    return _choice_of(sorted(scored for scored, _ in found.values()))


def _score(n_clusters: int, rows: np.ndarray, labels: np.ndarray) -> NClustersScore:
    statistics = ClusterStatistics.of(rows, labels, labels.max() + 1)
    return NClustersScore(n_clusters, statistics.score(), int(statistics.counts.min()))


def _choice_of(table: list[NClustersScore]) -> NClustersChoice:
    """Choose the row with the highest score; warn if it is as low as in noise."""
    best = max(table, key=lambda row: row.score)
    is_flat = best.score < FLAT_SCORE
    if is_flat:
        warn_caller(
            FlatCurveWarning(
                "No number of clusters stands out: none explains the images better than a single "
                f"cluster, as in noise. {best.n_clusters} has the highest score, {best.score:.3f}. "
                "Choose the number that suits your purpose."
            )
        )
    return NClustersChoice(best.n_clusters, _reason(best, table), table, is_flat)


def _candidates(
    features: np.ndarray, n_clusters: Iterable[int] | None
) -> tuple[list[int] | None, int]:
    """Return the candidates, or None for all, and the largest of them."""
    n_rows = n_different(features)
    most = min(n_rows, len(features) - 1)
    if most < 2:
        raise TooFewImagesError(n_rows)
    if n_clusters is None:
        return None, most
    given = sorted({int(k) for k in n_clusters if k > 1})
    if not given:
        raise ValueError(
            "Expected numbers of clusters of 2 or more, got none. Nothing was computed. Pass "
            "range(2, 31), for example, or None."
        )
    candidates = [k for k in given if k <= most]
    if not candidates:
        raise TooFewImagesError(n_rows)
    return candidates, candidates[-1]


def _scan(
    score: Callable[[int], float], candidates: list[int] | None, most: int, is_fine: bool
) -> None:
    """Score the candidates; without any, as many numbers as it takes."""
    if candidates is not None:
        for k in candidates:
            score(k)
        return
    found: dict[int, float] = {}
    best = 2
    for k in _coarse(most):
        found[k] = score(k)
        best = max(found, key=found.__getitem__)
        if k >= max(FALLEN * best, ALL_UP_TO):
            break
    if not is_fine:
        return
    below = max((k for k in found if k < best), default=best)
    above = min((k for k in found if k > best), default=best)
    for k in range(below, above, max(1, (above - below) // FINE_STEPS)):
        if k not in found:
            score(k)


def _coarse(most: int) -> Iterator[int]:
    """Yield 2 to 16, then 23, 32, 45, ..., each 1.4 times the one before, and at last `most`."""
    k = 2.0
    while round(k) < most:
        yield round(k)
        k = k + 1 if k < ALL_UP_TO else k * 2**0.5
    yield most


def _labels(
    features: np.ndarray,
    new_steps: Callable[[int], Pipeline],
    known: dict[str, np.ndarray],
    n_clusters: int,
) -> np.ndarray:
    """Return the labels of steps; equal reducers are fitted once, their rows kept in `known`."""
    steps = new_steps(n_clusters)
    reducers = (step for _, step in steps.steps[:-1])
    key = repr([step if isinstance(step, str) else step.get_params() for step in reducers])
    if key not in known:
        known[key] = np.asarray(steps[:-1].fit_transform(features))
    return np.asarray(steps[-1].fit(known[key]).predict(known[key]))


def _reason(best: NClustersScore, table: list[NClustersScore]) -> str:
    reason = f"the highest score, {best.score:.2f}"
    if len(table) > 1 and best.n_clusters == table[-1].n_clusters:
        return f"{reason}, at the end of the numbers tried: more clusters may be better"
    if best.n_clusters == table[0].n_clusters > 2:
        return f"{reason}, at the beginning of the numbers tried: fewer clusters may be better"
    return reason
