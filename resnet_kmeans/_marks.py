"""Marks what this user wrote, so that it can be told from what a stranger wrote."""

import functools
import hashlib
import hmac
import os
import secrets
from pathlib import Path

import filelock
import platformdirs

from resnet_kmeans._files import replacing
from resnet_kmeans.exceptions import printable, warn_caller

KEY_BYTES = 32


def mark_of(*texts: str | memoryview) -> str:
    """Return the keyed hash of texts, which only this user can make, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16, key=_key(state_folder() / "key"))
    for text in texts:
        encoded = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def is_marked(mark: object, *texts: str | memoryview) -> bool:
    """Return whether this user made the mark of these texts."""
    # Bytes, as `compare_digest` takes no text beyond ASCII.
    given = str(mark).encode(errors="surrogatepass")
    return hmac.compare_digest(given, mark_of(*texts).encode())


def state_folder() -> Path:
    """Return the folder for what this package keeps about a user, who does not look there."""
    return platformdirs.user_state_path("resnet_kmeans", appauthor=False)


@functools.cache
def _key(file: Path) -> bytes:
    """Return the key of this user, which is made at first use and never leaves the machine."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{file}.lock"):
            if not file.exists():
                with replacing(file) as part:
                    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                    with open(handle, "wb") as out:
                        out.write(secrets.token_bytes(KEY_BYTES))
        if len(key := file.read_bytes()) == KEY_BYTES:
            return key
        reason = f"{len(key)} bytes long, not {KEY_BYTES}"
    except (OSError, NotImplementedError) as error:  # a file system without locks
        reason = str(error)
    warn_caller(
        UserWarning(
            f"The key that marks your own exports, {printable(file)}, cannot be used "
            f"({printable(reason)}). The work goes on, but `undo` will ask whether you trust this "
            "export."
        )
    )
    return secrets.token_bytes(KEY_BYTES)
