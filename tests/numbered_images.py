"""Stand-in featurizers: an image is a name with a number, its row is drawn by that number."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

WIDTH = 100
NAMES = [str(i) for i in range(200)]


class Numbers(TransformerMixin, BaseEstimator):
    """Row n lies near the center of group n % n_groups, from 1000 on far from everything.

    A name that is no number belongs to an image that cannot be read. `seen` lists the images
    of each call of `transform`, in clones too; `forget` empties it.
    """

    n_features_out_ = WIDTH
    seen: list[list[str]] = []

    def __init__(self, n_groups=4):
        self.n_groups = n_groups

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        Numbers.seen.append(list(X))
        centers = np.random.default_rng(0).normal(size=(self.n_groups, WIDTH))
        return np.array([self._row(name, centers) for name in X])

    def _row(self, name, centers):
        if not name.isdecimal():
            return np.full(WIDTH, np.nan)
        if int(name) >= 1000:
            return 100 * np.eye(WIDTH)[int(name) % WIDTH]
        return centers[int(name) % self.n_groups] + self._noise(name) / 9

    def _noise(self, name):
        return np.random.default_rng(int(name)).normal(size=WIDTH)

    @staticmethod
    def forget():
        Numbers.seen.clear()


class Noise(Numbers):
    """Rows without any structure."""

    def _row(self, name, centers):
        return self._noise(name)


class Points(TransformerMixin, BaseEstimator):
    """The name of an image is its row: "3 4" lies at (3, 4)."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([[float(number) for number in name.split()] for name in X])


def groups_of(names, n_groups=4):
    return [int(name) % n_groups for name in names]
