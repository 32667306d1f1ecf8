"""Looks up the versions of the libraries that determine features."""

from functools import cache
from importlib.metadata import distributions, version


@cache
def library_versions(*more: str) -> dict[str, str]:
    """Return the installed versions of the libraries that determine features, and of `more`."""
    # TensorFlow is also distributed under other names, such as tensorflow-cpu.
    tensorflow = ("tensorflow", "tensorflow-cpu", "keras")
    names = ("resnet-kmeans", *tensorflow, "openvino", "pillow", "numpy", "scikit-learn", *more)
    return {d: version(d) for d in names if any(distributions(name=d))}
