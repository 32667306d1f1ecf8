"""Runs the command: ``python -m resnet_kmeans``."""

from resnet_kmeans.cli import main

raise SystemExit(main())
