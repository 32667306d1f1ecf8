"""Cluster images by what they look like, with a pretrained ResNet and K-Means."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_kmeans.clusterer import ImageFolderClusterer
    from resnet_kmeans.clustering import ClusterDiscriminantAnalysis
    from resnet_kmeans.export import apply_curation, export_clusters
    from resnet_kmeans.featurizer import ResNetFeaturizer
    from resnet_kmeans.functions import (
        cluster_images,
        extract_features,
        find_and_cluster_images,
        save_clustered_images,
    )
    from resnet_kmeans.images import find_images
    from resnet_kmeans.kept_models import add_images
    from resnet_kmeans.model_selection import (
        choose_n_clusters,
        modularity_scorer,
        silhouette_scorer,
    )
    from resnet_kmeans.name_suggestions import suggest_cluster_names
    from resnet_kmeans.report import write_report
else:

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use: all of them together take seconds."""
        from importlib import import_module

        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES})


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
_HOMES = {
    "ClusterDiscriminantAnalysis": "clustering",
    "ImageFolderClusterer": "clusterer",
    "ResNetFeaturizer": "featurizer",
    "add_images": "kept_models",
    "apply_curation": "export",
    "choose_n_clusters": "model_selection",
    "cluster_images": "functions",
    "export_clusters": "export",
    "extract_features": "functions",
    "find_and_cluster_images": "functions",
    "find_images": "images",
    "modularity_scorer": "model_selection",
    "save_clustered_images": "functions",
    "silhouette_scorer": "model_selection",
    "suggest_cluster_names": "name_suggestions",
    "write_report": "report",
}
_MODULES = {*_HOMES.values(), "display", "exceptions", "spark"}
