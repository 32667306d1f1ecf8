"""A mixture of Gaussians with one covariance, fitted from first labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

RIDGE = 0.03  # of the mean variance, on the covariance; 0.1 does alike
MAX_ITER = 100
TOL = 1e-3  # of the mean log-likelihood, scikit-learn's for GaussianMixture


class TiedMixture(NamedTuple):
    """Weights, means and what whitens the covariance within clusters.

    Parameters
    ----------
    weights : ndarray of shape (k,)
        Sum to 1.
    means : ndarray of shape (k, d)
    whitening : ndarray of shape (d, d)
        ``rows @ whitening`` have the identity as covariance within clusters.
    """

    weights: np.ndarray
    means: np.ndarray
    whitening: np.ndarray


def fit_tied_mixture(rows: np.ndarray, labels: np.ndarray, n_clusters: int) -> TiedMixture:
    """Fit a mixture of Gaussians of one covariance by expectation maximisation.

    scikit-learn's ``GaussianMixture(covariance_type="tied")`` does the same, without a
    ridge in proportion to the variance, and slower, since it keeps all covariances.

    Parameters
    ----------
    rows : ndarray of shape (n, d), dtype float64
    labels : ndarray of shape (n,), dtype int
        Clusters to begin with.
    n_clusters : int

    Returns
    -------
    TiedMixture
    """
    n_rows, width = rows.shape
    shares = np.eye(n_clusters)[labels]
    total = rows.T @ rows / n_rows
    ridge = max(RIDGE * rows.var(), np.finfo(float).tiny ** 0.5) * np.eye(width)
    before = -np.inf
    for _ in range(MAX_ITER):
        weights = np.maximum(shares.mean(axis=0), 1e-9)  # no division by a cluster without rows
        means = shares.T @ rows / (n_rows * weights)[:, None]
        within = total - (means * weights[:, None]).T @ means
        whitening, log_det = _whitening(within + ridge)
        shares, log_likelihood = _expected(rows @ whitening, means @ whitening, weights)
        if log_likelihood + log_det - before < TOL:
            break
        before = log_likelihood + log_det
    return TiedMixture(weights, means, whitening)


def _whitening(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Return what whitens a covariance, with the logarithm of its determinant."""
    lower = np.linalg.cholesky(covariance)
    whitening = solve_triangular(lower, np.eye(len(lower)), lower=True).T
    return whitening, -float(np.log(np.diag(lower)).sum())


def _expected(rows: np.ndarray, means: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return each row's share in each cluster, with the mean log-likelihood."""
    logs = rows @ means.T - 0.5 * (means**2).sum(axis=1) + np.log(weights)
    norms = logsumexp(logs, axis=1, keepdims=True)
    return np.exp(logs - norms), float((norms[:, 0] - 0.5 * (rows**2).sum(axis=1)).mean())
