"""Says in one plain sentence why Keras cannot load or run a network."""

import contextlib
import re
import textwrap
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from resnet_kmeans.exceptions import ExtraNotInstalledError, WeightsFileError, printable
from resnet_kmeans.network.libraries import import_tensorflow

LONGEST = 300  # characters of a reason; some errors print whole arrays
_SAVE_AGAIN = 'load it with keras.models.load_model and save it with model.save("NAME.keras")'
# What can be done about an error of Keras, by a part of its first sentence.
_ADVICE = {
    "`Lambda` layer": "Put layers of Keras in its place, such as Rescaling, and save again",
    "Could not locate": "In Python, import the module that registers it first, or save a model "
    "that only has layers of Keras",
}


def plain_reason(error: BaseException) -> str:
    """Return the first sentence of an error, without what Keras puts around it."""
    # Keras prints the message in bold, and then the arguments of the call.
    text = str(error).split("\x1b[1m")[-1].split("\x1b[0m")[0]
    text = re.split(r"(?:Error|Exception) encountered:\s", text)[-1]  # the cause, not its effect
    words = printable(" ".join(text.split())).strip('"')
    sentence = re.split(r"(?<=[^.][.!?])\s", words)[0].rstrip(".: ")
    return textwrap.shorten(sentence, LONGEST, placeholder=" ...") or type(error).__name__


@contextlib.contextmanager
def explain_loading_errors(file: Path, network: str) -> Iterator[None]:
    """Turn any error in loading into one that names the file and the network."""
    try:
        yield
    except Exception as error:  # h5py, zipfile and Keras raise unrelated errors
        raise WeightsFileError(file, network, _problem(file) or _reason(error, file)) from error


def check_packages(file: Path) -> None:
    """Raise an error if a model needs keras-hub and it is not installed."""
    # The error of Keras itself only says that it cannot find a class.
    if '"keras_hub.' in read_archive(file, "config.json") and find_spec("keras_hub") is None:
        raise ExtraNotInstalledError("keras-hub", "hub", f"the layers of {printable(file)}")


def _problem(file: Path) -> str:
    """Return what is wrong with a file as such, or an empty string."""
    import h5py

    is_archive = file.suffix == ".keras"
    if h5py.is_hdf5(file):
        with h5py.File(file) as opened:
            if "model_config" in opened.attrs:
                return f"it is an HDF5 file of a whole model. To use it, {_SAVE_AGAIN}"
        return "it is an HDF5 file of weights alone" if is_archive else ""
    if is_archive and read_archive(file, "config.json"):
        return ""
    if is_archive:
        return "it is no .keras file, or damaged or incomplete"
    return "it is no HDF5 file, or damaged or incomplete (whole networks are .keras or .onnx files)"


def _reason(error: Exception, file: Path) -> str:
    """Return why Keras cannot load a file, with what to do about it if that is known."""
    reason = plain_reason(error)
    advice = [f". {then}" for part, then in _ADVICE.items() if part in reason]
    return reason + _other_keras(file) + "".join(advice)


def read_archive(file: Path, name: str) -> str:
    """Return a text member of a .keras file, or an empty string."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.read(name).decode()
    except (OSError, ValueError, LookupError, zipfile.BadZipFile):
        return ""


def _other_keras(file: Path) -> str:
    """Return a note if a model was saved by another version of Keras, else ''."""
    found = re.search(r'"keras_version": *"(.+?)"', read_archive(file, "metadata.json"))
    here = import_tensorflow().keras.__version__
    if not found or found[1] == here:
        return ""
    return f" (it was saved by Keras {found[1]}; Keras {here} is installed)"
