"""Commands on exports are killed: no image is lost, and the next run finishes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from resnet_kmeans.export import is_unfinished, read_export
from resnet_kmeans.export.journal import read_journal
from resnet_kmeans.export.present_state import can_undo
import os
TEST_ALL = bool(os.environ.get("RESNET_KMEANS_TEST_ALL"))

SCRIPT = Path(__file__).with_name("commands_in_forks.py")
# Prime to 3 and 4: what is done after every third and fourth kill is done in a part of them too.
STEPS = range(1, 200, 1 if TEST_ALL else 5)


@pytest.fixture(scope="module")
def in_fork(tmp_path_factory):
    """A function that runs a job in a fork, which is killed at its n-th change of the disk."""
    printed = tmp_path_factory.mktemp("printed") / "printed"
    with subprocess.Popen(
        [sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:

        def run(n, name, *arguments) -> tuple[int, str]:
            job = json.dumps([n, name, arguments, str(printed)])
            process.stdin.write(f"{job}\n".encode())
            process.stdin.flush()
            code = int(process.stdout.readline())
            text = printed.read_text()
            assert code in (0, 2, -signal.SIGKILL), text
            return code, text

        yield run


def draw(folder: Path, shades, prefix="") -> list[str]:
    """Draw grey pictures, each with different bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}{shade}.png" for shade in shades]
    for path, shade in zip(paths, shades):
        Image.new("L", (3, 3), shade).save(path)
    return [str(path) for path in paths]


def bytes_in(*folders: Path) -> list[bytes]:
    found = (p for f in folders for p in sorted(f.rglob("*")) if p.is_file())
    return sorted(p.read_bytes() for p in found if p.suffix == ".png")


def tree(folder: Path) -> dict[str, bytes]:
    found = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


OLD, NEW = [0, 8, 16, 240, 248], [1, 9, 247, 120]

JOBS = {
    # Two folders swap their names.
    "apply": {
        "names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"},
        "moves": {},
    },
    "merge": {"names": {"cluster_0": "greys", "cluster_1": "greys"}, "moves": {}},
    "rename": ["cluster_0", "dark"],
    "split": ["cluster_0", 2],
    "add": "copy",
    "add by move": "move",
}


@pytest.fixture
def place(tmp_path):
    """Paths of a folder of images, one of more images, and an export."""
    return {name: tmp_path / "work" / name for name in ("in", "more", "out")}


def arguments_of(job, place):
    out, more = str(place["out"]), str(place["more"])
    if job in ("apply", "merge"):
        return ["apply", out, JOBS[job]]
    if job.startswith("add"):
        return ["main", "add", out, more, "--action", JOBS[job], "--quiet"]
    return [job, out, *JOBS[job]]


@pytest.mark.parametrize("job", JOBS)
def test_a_kill_at_any_step_loses_nothing_and_the_next_run_finishes(tmp_path, place, in_fork, job):
    template = tmp_path / "template"
    draw(place["in"], OLD), draw(place["more"], NEW, "new_")
    before, more = tree(place["in"]), tree(place["more"])
    everything = {*before.values(), *more.values()}
    images = sorted(map(str, place["in"].iterdir()))
    assert in_fork(0, "cluster", images, str(place["out"]), "move")[0] == 0
    shutil.copytree(place["in"].parent, template)
    arguments, out = arguments_of(job, place), place["out"]
    layouts = []
    for n in STEPS:
        shutil.rmtree(place["in"].parent)
        shutil.copytree(template, place["in"].parent)
        code, text = in_fork(n, *arguments)
        assert set(bytes_in(*place.values())) == everything, f"lost by a kill at step {n}"
        if code == 0:
            break
        was_interrupted = is_unfinished(out)
        if n % 4 == 0 and was_interrupted:
            check_all_else_is_refused(in_fork, out)
        if n % 3 < 2:
            again = ["finish", str(out)] if n % 3 == 0 and was_interrupted else arguments
            code, text = in_fork(0, *again)
            assert code == 0 or "Expected" in text, text
            assert not is_unfinished(out)
            state = read_export(out)
            assert not state.is_changed
            if was_interrupted:
                layouts.append(sorted((i.exported_path, i.source_path) for i in state.images))
            assert set(bytes_in(*place.values())) == everything
        if n % 3 < 2 and n % 4:
            continue  # to save time, only some are undone after they were finished
        code, text = in_fork(0, "undo", str(out))
        assert code == 0, text
        assert (tree(place["in"]), tree(place["more"])) == (before, more)
        assert not out.exists()
    assert code == 0
    assert layouts
    assert layouts == [layouts[0]] * len(layouts)
    assert n > 5, "the kills were too few to be true"


