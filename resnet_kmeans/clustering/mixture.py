"""Fits and scores Gaussians with a shared covariance, one for each cluster."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LOWEST = -1.0  # returned where a score is not defined
# Share of the mean variance that is added to the diagonal of the covariance. Chosen by
# measurements on labeled sets; 0.1 gives similar results.
RIDGE = 0.03
MAX_ITER = 100  # the default of scikit-learn's GaussianMixture
TOL = 1e-3  # likewise; smallest change of the mean log-likelihood to go on


# Of the score. The usual weight of the penalty is 1, but labels that were fitted to the same rows
# follow their noise, so twice as many clusters would be chosen.
PENALTY = 2.0
SCORE_RIDGE = 1e-3  # share of the mean variance; keeps the logarithm finite for equal rows


class ClusterStatistics(NamedTuple):
    """Sums over rows, which can be added up, and which suffice for a score of their labels.

    Parameters
    ----------
    counts : ndarray of shape (k,)
        Number of rows in each cluster.
    sums : ndarray of shape (k, d)
    products : ndarray of shape (d, d)
        Sum of the outer products of all rows.
    """

    counts: np.ndarray
    sums: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, labels: np.ndarray, n_clusters: int) -> ClusterStatistics:
        """Return the sums over rows (n, d) with labels (n,) from 0 to `n_clusters` - 1."""
        counts = np.bincount(labels, minlength=n_clusters).astype(float)
        return cls(counts, _sums(rows, labels, n_clusters), rows.T @ rows)

    def plus(self, other: ClusterStatistics) -> ClusterStatistics:
        """Return the sums over the rows of both."""
        return ClusterStatistics(*(a + b for a, b in zip(self, other)))

    def score(self) -> float:
        """Return how much better the clusters explain the rows than one cluster would.

        This is the difference in BIC, the Bayesian information criterion, between one Gaussian
        for each cluster, all with the same covariance, and one Gaussian for all rows. It is
        divided by the number of rows and of dimensions.

        Returns
        -------
        float
            Higher is better; 0 if the clusters explain no more than one cluster would. It is
            -1, the lowest score, if there is only one cluster.

        References
        ----------
        C. Fraley and A. E. Raftery (1998), How many clusters? Which clustering method?, The
        Computer Journal 41.
        """
        used = self.counts > 0
        n_rows, n_used = self.counts.sum(), np.count_nonzero(used)
        if n_used < 2:
            return LOWEST
        center = self.sums.sum(axis=0)
        total = self.products - np.outer(center, center) / n_rows
        means = self.sums[used] / np.sqrt(self.counts[used])[:, None]
        within = self.products - means.T @ means
        width = len(total)
        least = SCORE_RIDGE * np.trace(total) / width + np.finfo(float).tiny
        ratio = _log_det(total, least) - _log_det(within, least)
        penalty = PENALTY * (n_used - 1) * np.log(n_rows) / n_rows
        return max(LOWEST, 0.5 * float(ratio / width - penalty))


def _sums(rows: np.ndarray, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """Return the sum of the rows of each cluster, shape (k, d)."""
    sums = np.zeros((n_clusters, rows.shape[1]))
    if len(rows):
        order = np.argsort(labels, kind="stable")
        used, starts = np.unique(labels[order], return_index=True)
        sums[used] = np.add.reduceat(rows[order], starts)
    return sums


def _log_det(scatter: np.ndarray, least: float) -> float:
    return float(np.linalg.slogdet(scatter + least * np.eye(len(scatter)))[1])


class TiedMixture(NamedTuple):
    """Parameters of a mixture of k Gaussians with a shared covariance.

    Parameters
    ----------
    weights : ndarray of shape (k,)
        Weights of the components; they sum to 1.
    means : ndarray of shape (k, d)
    whitening : ndarray of shape (d, d)
        The covariance of ``rows @ whitening`` within clusters is the identity matrix.
    """

    weights: np.ndarray
    means: np.ndarray
    whitening: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, labels: np.ndarray, row_weights: np.ndarray) -> TiedMixture:
        """Return the mixture of rows (n, d) with known labels (n,), each from 0 to k - 1.

        Means and covariance are weighted by `row_weights` (n,); the weights of the components
        are their shares of the rows.
        """
        counts = np.bincount(labels)
        totals = np.bincount(labels, row_weights)
        means = _sums(rows * row_weights[:, None], labels, len(counts)) / totals[:, None]
        centered = (rows - means[labels]) * np.sqrt(row_weights / row_weights.sum())[:, None]
        whitening, _ = _whitening(centered.T @ centered + _ridge(rows))
        return cls(counts / len(rows), means, whitening)


def fit_tied_mixture(rows: np.ndarray, labels: np.ndarray, n_clusters: int) -> TiedMixture:
    """Fit a mixture of Gaussians with a shared covariance by expectation maximization.

    Parameters
    ----------
    rows : ndarray of shape (n, d), dtype float64
    labels : ndarray of shape (n,), dtype int
        Initial clusters, from 0 to `n_clusters` - 1.
    n_clusters : int

    Returns
    -------
    TiedMixture

    See Also
    --------
    sklearn.mixture.GaussianMixture : The same model with ``covariance_type="tied"``; its
        `reg_covar` is absolute, not relative to the variance.
    """
    n_rows = len(rows)
    shares = np.eye(n_clusters)[labels]
    total = rows.T @ rows / n_rows
    ridge = _ridge(rows)
    before = -np.inf
    for _ in range(MAX_ITER):
        weights = np.maximum(shares.mean(axis=0), 1e-9)  # a cluster may have lost its rows
        means = shares.T @ rows / (n_rows * weights)[:, None]
        # Only the second term changes; GaussianMixture computes both in each iteration.
        within = total - (means * weights[:, None]).T @ means
        whitening, log_det = _whitening(within + ridge)
        shares, log_likelihood = _expected(rows @ whitening, means @ whitening, weights)
        if log_likelihood + log_det - before < TOL:
            break
        before = log_likelihood + log_det
    return TiedMixture(weights, means, whitening)


def _ridge(rows: np.ndarray) -> np.ndarray:
    # The lower bound keeps the covariance positive definite if all rows are equal.
    least = float(np.finfo(np.float32).eps ** 2)
    return max(RIDGE * float(rows.var()), least) * np.eye(rows.shape[1])


def _whitening(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the whitening matrix of a covariance, and the logarithm of its determinant."""
    lower = np.linalg.cholesky(covariance)
    return np.linalg.inv(lower).T, -float(np.log(np.diag(lower)).sum())


def _expected(rows: np.ndarray, means: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the responsibilities of clusters for rows, and the mean log-likelihood."""
    # The square of each row cancels out of the responsibilities.
    logs = rows @ means.T - 0.5 * (means**2).sum(axis=1) + np.log(weights)
    shares, norms = normalized(logs)
    return shares, float((norms - 0.5 * (rows**2).sum(axis=1)).mean())


def normalized(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(logs) divided by the sums of its rows, and the logarithms of these sums."""
    # scipy.special has both, but importing it takes longer than most corrections of an export.
    top = logs.max(axis=1, keepdims=True)
    shares = np.exp(logs - top)
    sums = shares.sum(axis=1, keepdims=True)
    return shares / sums, (top + np.log(sums))[:, 0]
