"""Reads a curation: the corrections that a person wants to make to an export."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans.exceptions import CurationError, printable

FORMAT = 1  # also written by correcting.js
KEYS = {"format", "export", "revision", "names", "moves"}


class Curation(NamedTuple):
    """New names for folders, and new folders for images.

    Attributes
    ----------
    export : str or None
        The id of the export that the curation belongs to; None fits any export.
    revision : int or None
        Number of steps of the export when the page was written; None means the present state.
    names : dict of str to str
        New name by present folder. Equal names merge folders.
    moves : dict of str to (str or None)
        New folder by present path of an image; None sets the image aside.
    """

    export: str | None
    revision: int | None
    names: dict[str, str]
    moves: dict[str, str | None]


def read_curation(curation: Mapping[str, Any] | str | os.PathLike[str]) -> Curation:
    """Read a curation from a mapping or a JSON file.

    Raises
    ------
    CurationError
        If the file cannot be read, is not a curation, or has a newer format.
    """
    place = "the mapping"
    if not isinstance(curation, Mapping):
        place = printable(curation)
        curation = _from_file(Path(curation), place)
    number = curation.get("format", FORMAT)
    if not isinstance(number, int) or number > FORMAT:
        raise _error(f"format {number!r}, newer than {FORMAT}", place)
    # A misspelled key would otherwise be ignored, and its corrections with it.
    if unknown := set(curation) - KEYS:
        raise _error(f"unknown keys {', '.join(sorted(map(repr, unknown)))}", place)
    export, revision = curation.get("export"), curation.get("revision")
    names, moves = curation.get("names"), curation.get("moves")
    if not (export is None or isinstance(export, str)):
        raise _error(f"the export {export!r}", place)
    if type(revision) not in (int, type(None)):
        raise _error(f"the revision {revision!r}", place)
    return Curation(export, revision, _checked(names, place), _checked(moves, place, or_none=True))


def _from_file(path: Path, place: str) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CurationError(
            f"No corrections can be read from {place}: {error.strerror}. Nothing was done. "
            "Check the path."
        ) from error
    except (ValueError, RecursionError) as error:  # deeply nested lists exceed the recursion limit
        raise _error(f"invalid JSON ({error})", place) from error
    if not isinstance(found, dict):
        raise _error(f"a {type(found).__name__}", place)
    return found


def _checked(found: Any, place: str, or_none: bool = False) -> dict[str, Any]:
    """Return a mapping of strings to strings, or to None if allowed."""
    found = {} if found is None else found
    if not isinstance(found, Mapping):
        raise _error(f"a {type(found).__name__} as names or moves", place)
    for key, value in found.items():
        is_valid = isinstance(value, str) or (or_none and value is None)
        if not isinstance(key, str) or not is_valid:
            raise _error(f"{key!r}: {value!r}", place)
    return dict(found)


def _error(got: str, place: str) -> CurationError:
    return CurationError(
        'Expected corrections as {"format": 1, "names": {FOLDER: NAME}, "moves": {PATH: FOLDER or '
        f"null}}}}, got {printable(got)} in {place}. Nothing was done. Save the corrections "
        "from the report again, or upgrade resnet-kmeans."
    )