def check_all_else_is_refused(in_fork, out):
    state = tree(out)
    for other in (["rename", str(out), "cluster_1", "other"], ["main", "report", str(out)]):
        code, text = in_fork(0, *other)
        assert code == 2
        assert f"resnet-kmeans finish {out}" in text
        assert f"resnet-kmeans undo {out}" in text
    assert tree(out) == state


def test_a_kill_at_any_step_of_undo_loses_nothing_and_the_next_undo_finishes(
    tmp_path, place, in_fork
):
    draw(place["in"], OLD), draw(place["more"], NEW, "new_")
    before, more = tree(place["in"]), tree(place["more"])
    out, template = place["out"], tmp_path / "template"
    images = sorted(map(str, place["in"].iterdir()))
    assert in_fork(0, "cluster", images, str(out), "move")[0] == 0
    assert in_fork(0, "add", str(out), str(place["more"]))[0] == 0
    assert in_fork(0, "rename", str(out), "0", "dark")[0] == 0
    shutil.copytree(place["in"].parent, template)
    for n in STEPS:
        shutil.rmtree(place["in"].parent)
        shutil.copytree(template, place["in"].parent)
        code, _ = in_fork(n, "undo", str(out))
        assert set(bytes_in(*place.values())) == {*before.values(), *more.values()}
        if out.exists() and (out / ".resnet-kmeans.jsonl").exists():
            if is_unfinished(out):
                refused, text = in_fork(0, "split", str(out), "dark")
                assert (refused, "undo" in text) == (2, True)
            again, text = in_fork(0, "undo", str(out))
            assert again == 0, text
        assert (tree(place["in"]), tree(place["more"])) == (before, more)
        assert not out.exists() or not tree(out)
        if code == 0:
            break
    assert code == 0
    assert n > 10, "the kills were too few to be true"


def test_a_kill_at_any_step_of_undo_keeps_an_export_of_copies(tmp_path, place, in_fork):
    draw(place["in"], OLD), draw(place["more"], NEW, "new_")
    sources, out, template = tree(place["more"]), place["out"], tmp_path / "template"
    images = sorted(map(str, place["in"].iterdir()))
    assert in_fork(0, "cluster", images, str(out), "copy")[0] == 0
    kept = sorted(bytes_in(place["in"], out))
    add = ["main", "add", str(out), str(place["more"]), "--action", "move", "--quiet"]
    assert in_fork(0, *add)[0] == 0
    shutil.copytree(place["in"].parent, template)
    for n in STEPS:
        shutil.rmtree(place["in"].parent)
        shutil.copytree(template, place["in"].parent)
        code, _ = in_fork(n, "undo", str(out))
        assert set(bytes_in(*place.values())) >= {*kept, *sources.values()}
        if read_export(out).is_changed or tree(place["more"]) != sources:
            again, text = in_fork(0, "undo", str(out))
            assert again == 0, text
        assert tree(place["more"]) == sources
        assert sorted(bytes_in(place["in"], out)) == kept
        assert not read_export(out).is_changed
        if code == 0:
            break
    assert code == 0
    assert n > 3, "the kills were too few to be true"


def test_an_interrupted_undo_can_only_be_finished_by_undo(tmp_path, place, in_fork):
    draw(place["in"], OLD), draw(place["more"], NEW, "new_")
    before, out = tree(place["in"]), str(place["out"])
    images = sorted(map(str, place["in"].iterdir()))
    add = ["main", "add", out, str(place["more"]), "--action", "move", "--quiet"]
    assert in_fork(0, "cluster", images, out, "move")[0] == 0
    assert in_fork(0, *add)[0] == 0
    assert in_fork(5, "undo", out)[0] == -signal.SIGKILL
    assert read_journal(place["out"]).command == "undo"
    cluster = ["main", "cluster", str(place["in"]), out, "--action", "move", "--quiet"]
    for other in (add, cluster, ["rename", out, "0", "cats"]):
        code, text = in_fork(0, *other)
        assert code == 2
        assert f"resnet-kmeans undo {out}" in text
    assert in_fork(0, "main", "finish", out)[0] == 0
    assert tree(place["in"]) == before
    assert not place["out"].exists()


N_RANDOM = int(os.environ.get("RESNET_KMEANS_RANDOM_KILLS", "20" if TEST_ALL else "6"))


