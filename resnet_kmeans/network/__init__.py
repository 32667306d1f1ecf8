"""Turns a name or a file of weights into a function from pixels to features."""

from resnet_kmeans.network.backbone import Network, load_network
from resnet_kmeans.network.head import Head, has_head, head_of
from resnet_kmeans.network.weights import (
    BACKBONES,
    NetworkSpec,
    build_model,
    imagenet_file,
    import_imagenet_file,
    limit_threads,
)

__all__ = [
    "BACKBONES",
    "Head",
    "Network",
    "NetworkSpec",
    "build_model",
    "has_head",
    "head_of",
    "imagenet_file",
    "import_imagenet_file",
    "limit_threads",
    "load_network",
]
