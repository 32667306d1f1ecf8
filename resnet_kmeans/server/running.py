"""Opens an export in a browser."""

import logging
import os
import secrets
import socket
import sys
import threading
import webbrowser
from contextlib import suppress

from resnet_kmeans.exceptions import OutputFolderError
from resnet_kmeans.report import without_warnings
from resnet_kmeans.server.album import OpenAlbum
from resnet_kmeans.server.pictures import Pictures

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
PATIENCE = 3  # seconds for requests at the end; a step is always completed


def open_export(folder: str | os.PathLike[str], *, port: int = 0, browser: bool = True) -> None:
    """Open an export in a browser, to look at all its images and to correct it.

    The page is served to this machine alone, at an address that is logged and contains a random
    token. What is corrected there is done at once, as a step of the export. The function returns
    when the album is closed on the page, or after Ctrl-C.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.
    port : int, default=0
        Port of the address; 0 chooses a free one.
    browser : bool, default=True
        Whether to start the browser. If False, open the address yourself.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, a command on it was interrupted, or the port is taken.

    Examples
    --------
    >>> from resnet_kmeans import open_export
    >>> open_export("clusters")  # doctest: +SKIP
    """
    # `from resnet_kmeans import *` imports this module, but not what only a server needs.
    import uvicorn

    from resnet_kmeans.server.app import new_app

    album, token, once = OpenAlbum(folder), secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with _listen(port) as listener, Pictures() as pictures:
        address = f"http://{HOST}:{listener.getsockname()[1]}/?token="
        # A warning, because that is what Python shows if nobody has configured logging.
        logger.warning("The album is open at %s%s (Ctrl-C closes it)", address, token)
        server = uvicorn.Server(
            uvicorn.Config(
                lambda *request: app(*request),
                interface="asgi3",
                log_config=None,
                log_level="critical",  # it logs what happens to requests at the end; errors we log
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        app = new_app(album, pictures, (token, once), lambda: setattr(server, "should_exit", True))
        # The listener accepts already, though nobody is served until the server runs.
        if browser and _has_screen():
            threading.Thread(target=webbrowser.open, args=[address + once], daemon=True).start()
        with without_warnings(), suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    if os.name == "posix":  # elsewhere, this would let two programs share the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or "expected 0 to 65535"
        raise OutputFolderError(
            f"Port {port} of {HOST} cannot be used: {why}. Nothing was done. Choose "
            "another one, or leave it out."
        ) from error
    listener.listen(128)
    return listener


def _has_screen() -> bool:
    # A browser for text would take the terminal over.
    is_graphical = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("win32", "darwin") or bool(is_graphical)
