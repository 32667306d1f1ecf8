"""The steps between features and labels: recipes, rows, scores, the model file."""

from resnet_kmeans.clustering.blocks import fit_reducer, reduce_blocks
from resnet_kmeans.clustering.discriminant import ClusterDiscriminantAnalysis
from resnet_kmeans.clustering.model_file import read_model, write_model
from resnet_kmeans.clustering.n_clusters_choice import (
    NClustersChoice,
    NClustersScore,
    choose,
    modularity_score,
)
from resnet_kmeans.clustering.nan_rows import drop_unreadable, is_readable, own_distances, predict
from resnet_kmeans.clustering.recipe import (
    REDUCERS,
    depends_on_n_clusters,
    new_clusterer,
    new_reducer,
    takes_n_clusters,
)
from resnet_kmeans.clustering.silhouette import MAX_ROWS, mean_silhouette, silhouette_sample
from resnet_kmeans.clustering.step_arrays import from_arrays, new_fitted_kmeans, to_arrays
from resnet_kmeans.clustering.threads import one_thread_if_small

__all__ = [
    "MAX_ROWS",
    "REDUCERS",
    "ClusterDiscriminantAnalysis",
    "NClustersChoice",
    "NClustersScore",
    "choose",
    "depends_on_n_clusters",
    "drop_unreadable",
    "fit_reducer",
    "from_arrays",
    "is_readable",
    "mean_silhouette",
    "modularity_score",
    "new_clusterer",
    "new_fitted_kmeans",
    "new_reducer",
    "one_thread_if_small",
    "own_distances",
    "predict",
    "read_model",
    "reduce_blocks",
    "silhouette_sample",
    "takes_n_clusters",
    "to_arrays",
    "write_model",
]
