"""Writes images to one folder per cluster; corrects, extends and undoes such an export."""

from resnet_kmeans.export.adding import (
    POOR_FIT,
    NewImages,
    add_to_export,
    finish_adding,
    kept_model,
    select_new,
)
from resnet_kmeans.export.corrections import (
    apply_curation,
    rename_folder,
    require_folder,
)
from resnet_kmeans.export.exporter import (
    export_clusters,
    finish_export,
    resume,
)
from resnet_kmeans.export.file_actions import ACTIONS
from resnet_kmeans.export.names import folder_of
from resnet_kmeans.export.plan import JOURNAL, ExportedImage, check_images, check_output_folder
from resnet_kmeans.export.present_state import (
    ExportState,
    is_unfinished,
    read_export,
    unfinished_journal,
)
from resnet_kmeans.export.splitting import split_folder
from resnet_kmeans.export.undo import undo_export

__all__ = [
    "ACTIONS",
    "JOURNAL",
    "POOR_FIT",
    "ExportState",
    "ExportedImage",
    "NewImages",
    "add_to_export",
    "apply_curation",
    "check_images",
    "check_output_folder",
    "export_clusters",
    "finish_adding",
    "finish_export",
    "folder_of",
    "is_unfinished",
    "kept_model",
    "read_export",
    "rename_folder",
    "require_folder",
    "resume",
    "select_new",
    "split_folder",
    "undo_export",
    "unfinished_journal",
]
