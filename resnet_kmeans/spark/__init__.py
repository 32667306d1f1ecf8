"""Does the work of `ImageFolderClusterer` on a Spark cluster (`spark` extra)."""

from resnet_kmeans.spark.driver import assign, extract_features, fit

__all__ = ["assign", "extract_features", "fit"]
