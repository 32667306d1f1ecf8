"""Reads images, or features that were computed before, with Spark."""

import os
import sys
from typing import Any

from resnet_kmeans.exceptions import InvalidImagesError
from resnet_kmeans.images import IMAGE_EXTENSIONS, MAX_FILE_BYTES

LOST = "Spark could not read the file, or it is larger than 1 GiB"


def read_images(images: Any) -> tuple[Any, Any]:
    """Return a DataFrame of images or features and, for a folder, the list of its files.

    Parameters
    ----------
    images : str or pyspark.sql.DataFrame
        As for `resnet_kmeans.spark.fit`.

    Returns
    -------
    frame : pyspark.sql.DataFrame
        With the columns ``path`` and ``content``, or ``path``, ``features`` and ``reason``.
    listing : pyspark.sql.DataFrame or None
        The ``path`` of each file, including those that Spark cannot read. Spark ignores empty
        files and names that begin with ``.`` or ``_``.
    """
    session_class = _session_class()
    if hasattr(images, "mapInArrow"):
        if not ({"path", "content"} <= set(images.columns) or "features" in images.columns):
            raise InvalidImagesError(f"a DataFrame with the columns {images.columns}")
        return images, None
    spark = session_class.getActiveSession() or _new_session(session_class)
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", True)
    reader = reader.option("pathGlobFilter", _glob(IMAGE_EXTENSIONS))
    # One unreadable file must not make the whole stage fail; the listing still contains it.
    reader = reader.option("ignoreCorruptFiles", True).option("ignoreMissingFiles", True)
    files = reader.load(os.fspath(images))
    return files.where(f"length <= {MAX_FILE_BYTES}"), files.select("path")


def _session_class() -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        message = "resnet_kmeans.spark needs the spark extra: pip install 'resnet-kmeans[spark]'"
        raise ImportError(message) from error
    return SparkSession


def _new_session(session_class: Any) -> Any:
    """Return a session whose workers run the interpreter that runs this."""
    # PySpark reads the variable when it starts Spark, and only then. Its default, the python3 of
    # the PATH, may lack this package.
    is_given = "PYSPARK_PYTHON" in os.environ
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return session_class.builder.getOrCreate()
    finally:
        if not is_given:
            del os.environ["PYSPARK_PYTHON"]


def _glob(extensions: tuple[str, ...]) -> str:
    """Return a Hadoop pattern for file names with these extensions, in upper or lower case."""
    letters = ("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in e) for e in extensions)
    return f"*{{{','.join(letters)}}}"


def reason_where(condition: str) -> str:
    """Return an SQL expression for ``reason`` that fills in the rows of files Spark skipped."""
    return f"if({condition}, coalesce(reason, '{LOST}'), reason) reason"
