"""Serves the page of an export to one person's browser, where it is corrected."""

from resnet_kmeans.server.running import open_export
