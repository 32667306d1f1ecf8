"""Names the versions of the libraries that shape features."""

from __future__ import annotations

from functools import cache
from importlib.metadata import distributions, version


@cache
def library_versions(*more: str) -> dict[str, str]:
    """Return the versions of the libraries that shape features, and of `more` of them."""
    # TensorFlow is installed under other names too, tensorflow-cpu for one.
    tensorflow = ("tensorflow", "tensorflow-cpu", "keras")
    names = ("resnet-kmeans", *tensorflow, "openvino", "pillow", "numpy", "scikit-learn", *more)
    return {d: version(d) for d in names if any(distributions(name=d))}
