from . import display as display
from . import exceptions as exceptions
from . import spark as spark
from .clusterer import ImageFolderClusterer as ImageFolderClusterer
from .clustering import ClusterDiscriminantAnalysis as ClusterDiscriminantAnalysis
from .exports import add_images as add_images
from .exports import apply_curation as apply_curation
from .exports import export_clusters as export_clusters
from .exports import export_log as export_log
from .exports import finish_export as finish_export
from .exports import redo_export as redo_export
from .exports import rename_cluster as rename_cluster
from .exports import split_cluster as split_cluster
from .exports import undo_export as undo_export
from .exports import write_export_report as write_export_report
from .featurizer import ResNetFeaturizer as ResNetFeaturizer
from .functions import cluster_images as cluster_images
from .functions import extract_features as extract_features
from .functions import find_and_cluster_images as find_and_cluster_images
from .functions import save_clustered_images as save_clustered_images
from .images import find_images as find_images
from .model_selection import choose_n_clusters as choose_n_clusters
from .model_selection import modularity_scorer as modularity_scorer
from .model_selection import silhouette_scorer as silhouette_scorer
from .name_suggestions import suggest_cluster_names as suggest_cluster_names
from .report import write_report as write_report

__version__: str
