"""Reads and writes a compiled network as one file."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_kmeans.network.telemetry import import_openvino

FORMAT = 1
# What zipfile, json and OpenVINO raise on damaged files, beside OSError.
DAMAGES = (
    *(ValueError, LookupError, TypeError, EOFError, NotImplementedError, RuntimeError),
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class CompiledFile:
    """A compiled network, with what is to be known without running it.

    Parameters
    ----------
    graph : openvino.Model
        From pixels to features, for any number of images.
    weights_hash : str
        Hash of the weights' values, as Keras had them.
    n_features : int
        Width of a row.
    """

    graph: Any
    weights_hash: str
    n_features: int

    def write(self, file: Path) -> None:
        """Write the file beside its place, then move it there: nobody sees half of it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        about = {"format": FORMAT, "weights_hash": self.weights_hash, "n_features": self.n_features}
        part = file.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(part, "x") as archive:
                graph = Path(folder, "network.xml")
                # Half precision would halve the file, and change the features.
                import_openvino().save_model(self.graph, graph, compress_to_fp16=False)
                archive.writestr("network.json", json.dumps(about))
                archive.write(graph, graph.name)
                archive.write(graph.with_suffix(".bin"), "network.bin")
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def read(cls, file: Path) -> CompiledFile:
        """Read a file, each byte of which is checked against a sum.

        Raises
        ------
        OSError
            If it is not there or cannot be read.
        DAMAGES
            If it is damaged, cut short or of another format.
        """
        with zipfile.ZipFile(file) as archive:
            about = json.loads(archive.read("network.json"))
            if about["format"] != FORMAT:
                raise ValueError(f"it has format {about['format']}, this release reads {FORMAT}")
            # By way of memory: OpenVINO would map a file that another process may remove.
            contents = [archive.read(name) for name in ("network.xml", "network.bin")]
        graph = import_openvino().Core().read_model(*contents)
        return cls(graph, about["weights_hash"], about["n_features"])
