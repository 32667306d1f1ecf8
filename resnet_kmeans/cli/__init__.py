"""The command line."""

from resnet_kmeans.cli.parser import main

__all__ = ["main"]
