"""Clusters images as `ImageFolderClusterer` does, but on Spark (`spark` extra)."""

from resnet_kmeans.spark.driver import assign, extract_features, fit

__all__ = ["assign", "extract_features", "fit"]
