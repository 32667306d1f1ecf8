"""Writes the report, an HTML page that shows the clusters."""

from resnet_kmeans.report.corrections import ExportView
from resnet_kmeans.report.drawing import TILE, ClusteringDisplay, color, pin, take_axes
from resnet_kmeans.report.page import write_report
from resnet_kmeans.report.summary import ClusteringSummary, summarize
from resnet_kmeans.report.thumbnails import make_tile
