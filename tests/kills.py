"""Stops a command at a change of the disk: by an error in this process, by SIGKILL in a fork.

Run as a program, it forks a process for each job that it reads, so that the package is imported
once. It is a process of its own, since a fork of one in which a network ran may hang. A job is
the number of the change to be killed at (0 for none), the folder whose changes are counted, the
folder of the cache, a file for what is printed, the name of a public function or ``main``, and
its arguments. The answer is the exit status of the fork.
"""

import io
import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from unittest import mock

import resnet_kmeans
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import ResNetKMeansError

KILLED = -getattr(signal, "SIGKILL", 9)  # Windows has no name for it
CHANGES = {
    *("os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.utime"),
    *("os.chmod", "os.truncate", "shutil.copyfile", "open"),
}

_watch = None  # a function called before each change; audit hooks cannot be removed
_is_hooked = False


class Killed(BaseException):
    """Stands in for SIGKILL: no ``except Exception`` catches it."""


def _hook(event, args):
    global _watch
    if event in CHANGES and (watch := _watch) is not None and _is_change(event, args):
        _watch = None  # what it does itself is not watched
        try:
            watch([os.fsdecode(a) for a in args[:2] if isinstance(a, (str, bytes, os.PathLike))])
        finally:
            _watch = watch


def _is_change(event, args):
    return event != "open" or (isinstance(args[2], int) and args[2] & os.O_ACCMODE)


@contextmanager
def watched(folder, before_change):
    """Call a function before each change of the disk below a folder."""
    global _watch, _is_hooked
    folder, sync = os.path.join(folder, ""), os.fsync

    def watch(paths):
        if any(not os.path.isabs(path) or f"{path}/".startswith(folder) for path in paths):
            before_change()

    def fsync(handle):
        _hook("os.truncate", [folder])  # no audit event, but a step
        sync(handle)

    if not _is_hooked:
        sys.addaudithook(_hook)
        _is_hooked = True
    with mock.patch("os.fsync", fsync):
        _watch = watch
        try:
            yield
        finally:
            _watch = None


@contextmanager
def stopped(folder, when, error):
    """Raise an error at the first change below a folder before which `when` is true.

    An error of the disk stays: it is raised at each later change too.
    """
    is_raised = False

    def check():
        nonlocal is_raised
        if isinstance(error, OSError) if is_raised else when():
            is_raised = True
            raise error

    with watched(folder, check):
        yield


@contextmanager
def killed_at(n, folder, kill):
    """Kill at the n-th change below a folder, and at every later one that a `finally` tries."""
    seen = 0

    def count():
        nonlocal seen
        seen += 1
        if n and seen >= n:
            kill()

    with watched(folder, count):
        yield


def call(name, arguments, options):
    """Call a public function or the command line; return its exit status and what it says."""
    if name != "main":
        try:
            getattr(resnet_kmeans, name)(*arguments, **options)
        except ResNetKMeansError as error:
            return 2, str(error)
        return 0, ""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = main([str(argument) for argument in arguments])
    return code, said.getvalue()


def run_here(n, folder, name, *arguments, **options):
    """Do a job in this process, stopped by an error at the n-th change."""

    def kill():
        raise Killed

    try:
        with killed_at(n, folder, kill):
            return call(name, arguments, options)
    except Killed:
        return KILLED, ""


@contextmanager
def run_in_forks(printed):
    """Yield a function that does a job in a fork, which is killed at its n-th change."""
    command, root = [sys.executable, "-m", __name__], Path(__file__).parents[1]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root) as process:

        def run(n, folder, *job, **options):
            cache = os.environ["RESNET_KMEANS_CACHE"]
            line = json.dumps([n, folder, cache, printed, job, options], default=str)
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            code = int(process.stdout.readline())
            text = Path(printed).read_text()
            assert code in (0, 2, KILLED), text
            return code, text

        yield run


def _work(n, folder, cache, printed, job, options):
    os.environ["RESNET_KMEANS_CACHE"] = cache
    Path(printed).write_text("")
    with killed_at(n, folder, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        code, text = call(job[0], job[1:], options)
    Path(printed).write_text(text)
    return code


def _serve():
    for line in sys.stdin:
        if not (child := os.fork()):
            status = 1
            try:
                warnings.simplefilter("ignore")
                status = _work(*json.loads(line))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    with suppress(SystemExit), redirect_stdout(io.StringIO()):
        main(["--version"])  # imports what commands need once, not in each fork
    _serve()
