"""Reduces features, clusters them, and scores the labels."""

from resnet_kmeans.clustering.discriminant import ClusterDiscriminantAnalysis
from resnet_kmeans.clustering.folder_model import DOUBTFUL, FolderGaussians
from resnet_kmeans.clustering.hellinger import MAX_COMPONENTS, HellingerPCA
from resnet_kmeans.clustering.mixture import ClusterStatistics, TiedMixture
from resnet_kmeans.clustering.n_clusters_choice import (
    LabelScore,
    NClustersChoice,
    NClustersScore,
    choose,
)
from resnet_kmeans.clustering.prediction import NearestLabels, own_distances, predict
from resnet_kmeans.clustering.recipe import (
    REDUCERS,
    depends_on_n_clusters,
    describe_fit,
    new_clusterer,
    new_reducer,
    own_n_clusters,
    takes_n_clusters,
)
from resnet_kmeans.clustering.rows import (
    drop_unreadable,
    features_of,
    fit_reducer,
    is_readable,
    reduce_blocks,
)
from resnet_kmeans.clustering.scores import (
    MAX_ROWS,
    Evaluation,
    evaluate_labels,
    mean_silhouette,
    modularity_score,
    silhouette_sample,
)
from resnet_kmeans.clustering.threads import one_thread_if_small
