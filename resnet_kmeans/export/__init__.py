"""Writes images to one folder per cluster; corrects, extends and undoes such an export."""

from resnet_kmeans._folder_names import JOURNAL, folder_of
from resnet_kmeans.export.adding import POOR_FIT, NewImages, add_to_export, kept_model, select_new
from resnet_kmeans.export.corrections import (
    apply_curation,
    rename_cluster,
    require_folder,
    split_folder,
)
from resnet_kmeans.export.exporter import (
    check_output_folder,
    export_clusters,
    finish_export,
    write_export,
)
from resnet_kmeans.export.files import ACTIONS
from resnet_kmeans.export.plan import check_action, check_images, plan_export
from resnet_kmeans.export.present_state import (
    ExportState,
    can_undo,
    read_export,
    unfinished_journal,
)
from resnet_kmeans.export.table import ExportedImage
from resnet_kmeans.export.undo import undo_export