@pytest.mark.parametrize("seed", range(N_RANDOM))
def test_random_kills_and_commands_lose_no_image_and_move_none_unasked(
    tmp_path, place, in_fork, seed
):
    story = Story(place, in_fork, random.Random(seed))
    for _ in range(3):
        story.step(killed=True)
        story.step(killed=False)
    story.end()


class Story:
    """Random commands on one export; the state of all images is checked after each."""

    def __init__(self, place, in_fork, rng):
        self.place, self.in_fork, self.rng = place, in_fork, rng
        draw(place["in"], OLD)
        draw(place["more"], NEW, "new_")
        self.before = {name: tree(place[name]) for name in ("in", "more")}
        self.everything = {b for files in self.before.values() for b in files.values()}
        self.moved = set()  # folders from which a command was asked to move images
        self.log = []
        self.begun = None  # the last interrupted command, other than undo

    def command(self):
        out, rng = str(self.place["out"]), self.rng
        folders = [p.name for p in self.place["out"].glob("[!._]*/")] or ["cluster_0"]
        kind = rng.choice(["cluster", "add", "apply", "split", "rename", "undo", "finish"])
        if not self.place["out"].exists() and rng.random() < 0.8:
            kind = "cluster"
        if kind in ("cluster", "add"):
            name = "in" if kind == "cluster" else "more"
            action, source = rng.choice(["copy", "move", "move"]), str(self.place[name])
            places = [source, out] if kind == "cluster" else [out, source]
            return [kind, *places, "--action", action, "--quiet", *(["-k2"] * (name == "in"))]
        if kind == "apply":
            curation = {"names": {rng.choice(folders): rng.choice("abc")}, "moves": {}}
            images = [p.relative_to(self.place["out"]).as_posix() for p in self.images()]
            for image in rng.sample(images, min(2, len(images))):
                curation["moves"][image] = rng.choice(["a", "new", None])
            file = self.place["out"].with_name("curation.json")
            file.write_text(json.dumps(curation))
            return ["apply", out, str(file)]
        if kind == "rename":
            return ["rename", out, rng.choice(folders), rng.choice("abc")]
        return [kind, out, *([rng.choice(folders), "--quiet"] if kind == "split" else [])]

    def images(self):
        return sorted(self.place["out"].glob("[!.]*/*.png"))

    def step(self, killed):
        interrupted = self.place["out"].exists() and self.unfinished()
        again = interrupted and self.begun and self.rng.random() < 0.3
        argv = self.begun if again else self.command()
        before = {name: tree(folder) for name, folder in self.place.items()}
        code, text = self.in_fork(self.rng.randint(1, 40) if killed else 0, "main", *argv)
        self.log.append((argv, code, text))
        if "move" in argv and code != 2:
            self.moved.add("in" if argv[0] == "cluster" else "more")
        now = {name: tree(folder) for name, folder in self.place.items()}
        kept = {b for files in now.values() for b in files.values()}
        assert self.everything <= kept, self.log
        for name in {"in", "more"} - self.moved:
            assert now[name] == self.before[name], self.log
        if code == 2:
            assert now == before, self.log
            assert text.startswith("resnet-kmeans: error: "), self.log
            assert "Traceback" not in text, self.log
        if interrupted and code == 0:
            assert argv[0] in ("finish", "undo") or argv == self.begun, self.log
        if not interrupted and argv[0] != "undo":
            self.begun = argv
        if self.place["out"].exists() and self.unfinished():
            is_undo = read_journal(self.place["out"]).command == "undo"
            self.begun = None if is_undo else self.begun
        if code == 0:
            assert not self.place["out"].exists() or not self.unfinished(), self.log
            assert text.strip(), self.log

    def unfinished(self):
        return is_unfinished(self.place["out"])

    def end(self):
        """Finish or undo the export: every image is at its source again."""
        out = self.place["out"]
        if out.exists() and self.unfinished():
            ways = ["finish", "undo"] if can_undo(read_journal(out)) else ["finish"]
            way = self.rng.choice(ways)
            code, text = self.in_fork(0, "main", way, str(out))
            assert code == 0, [*self.log, way, text]
        if out.exists() and self.moved and (out / ".resnet-kmeans.jsonl").exists():
            code, text = self.in_fork(0, "main", "undo", str(out))
            assert code == 0 or "were never moved" in text, [*self.log, text]
        for name, files in self.before.items():
            assert tree(self.place[name]) == files, self.log
