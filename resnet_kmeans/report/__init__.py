"""One page, and the numbers behind it, that show the clusters."""

from resnet_kmeans.report.fitted import read_clusterer
from resnet_kmeans.report.page import write_report
from resnet_kmeans.report.summary import ClusteringSummary, summarize

__all__ = ["ClusteringSummary", "read_clusterer", "summarize", "write_report"]
