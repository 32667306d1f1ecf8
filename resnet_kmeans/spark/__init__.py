"""Clusters images on Spark, as `ImageFolderClusterer` does on one machine (`spark` extra)."""

from resnet_kmeans.spark.driver import assign, extract_features, fit

__all__ = ["assign", "extract_features", "fit"]
