"""Writes one folder a cluster and takes it back, losing nothing."""

from resnet_kmeans.export.actions import ACTIONS
from resnet_kmeans.export.exporter import (
    REPORT,
    TABLE,
    export_clusters,
    finish_export,
    is_unfinished,
    undo_export,
)
from resnet_kmeans.export.plan import ExportedImage, check_images, check_output_folder

__all__ = [
    "ACTIONS",
    "REPORT",
    "TABLE",
    "ExportedImage",
    "check_images",
    "check_output_folder",
    "export_clusters",
    "finish_export",
    "is_unfinished",
    "undo_export",
]
