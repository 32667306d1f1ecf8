"""The README's Python runs as it stands, and says what is so."""

import re
from pathlib import Path

import pytest

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli import _parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS[:2], ids=["first screen", "in Python"])
def test_python_in_the_readme_runs(block, pictures, tmp_path, monkeypatch, tiny_network):
    """With the tiny network in the place of ImageNet's weights, which may not be to hand."""
    (tmp_path / "photos").symlink_to(pictures)
    (tmp_path / "new-photos").symlink_to(pictures)
    monkeypatch.chdir(tmp_path)
    defaults = ResNetFeaturizer.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "weights", str(tiny_network))
    monkeypatch.setitem(defaults, "input_shape", (32, 32))
    exec(compile(block.replace("range(2, 20)", "range(2, 4)"), "README.md", "exec"), {})


@pytest.mark.parametrize(
    "line", re.findall(r"^    resnet-kmeans (.*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)
)
def test_commands_in_the_readme_parse(line):
    assert _parser().parse_args(line.split()).worker


def test_files_that_the_readme_names_are_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_first_screen_installs_and_runs():
    lines = README.splitlines()
    assert any(line.startswith("    pip install") for line in lines[:17])
    assert any(line.startswith("from resnet_kmeans") for line in lines[:35])
