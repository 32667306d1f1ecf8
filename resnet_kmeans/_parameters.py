"""Constrains parameters where scikit-learn's own constraints take True for 1."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval


class Whole(Interval):  # type: ignore[misc]  # scikit-learn has no types
    """Whole numbers from `left` on, below `right`."""

    def __init__(self, left: int, right: int | None = None):
        super().__init__(Integral, left, right, closed="left")

    def is_satisfied_by(self, val: Any) -> bool:
        """Return whether a value is such a number; False and True are none."""
        return not isinstance(val, bool) and bool(super().is_satisfied_by(val))


RANDOM_STATE = [Whole(0, 2**32), np.random.RandomState, None]
