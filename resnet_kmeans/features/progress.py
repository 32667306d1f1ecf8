"""Shows the progress of an extraction in the terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator

SILENT_SECONDS = 2  # before a progress bar appears if all features come from the cache


@contextlib.contextmanager
def progress_bar(n_images: int, verbose: int) -> Iterator[Callable[[int, bool], None]]:
    """Show a progress bar on stderr, with images per second and the time left.

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

    class Speed(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.finished_speed or task.speed or 0:.0f} images/s"

    console = Console(stderr=True)
    columns = (*progress.Progress.get_default_columns(), progress.MofNCompleteColumn(), Speed())
    bar = progress.Progress(*columns, console=console, disable=not console.is_terminal)
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
