"""Turns the name of a network, or a weights file, into a function from pixels to features."""

from resnet_kmeans.network.base import Network
from resnet_kmeans.network.compiled_files import cached_networks
from resnet_kmeans.network.head import Head, head_of
from resnet_kmeans.network.libraries import has_gpu
from resnet_kmeans.network.loading import compiled_spec, load_network, network_of
from resnet_kmeans.network.presets import ImportedPreset, import_preset
from resnet_kmeans.network.weights import (
    BACKBONES,
    NetworkSpec,
    build_model,
    imagenet_files,
    import_imagenet_file,
)
