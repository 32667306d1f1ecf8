"""Computes the features of each image once and caches them on disk."""

from resnet_kmeans.features.cache import FeatureCache, cache_path, file_state
from resnet_kmeans.features.extraction import Extraction, networks_folder
from resnet_kmeans.features.progress import progress_bar
