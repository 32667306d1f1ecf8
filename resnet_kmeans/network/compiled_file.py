"""Reads and writes a compiled network as one file."""

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_kmeans.atomic_write import replacing
from resnet_kmeans.network.telemetry import import_openvino

FORMAT = 1
# Besides OSError, what zipfile, json and OpenVINO raise for damaged files.
DAMAGES = (
    *(ValueError, LookupError, TypeError, EOFError, NotImplementedError, RuntimeError),
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class CompiledFile:
    """A compiled network with the facts needed before running it.

    Parameters
    ----------
    graph : openvino.Model
        Maps pixels to features, for any number of images.
    weights_hash : str
        Hash of the weight values in the Keras model.
    n_features : int
        Number of features per image.
    """

    graph: Any
    weights_hash: str
    n_features: int

    def write(self, file: Path) -> None:
        """Write the network to a file atomically."""
        file.parent.mkdir(parents=True, exist_ok=True)
        about = {"format": FORMAT, "weights_hash": self.weights_hash, "n_features": self.n_features}
        with tempfile.TemporaryDirectory() as folder, replacing(file) as part:
            graph = Path(folder, "network.xml")
            # Half precision would halve the file but change the features.
            import_openvino().save_model(self.graph, graph, compress_to_fp16=False)
            with zipfile.ZipFile(part, "x") as archive:
                archive.writestr("network.json", json.dumps(about))
                archive.write(graph, graph.name)
                archive.write(graph.with_suffix(".bin"), "network.bin")

    @classmethod
    def read(cls, file: Path) -> CompiledFile:
        """Read a network from a file.

        Raises
        ------
        OSError
            If the file is missing or cannot be read.
        DAMAGES
            If the file is damaged, truncated or of another format.
        """
        with zipfile.ZipFile(file) as archive:
            about = json.loads(archive.read("network.json"))
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']}, this release reads {FORMAT}")
            # `archive.read` verifies a checksum of every byte. The contents go through memory
            # because OpenVINO would map a file, which another process may remove.
            contents = [archive.read(name) for name in ("network.xml", "network.bin")]
        graph = import_openvino().Core().read_model(*contents)
        return cls(graph, about["weights_hash"], about["n_features"])
