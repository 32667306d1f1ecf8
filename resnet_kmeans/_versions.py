"""Looks up the versions of libraries."""

from functools import cache
from importlib.metadata import distributions, version

# What makes a network; TensorFlow is also distributed under other names.
MAKERS = ("resnet-kmeans", "tensorflow", "tensorflow-cpu", "keras", "openvino")


@cache
def library_versions(*more: str) -> dict[str, str]:
    """Return the installed versions of what makes a network, and of `more`."""
    return {d: version(d) for d in (*MAKERS, *more) if any(distributions(name=d))}
