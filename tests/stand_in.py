"""A network that needs neither TensorFlow nor weights: the mean color of each cell of a grid."""

from pathlib import Path

import numpy as np

from resnet_kmeans.network.compiled_files import CompiledFile
from resnet_kmeans.network.libraries import import_openvino

N_CELLS = 4  # in each direction
N_FEATURES = 3 * N_CELLS**2


def write_stand_in(file: Path) -> Path:
    """Write the network to a file that `weights=` takes, with the extension ``.network``."""
    openvino = import_openvino()
    from openvino import opset8 as ops

    pixels = ops.parameter([-1, -1, -1, 3], np.uint8)
    colors = ops.transpose(ops.convert(pixels, "f32"), np.array([0, 3, 1, 2]))
    cells = ops.adaptive_avg_pool(colors, np.array([N_CELLS, N_CELLS]))
    rows = ops.reshape(cells, np.array([-1, N_FEATURES]), special_zero=False)
    graph = openvino.Model([ops.divide(rows, np.float32(255))], [pixels], "stand_in")
    CompiledFile(graph, "stand-in", N_FEATURES).write(Path(file))
    return Path(file)
