"""Turns options of the command line into parameters of the package."""

from __future__ import annotations

import argparse
from typing import Any


def cache_of(args: argparse.Namespace) -> str | None:
    """Return the parameter `cache`: None for ``--cache none``."""
    return None if args.cache == "none" else str(args.cache)


def weights_of(args: argparse.Namespace) -> str | None:
    """Return the parameter `weights`: None for ``--weights none``."""
    return None if args.weights == "none" else str(args.weights)


def run_params(args: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of `ResNetFeaturizer` that a saved model takes from this machine."""
    given = {"n_jobs": args.jobs, "cache": cache_of(args), "verbose": int(not args.quiet)}
    # Without --weights, the path recorded in the model is used.
    return {**given, "weights": weights_of(args)} if args.weights else given
