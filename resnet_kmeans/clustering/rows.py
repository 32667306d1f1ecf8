"""Turns images into rows of features, and these into labels; unreadable images have NaN."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import collected_reasons

# Copies of a block of features that exist while it is reduced: the block, its readable rows,
# the normalized rows, and the rows centered by PCA.
COPIES = 4
MAX_COMPONENTS = 128  # of reduced rows; chosen by measurements on labeled sets
# A new image that is more unusual than this share of the others belongs to none of the folders.
# Chosen, like the number of components, by examples/benchmarks/folders.py.
USUAL = 0.95
NO_FEATURES = "the featurizer returns NaN for it"


def _rows_in_memory(featurizer: Any) -> int:
    """Return the number of rows for which scikit-learn's `working_memory` is enough."""
    from sklearn import get_config

    # A custom featurizer may lack this attribute; 2048 is the width of ResNet50.
    width = getattr(featurizer, "n_features_out_", 2048)
    return max(64, int(get_config()["working_memory"] * 2**20 // (COPIES * 4 * width)))


def sample(n_rows: int, n_drawn: int, random_state: Any) -> np.ndarray:
    """Return the positions of at most `n_drawn` random rows, in ascending order."""
    if n_rows <= n_drawn:
        return np.arange(n_rows)
    from sklearn.utils import check_random_state

    return np.sort(check_random_state(random_state).choice(n_rows, n_drawn, replace=False))


def features_of(featurizer: Any, sources: list[Any]) -> tuple[np.ndarray, dict[int, str]]:
    """Return features as float32, and what is missing in images, by position.

    That is the reason of an image with a row of NaN, and what an image with other rows lacks.
    """
    with collected_reasons() as reasons:
        rows = featurizer.transform(sources)
    # KMeans fitted to float32 rows raises an error for float64 rows.
    features = np.asarray(rows, dtype=np.float32)
    bad = np.flatnonzero(~is_readable(features)).tolist()
    return features, {**dict.fromkeys(bad, NO_FEATURES), **reasons}


def is_readable(rows: np.ndarray) -> np.ndarray:
    """Return a mask of the rows without NaN."""
    return np.asarray(~np.isnan(rows.min(axis=1, initial=0)))  # NaN if any number is


def select_readable(rows: np.ndarray, readable: np.ndarray) -> np.ndarray:
    """Return the readable rows; without a copy if all rows are readable."""
    return rows if readable.all() else rows[readable]


def drop_unreadable(rows: np.ndarray) -> np.ndarray:
    """Return the rows without NaN; without a copy if no row has NaN."""
    return select_readable(rows, is_readable(rows))


def hashes_of(rows: np.ndarray) -> np.ndarray:
    """Return 64-bit hashes of rows of shape (n, d): equal for rows that are the same bytes."""
    # The sum makes 0 of -0, which is equal to it.
    return np.fromiter((hash((row + 0).tobytes()) for row in rows), np.int64, len(rows))


def first_copies(rows: np.ndarray) -> np.ndarray:
    """Return the position of the first row that is the same, byte for byte, as each row.

    `rows` has the shape (n, d), or is the result of `hashes_of`.
    """
    hashes = rows if rows.ndim == 1 else hashes_of(rows)
    _, first, number = np.unique(hashes, return_index=True, return_inverse=True)
    return np.asarray(first[number])


def n_different(rows: np.ndarray) -> int:
    """Return the number of rows that are not the same as another."""
    return len(np.unique(hashes_of(rows)))


def reduce(reducer: Any, features: np.ndarray, width: int | None = None) -> np.ndarray:
    """Return reduced rows as float32; rows of NaN stay NaN, equal rows stay equal.

    `width` is the number of columns if all rows are NaN.
    """
    readable = is_readable(features)
    if not readable.any():
        return np.full((len(features), width or 1), np.nan, dtype=np.float32)
    selected = select_readable(features, readable)
    # A reducer alone would give copies different roundings, or different places (UMAP).
    rows = np.asarray(reducer.transform(selected), dtype=np.float32)[first_copies(selected)]
    if len(rows) == len(features):
        return rows
    reduced = np.full((len(features), rows.shape[1]), np.nan, dtype=np.float32)
    reduced[readable] = rows
    return reduced


def fit_reducer(
    sources: list[Any],
    featurizer: Any,
    new_reducer: Callable[[np.ndarray, dict[int, str]], Any],
    random_state: Any,
) -> tuple[Any, np.ndarray, dict[int, str]]:
    """Fit a reducer on as many rows as fit in memory, then reduce all rows.

    Parameters
    ----------
    sources : list of length n
        Images, in any form that the featurizer accepts.
    featurizer : fitted transformer
        Returns rows of NaN for unreadable images.
    new_reducer : callable
        Called with the readable rows that the reducer is fitted on, and the reasons why other
        images are unreadable; returns an unfitted reducer.
    random_state : int, RandomState instance or None
        Determines the sample of rows that the reducer is fitted on, if not all fit in memory.

    Returns
    -------
    reducer : transformer
        Fitted.
    reduced : ndarray of shape (n, n_reduced), dtype float32
        NaN for unreadable images. Rows of equal features are equal.
    reasons : dict of int to str
        Why images are unreadable, by position.
    """
    # A random sample, not the first rows: the images of a folder are sorted by name, so the
    # first ones may belong to a few groups only.
    drawn = sample(len(sources), _rows_in_memory(featurizer), random_state)
    features, bad = features_of(featurizer, [sources[i] for i in drawn])
    reasons = {int(drawn[i]): reason for i, reason in bad.items()}
    readable = drop_unreadable(features)
    reducer = new_reducer(readable, reasons).fit(readable)
    first = reduce(reducer, features)
    reduced = np.full((len(sources), first.shape[1]), np.nan, dtype=np.float32)
    reduced[drawn] = first
    hashes = np.empty(len(sources), np.int64)
    hashes[drawn] = hashes_of(features)
    # Otherwise these stay in memory while the next block is computed.
    del features, readable, first
    rest = np.setdiff1d(np.arange(len(sources)), drawn)
    for start in range(0, len(rest), len(drawn)):
        block = rest[start : start + len(drawn)]
        features, bad = features_of(featurizer, [sources[i] for i in block])
        reasons |= {int(block[i]): reason for i, reason in bad.items()}
        reduced[block] = reduce(reducer, features)
        hashes[block] = hashes_of(features)
    copied = first_copies(hashes)
    copies = np.flatnonzero(copied != np.arange(len(copied)))
    reduced[copies] = reduced[copied[copies]]
    return reducer, reduced, reasons


def reduce_blocks(
    sources: list[Any], featurizer: Any, reducer: Any, width: int
) -> Iterator[tuple[np.ndarray, dict[int, str]]]:
    """Yield reduced rows in blocks, with the reasons for unreadable images by position.

    `width` is the number of columns.
    """
    n_rows = _rows_in_memory(featurizer)
    for start in range(0, len(sources), n_rows):
        features, reasons = features_of(featurizer, sources[start : start + n_rows])
        yield (
            reduce(reducer, features, width),
            {start + i: reason for i, reason in reasons.items()},
        )


def reduce_all(
    sources: list[Any], featurizer: Any, reducer: Any, width: int
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the rows and reasons of all blocks of `reduce_blocks`."""
    blocks, reasons = zip(*reduce_blocks(sources, featurizer, reducer, width))
    return np.concatenate(blocks), {i: why for block in reasons for i, why in block.items()}
