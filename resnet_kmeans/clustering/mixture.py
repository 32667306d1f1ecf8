"""Fits a mixture of Gaussians with a shared covariance, starting from labels."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

# Share of the mean variance that is added to the diagonal of the covariance. Chosen by
# measurements on labeled sets; 0.1 gives similar results.
RIDGE = 0.03
MAX_ITER = 100  # the default of scikit-learn's GaussianMixture
TOL = 1e-3  # likewise; smallest change of the mean log-likelihood to go on


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
    n_rows, width = rows.shape
    shares = np.eye(n_clusters)[labels]
    total = rows.T @ rows / n_rows
    # The lower bound keeps the covariance positive definite if all rows are equal.
    ridge = max(RIDGE * rows.var(), np.finfo(float).tiny ** 0.5) * np.eye(width)
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


def _whitening(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the whitening matrix of a covariance, and the logarithm of its determinant."""
    lower = np.linalg.cholesky(covariance)
    whitening = solve_triangular(lower, np.eye(len(lower)), lower=True).T
    return whitening, -float(np.log(np.diag(lower)).sum())


def _expected(rows: np.ndarray, means: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the responsibilities of clusters for rows, and the mean log-likelihood."""
    # The square of each row cancels out of the responsibilities.
    logs = rows @ means.T - 0.5 * (means**2).sum(axis=1) + np.log(weights)
    norms = logsumexp(logs, axis=1, keepdims=True)
    return np.exp(logs - norms), float((norms[:, 0] - 0.5 * (rows**2).sum(axis=1)).mean())
