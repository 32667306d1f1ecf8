"""Writes images to one folder per cluster; corrects, extends and takes back such an export."""

from resnet_kmeans._folder_names import JOURNAL, folder_of
from resnet_kmeans.export.adding import UNCLAIMED, NewImages, add_to_export, select_new
from resnet_kmeans.export.corrections import (
    apply_curation,
    confirm_images,
    rename_cluster,
    split_folder,
)
from resnet_kmeans.export.editing import ExportState, read_export
from resnet_kmeans.export.execution import watching
from resnet_kmeans.export.exporter import check_output_folder, export_clusters, write_export
from resnet_kmeans.export.files import ACTIONS, Content
from resnet_kmeans.export.history import (
    LoggedStep,
    export_log,
    finish_export,
    redo_export,
    undo_export,
)
from resnet_kmeans.export.kept import KeptNetwork
from resnet_kmeans.export.plan import check_action, check_images, plan_export
from resnet_kmeans.export.table import ExportedImage
