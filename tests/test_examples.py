"""Each example runs as it stands, offline, on a small folder and a real network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]_*.py"))
# What each prints and leaves behind.
EXPECTED = {
    "1": ("24 images, 0 unreadable", ["clusters/clusters.csv", "clusters/report.html"]),
    "2": ("best: ", []),
    "3": ("clusters: ", ["how_many.png", "clusters.png"]),
    "4": ("blue_dots_1.png", ["clusters.safetensors"]),
    "5": ("modularity", []),
    "6": ("24 images in clusters/", ["clusters/clusters.csv", "features"]),
}


def run_example(path, folder, *arguments):
    command = [sys.executable, "-W", "error::FutureWarning", path, *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_does_what_it_says(path, pictures, tmp_path):
    folder = [] if path.name[0] == "4" else [pictures]  # without one it draws its own
    # The fifth brings a network of its own.
    network = [] if path.name[0] == "5" else ["--backbone", "efficientnet_lite0"]
    done = run_example(path, tmp_path, *folder, *network)
    assert done.returncode == 0, done.stderr
    said, files = EXPECTED[path.name[0]]
    assert said in done.stdout
    assert [name for name in files if not (tmp_path / name).exists()] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_a_question_of_at_most_50_lines_in_the_table(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 50
    assert lines[0].startswith('"""I ') or lines[0].endswith("?")
    assert f"[{path.name}]({path.name})" in (path.parent / "README.md").read_text()
