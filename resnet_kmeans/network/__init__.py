"""Turns a name or a file of weights into a function from pixels to features."""

from resnet_kmeans.network.backbone import compiled_spec, load_network, network_of
from resnet_kmeans.network.base import Network
from resnet_kmeans.network.head import Head, head_of
from resnet_kmeans.network.presets import ImportedPreset, import_preset
from resnet_kmeans.network.store import compiled_files
from resnet_kmeans.network.tensorflow_network import has_gpu
from resnet_kmeans.network.weights import (
    BACKBONES,
    NetworkSpec,
    build_model,
    imagenet_file,
    import_imagenet_file,
)

__all__ = [
    "BACKBONES",
    "Head",
    "ImportedPreset",
    "Network",
    "NetworkSpec",
    "build_model",
    "compiled_files",
    "compiled_spec",
    "has_gpu",
    "head_of",
    "imagenet_file",
    "import_imagenet_file",
    "import_preset",
    "load_network",
    "network_of",
]
