"""Cluster images by what they look like, with a pretrained ResNet and K-Means."""

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import ClusterDiscriminantAnalysis
from resnet_kmeans.export import apply_curation, export_clusters
from resnet_kmeans.exports import add_images
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.functions import (
    cluster_images,
    extract_features,
    find_and_cluster_images,
    save_clustered_images,
)
from resnet_kmeans.images import find_images
from resnet_kmeans.model_selection import choose_n_clusters, modularity_scorer, silhouette_scorer
from resnet_kmeans.name_suggestions import suggest_cluster_names
from resnet_kmeans.report import write_report

__version__ = "0.1.0"

__all__ = [
    "ClusterDiscriminantAnalysis",
    "ImageFolderClusterer",
    "ResNetFeaturizer",
    "add_images",
    "apply_curation",
    "choose_n_clusters",
    "cluster_images",
    "export_clusters",
    "extract_features",
    "find_and_cluster_images",
    "find_images",
    "modularity_scorer",
    "save_clustered_images",
    "silhouette_scorer",
    "suggest_cluster_names",
    "write_report",
]
