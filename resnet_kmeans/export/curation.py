"""Reads what a person decided about an export."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans.exceptions import CurationError, printable

FORMAT = 1
KEYS = {"format", "export", "names", "moves"}


class Curation(NamedTuple):
    """New names of folders, then new folders of images.

    Attributes
    ----------
    export : str or None
        The id of the export that it is for.
    names : dict of str to str
        New name by present folder; equal ones merge.
    moves : dict of str to (str or None)
        Folder by present path of an image; None sets it aside.
    """

    export: str | None
    names: dict[str, str]
    moves: dict[str, str | None]


def read_curation(curation: Mapping[str, Any] | str | os.PathLike[str]) -> Curation:
    """Read a curation from a mapping or a JSON file.

    Raises
    ------
    CurationError
        If it is no curation, or of a newer format.
    """
    place = "the mapping"
    if not isinstance(curation, Mapping):
        place = printable(curation)
        curation = _from_file(Path(curation), place)
    number = curation.get("format", FORMAT)
    if not isinstance(number, int) or number > FORMAT:
        raise _error(f"one of format {number!r}, newer than {FORMAT}", place)
    if unknown := set(curation) - KEYS:
        raise _error(f"unknown keys {', '.join(sorted(map(repr, unknown)))}", place)
    export, names, moves = (curation.get(key) for key in ("export", "names", "moves"))
    if not (export is None or isinstance(export, str)):
        raise _error(f"the export {export!r}", place)
    return Curation(export, _texts(names, place), _texts(moves, place, or_none=True))


def _from_file(path: Path, place: str) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _error(f"no file that can be read ({error.strerror})", place) from error
    except (ValueError, RecursionError) as error:
        raise _error(f"no JSON ({error})", place) from error
    if not isinstance(found, dict):
        raise _error(f"a {type(found).__name__}", place)
    return found


def _texts(found: Any, place: str, or_none: bool = False) -> dict[str, Any]:
    found = {} if found is None else found
    if not isinstance(found, Mapping):
        raise _error(f"a {type(found).__name__} where names or moves are", place)
    for key, value in found.items():
        fits = isinstance(value, str) or (or_none and value is None)
        if not isinstance(key, str) or not fits:
            raise _error(f"{key!r}: {value!r}", place)
    return dict(found)


def _error(got: str, place: str) -> CurationError:
    return CurationError(
        'Expected corrections as {"format": 1, "names": {FOLDER: NAME}, "moves": {PATH: FOLDER or '
        f"null}}}}, got {printable(got)} in {place}. Nothing was done. Save it from the report "
        "again, or upgrade resnet-kmeans."
    )
