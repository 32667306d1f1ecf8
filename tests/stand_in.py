"""A network that needs neither TensorFlow nor weights: the mean color of each cell of a grid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# The only way to write such a file; the package itself does so where it compiles a network.
from resnet_kmeans.network.compiled_files import CompiledFile
from resnet_kmeans.network.libraries import import_openvino  # openvino alone reports its use

N_CELLS = 4  # in each direction
N_FEATURES = 3 * N_CELLS**2


def write_stand_in(
    file: Path, weights: str = "stand-in", change: Callable[[Any, Any], Any] | None = None
) -> Path:
    """Write the network to a file that `weights=` takes, with the extension ``.network``.

    `weights` stands for the hash of its weights; `change` takes OpenVINO's operations and the
    rows from 0 to 1, and returns other rows.
    """
    openvino = import_openvino()
    from openvino import opset8 as ops

    pixels = ops.parameter([-1, -1, -1, 3], np.uint8)
    colors = ops.transpose(ops.convert(pixels, "f32"), np.array([0, 3, 1, 2]))
    cells = ops.adaptive_avg_pool(colors, np.array([N_CELLS, N_CELLS]))
    rows = ops.reshape(cells, np.array([-1, N_FEATURES]), special_zero=False)
    rows = ops.divide(rows, np.float32(255))
    if change is not None:
        rows = change(ops, rows)
    graph = openvino.Model([rows], [pixels], "stand_in")
    CompiledFile(graph, weights, N_FEATURES).write(Path(file))
    return Path(file)


def never_the_same(ops: Any, rows: Any) -> Any:
    """Add noise that differs at each run, so that an old row tells itself from a new one."""
    zero, little = np.float32(0), np.float32(1e-3)
    return ops.add(rows, ops.random_uniform(ops.shape_of(rows), zero, little, "f32", 0, 0))


def nan_for_black(ops: Any, rows: Any) -> Any:
    """Divide by the brightness, which gives NaN for a black image."""
    return ops.divide(rows, ops.reduce_mean(rows, np.array([1]), keep_dims=True))
