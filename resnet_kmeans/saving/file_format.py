"""Reads and writes the model file, which holds arrays with a header but no code."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from resnet_kmeans._files import replacing
from resnet_kmeans._marks import is_marked, mark_of
from resnet_kmeans.exceptions import ModelFileError, ModelNotFoundError, printable

FORMAT = 1
MAX_BYTES = 2**30  # a model of 10,000 clusters takes 3 MB; larger files are not read


def write_model(
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    is_own: bool,
) -> None:
    """Write a model file, completely or not at all.

    The format is safetensors. Its metadata contains the header as JSON with a format number,
    and a SHA-256 hash of the header and the arrays.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced only if it is a model file.
    header : mapping
        Values that JSON can represent.
    arrays : mapping of str to ndarray
    is_own : bool
        Whether the file gets the mark of this user.

    Raises
    ------
    ModelFileError
        If `path` is a file of another kind, or cannot be written, or `header` has a value
        that JSON cannot represent.
    """
    path = Path(path)
    if path.exists() and _metadata(path) is None:
        raise ModelFileError(
            f"Expected a new file or an earlier model file, got {printable(path)!r}, which "
            "is something else. Nothing was written. Choose another name."
        )
    text = json.dumps({"format": FORMAT, **header}, default=_plain)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    digest = _digest(text, contiguous)
    metadata = {"resnet_kmeans": text, "sha256": digest, "mark": mark_of(digest) if is_own else ""}
    try:
        with replacing(path) as part, open(part, "wb") as file:
            file.write(to_safetensors(contiguous, metadata))
    except OSError as error:
        raise ModelFileError(
            f"The model cannot be written to {printable(path)!r}: {error.strerror}. "
            "What was there is unchanged. Choose another folder, or free some space."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise ModelFileError(
        f"Expected parameters that need no code, got {type(value).__name__}. Nothing was "
        "written. Use joblib.dump(clusterer, path), and load such files only if you trust them."
    )


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray], bool]:
    """Return the header and arrays of a model file, and whether this user wrote it.

    No code from the file is run.

    Raises
    ------
    ModelNotFoundError
        If there is no file at `path`.
    ModelFileError
        If the file is not a model file, is damaged, was changed after it was written, or has a
        newer format.
    """
    path = Path(path)
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ModelNotFoundError(str(_refusal(path, "no file"))) from error
    except (OSError, ValueError) as error:  # the latter for a null character
        why = getattr(error, "strerror", error)
        raise _refusal(path, f"one that cannot be read ({why})") from error
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(path, "something that is not a file")
    if found.st_size > MAX_BYTES:
        raise _refusal(path, "a file of more than 1 GiB, too large for a model")
    metadata = _metadata(path)
    if metadata is None:
        raise _refusal(path, "a damaged file, or one of another kind")
    text = metadata["resnet_kmeans"]
    try:
        header = json.loads(text)
        newer = int(header["format"]) > FORMAT
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _refusal(path, f"a damaged header ({error})") from error
    if newer:
        got = f"one of format {header['format']}, newer than {FORMAT}"
        raise _refusal(path, got, " Or upgrade resnet-kmeans.")
    arrays = _arrays(path)
    digest = _digest(text, arrays)
    if digest != metadata.get("sha256"):
        raise _refusal(path, "contents that were changed after it was written")
    return header, arrays, is_marked(metadata.get("mark"), digest)


def _refusal(path: Path, got: str, advice: str = "") -> ModelFileError:
    return ModelFileError(
        f"Expected a model file written by ImageFolderClusterer.save, got {got}, in "
        f"{printable(path)!r}. Nothing was loaded. Check the path, or save the model again.{advice}"
    )


def _metadata(path: Path) -> dict[str, str] | None:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, UnicodeError):
        return None
    return metadata if "resnet_kmeans" in metadata else None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    # AttributeError: safetensors looks up types that NumPy does not have, F8_E5M2 for example.
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise _refusal(path, f"arrays that cannot be read ({error})") from error


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
