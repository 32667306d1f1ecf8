"""Imports OpenVINO and NNCF without their usage reports."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

_REPORTER = "openvino_telemetry"


def import_openvino() -> Any:
    """Return OpenVINO; no other function imports it.

    Raises
    ------
    ImportError
        If OpenVINO is not available for this machine.
    """
    with _without_reporter():
        import openvino
    # OpenVINO builds its table of types at first use. Two threads that do so at once deadlock:
    # one waits for the table with the interpreter's lock, which the other needs to build it.
    openvino.Type.u8.to_dtype()
    return openvino


def import_nncf() -> Any:
    """Return NNCF, part of the `int8` extra; no other function imports it."""
    with _without_reporter():
        import nncf
    return nncf


@contextlib.contextmanager
def _without_reporter() -> Iterator[None]:
    """Hide the package that reports usage from imports within the context."""
    # Both libraries then fall back to a silent stub of their own.
    before = {_REPORTER: sys.modules[_REPORTER]} if _REPORTER in sys.modules else {}
    sys.modules[_REPORTER] = None  # type: ignore[assignment]  # None forbids the import
    try:
        yield
    finally:
        del sys.modules[_REPORTER]
        sys.modules.update(before)
