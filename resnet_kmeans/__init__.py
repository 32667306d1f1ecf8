"""Cluster images by what they look like, with a pretrained ResNet and K-Means."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from resnet_kmeans.model_selection import (
        choose_n_clusters,
        modularity_scorer,
        silhouette_scorer,
    )
    from resnet_kmeans.name_suggestions import suggest_cluster_names
    from resnet_kmeans.report import write_report
else:

    def __getattr__(name: str) -> Any:
        """Import what is asked for, so that the command can be stopped from the first moment."""
        from importlib import import_module

        homes = [home for home in _HOMES if name in __all__ or name == home]
        for home in homes:
            module = import_module(f"{__name__}.{home}")
            if found := module if name == home else getattr(module, name, None):
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
# The modules that hold them.
_HOMES = (
    *("images", "export", "clustering", "featurizer", "clusterer", "functions"),
    *("model_selection", "name_suggestions", "exports", "report", "exceptions"),
)
