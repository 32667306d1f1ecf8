"""Each example runs as it stands, offline, on a small folder."""

import runpy
import sys
from pathlib import Path

import pytest

from resnet_kmeans import ResNetFeaturizer

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]_*.py"))
# What each takes besides a folder, prints, and leaves behind.
EXPECTED = {
    "1": (["PICTURES"], " -> ", ["clusters/clusters.csv", "folders.safetensors"]),
    "2": ([], "10 clusters: score", ["model.safetensors"]),
    "3": ([], "score", []),
    "4": (["--backbone", "efficientnet_lite0"], " images in clusters/", ["features"]),
}


def run(path, folder, given, monkeypatch):
    monkeypatch.setattr(sys, "argv", list(map(str, [path, folder, *given])))
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_does_what_it_says(path, real_pictures, pictures, tmp_path, monkeypatch, capsys):
    given, said, files = EXPECTED[path.name[0]]
    monkeypatch.chdir(tmp_path)
    more = [pictures if argument == "PICTURES" else argument for argument in given]
    run(path, real_pictures, more, monkeypatch)
    assert said in capsys.readouterr().out
    assert [name for name in files if not (tmp_path / name).exists()] == []


# The first names clusters after the classes of a real network, the third makes one.
@pytest.mark.parametrize("number", ["2", "4"])
def test_an_example_runs_without_a_real_network(
    number, pictures, stand_in, tmp_path, monkeypatch, capsys
):
    (path,) = (path for path in EXAMPLES if path.name[0] == number)
    _, said, files = EXPECTED[number]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ResNetFeaturizer.__init__.__kwdefaults__, "weights", stand_in)
    run(path, pictures, ["--weights", stand_in] if number == "4" else [], monkeypatch)
    assert said.split()[-1] in capsys.readouterr().out
    assert [name for name in files if not (tmp_path / name).exists()] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_a_question_of_at_most_50_lines_in_the_table(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 50
    assert lines[0].startswith('"""I ') or lines[0].endswith("?")
    assert f"[{path.name}]({path.name})" in (path.parent / "README.md").read_text()
