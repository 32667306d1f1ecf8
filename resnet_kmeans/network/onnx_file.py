"""Reads the weights of an ONNX file, whichever files they are in, without the onnx package."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Numbers of fields, from onnx.proto: those that lead from a model to its tensors, and from a
# tensor to the words that say where its values are.
INITIALIZERS, CONSTANTS = (7, 5), (7, 1, 5, 5)
EXTERNAL, RAW = 13, 9
NOT_VALUES = (8, 12, EXTERNAL, 14, 16)  # name, documentation, place, notes


def external_files(file: Path) -> list[Path]:
    """Return the other files that hold weights of an ONNX file; none if it is unreadable."""
    try:
        places = [place for tensor in _tensors(file) if (place := _place(tensor))]
    except (OSError, ValueError, LookupError, TypeError):
        return []  # reading it for its network raises an error that says so
    return [file.parent / name for name in dict.fromkeys(place["location"] for place in places)]


def hash_onnx(file: Path) -> str:
    """Return a hash of the weight values, which does not depend on the files that they are in.

    Raises
    ------
    OSError, ValueError, LookupError, TypeError
        If a file is missing, damaged, or not an ONNX file.
    """
    digest = hashlib.sha256()
    for tensor in _tensors(file):
        values = [part for part in _fields(tensor) if part[0] not in NOT_VALUES]
        if place := _place(tensor):
            values.append((RAW, _external(file.parent / place["location"], place)))
        for number, value in values:
            content = value if isinstance(value, memoryview) else str(value).encode()
            digest.update(f"{number} {len(content)} ".encode())
            digest.update(content)
    return digest.hexdigest()


def _tensors(file: Path) -> Iterator[memoryview]:
    content = _mapped(file)
    for path in (INITIALIZERS, CONSTANTS):
        yield from _find(content, path)


def _mapped(file: Path) -> memoryview:
    """Return the content of a file, of which only the parts that are looked at are read."""
    with file.open("rb") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))


def _external(file: Path, place: dict[str, str]) -> memoryview:
    start = int(place.get("offset", 0))
    content = _mapped(file)[start:]
    return content[: int(place.get("length", len(content)))]


def _place(tensor: memoryview) -> dict[str, str]:
    """Return the words that say where the values of a tensor are; none if they are in it."""
    pairs = [dict(_fields(entry)) for entry in _find(tensor, (EXTERNAL,))]
    return {str(pair[1], "utf-8"): str(pair[2], "utf-8") for pair in pairs}


def _find(message: Any, path: tuple[int, ...]) -> Iterator[Any]:
    """Yield the parts of a message at the end of a path of field numbers."""
    for number, value in _fields(message):
        if number == path[0] and len(path) == 1:
            yield value
        elif number == path[0]:
            yield from _find(value, path[1:])


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field of a protobuf message."""
    at = 0
    while at < len(message):
        value: Any = None
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 2, 5):  # 8 bytes, a number of bytes that is told, 4 bytes
            size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + size], at + size
        if value is None or at > len(message):
            raise ValueError("it is damaged, or not an ONNX file")
        yield tag >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number that takes 7 bits of each byte, and the position after it."""
    value, shift = 0, 0
    while message[at] & 128:
        value, shift, at = value | (message[at] & 127) << shift, shift + 7, at + 1
    return value | message[at] << shift, at + 1
