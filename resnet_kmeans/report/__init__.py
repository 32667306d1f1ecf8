"""One page, and the numbers behind it, that show the clusters."""

from resnet_kmeans.report.clusters import SET_ASIDE
from resnet_kmeans.report.corrections import ShownExport
from resnet_kmeans.report.fitted import read_clusterer, read_features
from resnet_kmeans.report.page import write_report
from resnet_kmeans.report.summary import ClusteringSummary, summarize

__all__ = [
    "SET_ASIDE",
    "ClusteringSummary",
    "ShownExport",
    "read_clusterer",
    "read_features",
    "summarize",
    "write_report",
]
