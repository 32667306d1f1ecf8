"""Models folders as Gaussians: where an image belongs, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from resnet_kmeans.clustering.mixture import TiedMixture, normalized
from resnet_kmeans.clustering.rows import USUAL

# Weight of an image that a person confirmed or moved, where others have 1; chosen by
# examples/benchmarks/folders.py.
CONFIRMED_WEIGHT = 8.0
# Labels that come from clustering follow the rows too closely, so that the doubts about them are
# too small. Divided by 7, the logarithms of the probabilities give doubts whose sum is the number
# of wrong images, within a factor of 1.5 for half of 23 labeled sets and of 2 for 70% of them; what
# a person confirmed needs no correction. With fewer than 64 components, the divisor falls with
# the fourth root of their number: between few rows, which need 7, and few features, for which it
# falls with the square root.
CLUSTER_TEMPERATURE = 7.0
DOUBTFUL = 0.5  # of images with a greater doubt, 55% were in the wrong folder
NONE = np.float32(1e9)  # squared distance to a Gaussian of no rows
BLOCK_CELLS = 2**22  # probabilities in memory at a time, 4 bytes each: 16 MiB


class Judgment(NamedTuple):
    """What folders say about n images.

    Parameters
    ----------
    distances : ndarray of shape (n,)
        Mahalanobis distance to the nearest Gaussian of the own folder; NaN without one, or if
        no other image belongs to it.
    doubts : ndarray of shape (n,)
        1 - the probability of the own folder; NaN likewise.
    others : ndarray of shape (n,), dtype int
        The most probable folder apart from the own one; -1 if there is none.
    clusters : ndarray of shape (n,), dtype int
        The cluster of the nearest Gaussian of the own folder; -1 without one.
    """

    distances: np.ndarray
    doubts: np.ndarray
    others: np.ndarray
    clusters: np.ndarray


class FolderGaussians:
    """Gaussians with a shared covariance, one or more for each folder.

    This is linear discriminant analysis in which rows have weights, and in which a folder that
    was merged from several clusters keeps a Gaussian for each of them.

    Attributes
    ----------
    mixture_ : TiedMixture
        The Gaussians, sorted by folder.
    folders_ : ndarray of shape (k,), dtype int
        The folder of each Gaussian, ascending from 0.
    clusters_ : ndarray of shape (k,), dtype int
        The cluster of each Gaussian.
    cluster_centers_ : ndarray of shape (n_folders, d), dtype float32
        Means of the folders.
    totals_ : ndarray of shape (k,)
        Sum of the weights of the rows of each Gaussian.
    temperature_ : float
        Divides the logarithms of the probabilities in `judge`: 7 for 64 columns, falling to 1
        with the share of the weight that was confirmed.
    inertia_ : float
        Sum of squared distances of the rows of the fit to the means of their folders.
    """

    def fit(
        self, X: np.ndarray, y: np.ndarray, folders: Any = None, is_confirmed: Any = None
    ) -> FolderGaussians:
        """Fit a Gaussian to the rows of each cluster.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        y : ndarray of shape (n,), dtype int
            Cluster of each row.
        folders : ndarray of shape (n,), dtype int, default=None
            Folder of each row, from 0 without gaps; None means one folder for each cluster.
        is_confirmed : ndarray of shape (n,), dtype bool, default=None
            Rows that weigh more; None means none.
        """
        folders = np.unique(y, return_inverse=True)[1] if folders is None else folders
        pairs = np.column_stack([folders, y])
        of_gaussian, gaussian = np.unique(pairs, axis=0, return_inverse=True)
        confirmed = np.zeros(len(X), bool) if is_confirmed is None else is_confirmed.astype(bool)
        weights = np.where(confirmed, CONFIRMED_WEIGHT, 1.0)
        rows = X.astype(np.float64)
        self.totals_ = np.bincount(gaussian.ravel(), weights)
        share = float(weights[~confirmed].sum() / weights.sum())
        self.set_gaussians(TiedMixture.of(rows, gaussian.ravel(), weights), *of_gaussian.T)
        highest = max(1.0, CLUSTER_TEMPERATURE * (X.shape[1] / 64) ** 0.25)
        self.temperature_ = 1 + (highest - 1) * share
        gaps = rows - self.cluster_centers_[folders]
        self.inertia_ = float((gaps**2).sum())
        return self

    def set_gaussians(
        self, mixture: TiedMixture, folders: np.ndarray, clusters: np.ndarray
    ) -> None:
        """Set the Gaussians, which are sorted by folder, with the cluster of each."""
        self.mixture_, self.folders_, self.clusters_ = mixture, folders, clusters
        self.temperature_ = 1.0
        self._whitened = (mixture.means @ mixture.whitening).astype(np.float32)
        self._starts = np.searchsorted(folders, np.arange(folders[-1] + 1))
        shares = np.add.reduceat(mixture.weights, self._starts)
        sums = np.add.reduceat(mixture.means * mixture.weights[:, None], self._starts)
        self.cluster_centers_ = (sums / shares[:, None]).astype(np.float32)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable folder of each row, shape (n,)."""
        found = [self._probable(squares).argmax(axis=1) for *_, squares in self._blocks(X)]
        return np.concatenate(found).astype(np.int32)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probability of each folder for each row, shape (n, n_folders)."""
        return np.concatenate([self._probable(squares) for *_, squares in self._blocks(X)])

    def judge(self, X: np.ndarray, own: np.ndarray, are_members: bool = True) -> Judgment:
        """Judge rows (n, d) that are in the folders `own` (n,), or in none if that is -1.

        Rows of the fit are judged by the others, as if they had not been part of it; new rows
        are judged if `are_members` is false.
        """
        distances, doubts = np.full((2, len(X)), np.nan)
        others, clusters = np.full((2, len(X)), -1)
        for block, rows, squares in self._blocks(X):
            inside = np.flatnonzero(own[block] >= 0)
            folders = own[block][inside]
            in_folder = self.folders_ == folders[:, None]
            nearest = np.where(in_folder, squares[inside], np.inf).argmin(axis=1)
            if are_members:
                squares[inside] = self._without(rows[inside], nearest, squares[inside])
            gaps = squares[inside, nearest].clip(0)
            distances[block.start + inside] = np.where(gaps < NONE, np.sqrt(gaps), np.nan)
            clusters[block.start + inside] = self.clusters_[nearest]
            probabilities = self._probable(squares, self.temperature_)
            doubt = 1 - probabilities[inside, folders]
            doubts[block.start + inside] = np.where(gaps < NONE, doubt, np.nan)
            probabilities[inside, folders] = -1
            best = probabilities.argmax(axis=1)
            is_other = probabilities[np.arange(len(best)), best] >= 0
            others[block] = np.where(is_other, best, -1)
        return Judgment(distances, doubts, others, clusters)

    def _without(self, rows: np.ndarray, own: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Return squared distances to Gaussians that each row is taken out of; `own` had it."""
        # The mean moves away from the row, and the covariance loses its outer product
        # (Sherman and Morrison 1950). In 64 dimensions this matters: without a temperature, 0.6%
        # of the images had a doubt above 0.5 with themselves, and 3% without.
        n_rows, means = np.arange(len(rows)), self._whitened
        total = self.totals_[own]
        factor = total / np.maximum(total - 1, 1e-6)
        share = factor / self.totals_.sum()
        rest = np.maximum(1 - share * squares[n_rows, own], 0.05)
        gaps = rows - means[own]
        cross = (gaps * rows).sum(axis=1)[:, None] - gaps @ means.T
        found = squares + (share / rest)[:, None] * cross**2
        gone = squares[n_rows, own] * factor**2 / rest
        found[n_rows, own] = np.where(total > 1, gone, NONE)
        return found

    def is_unusual(self, X: np.ndarray, own: np.ndarray, among: Any) -> np.ndarray:
        """Return whether rows (n, d) are more unusual for their folders than 95% of the others.

        The measure is the relative Mahalanobis distance: the square of the distance to the own
        folder, minus that to one Gaussian of all images.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        own : ndarray of shape (n,), dtype int
        among : (ndarray of shape (m, d), ndarray of shape (m,))
            The rows of the fit, and their folders.

        References
        ----------
        J. Ren et al. (2021), A simple fix to Mahalanobis distance for improving near-OOD
        detection, arXiv:2106.09022.
        """
        background = FolderGaussians().fit(among[0], np.zeros(len(among[0]), int))

        def excess(rows: np.ndarray, folders: np.ndarray, are_members: bool) -> np.ndarray:
            own = self.judge(rows, folders, are_members).distances
            of_all = background.judge(rows, np.zeros_like(folders), are_members).distances
            return own**2 - of_all**2

        usual = excess(among[0], among[1], True)
        usual = usual[~np.isnan(usual)]
        limit = np.quantile(usual, USUAL) if len(usual) else np.inf
        return np.asarray(excess(X, own, False) > limit)

    def _blocks(self, X: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield blocks of rows, the rows whitened, and squared distances to the Gaussians."""
        whitening = self.mixture_.whitening.astype(np.float32)
        means = self._whitened
        lengths, block_rows = (means**2).sum(axis=1), max(1, BLOCK_CELLS // len(means))
        for start in range(0, max(1, len(X)), block_rows):
            block = slice(start, start + block_rows)
            rows = X[block] @ whitening
            yield block, rows, (rows**2).sum(axis=1)[:, None] - 2 * rows @ means.T + lengths

    def _probable(self, squares: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Return the probabilities of folders from squared distances to the Gaussians."""
        logs = (np.log(self.mixture_.weights) - squares / 2) / temperature
        return np.asarray(np.add.reduceat(normalized(logs)[0], self._starts, axis=1))
