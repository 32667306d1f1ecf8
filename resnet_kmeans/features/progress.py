"""Shows the progress of an extraction in the terminal, or else in the log."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

logger = logging.getLogger(__name__)

LOG_SECONDS = 30  # between two lines of the log
SILENT_SECONDS = 2  # before a progress bar appears if all features come from the cache


@contextlib.contextmanager
def progress_bar(n_images: int, verbose: int) -> Iterator[Callable[[int, bool], None]]:
    """Show a progress bar, with images per second and the time left.

    The bar is shown on stderr; if that is no terminal, a line is logged every 30 seconds.

    Parameters
    ----------
    n_images : int
        Number of images to process.
    verbose : int
        0 shows nothing.

    Yields
    ------
    callable
        Called with the number of images just processed, and whether the network ran for them.
    """
    if not verbose:
        yield lambda n_done, computed: None
        return
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _log_of(n_images)
        return

    class Speed(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.finished_speed or task.speed or 0:.0f} images/s"

    columns = (*progress.Progress.get_default_columns(), progress.MofNCompleteColumn(), Speed())
    bar = progress.Progress(*columns, console=console)
    task, begun = bar.add_task("Features", total=n_images), time.monotonic()

    def advance(n_done: int, computed: bool) -> None:
        # A command may read the same features several times. Bars that the cache fills
        # immediately would only confuse.
        if computed or time.monotonic() - begun > SILENT_SECONDS:
            bar.start()  # has no effect on a bar that is already started
        bar.advance(task, n_done)

    try:
        yield advance
    finally:
        bar.stop()


def _log_of(n_images: int) -> Callable[[int, bool], None]:
    """Return a function that logs the progress at times."""
    n_done = n_logged = 0
    logged = time.monotonic()

    def advance(n_more: int, computed: bool) -> None:
        nonlocal n_done, n_logged, logged
        n_done += n_more
        seconds = time.monotonic() - logged
        if seconds > LOG_SECONDS:
            speed = (n_done - n_logged) / seconds
            left = timedelta(seconds=round((n_images - n_done) / speed))
            line = "Features: %d of %d images, %.0f images/s, %s left"
            logger.info(line, n_done, n_images, speed, left)
            n_logged, logged = n_done, logged + seconds

    return advance
