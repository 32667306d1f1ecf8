"""The page and the plots that show the clusters."""

from resnet_kmeans.report.album import ExportView, describe_album
from resnet_kmeans.report.clusters import MAX_SHOWN
from resnet_kmeans.report.drawing import TILE, ClusteringDisplay, color, pin, take_axes
from resnet_kmeans.report.page import render, write_page, write_report
from resnet_kmeans.report.summary import ClusteringSummary, summarize
from resnet_kmeans.report.thumbnails import KIND, make_thumbnail, make_tile, without_warnings
