"""Heavy libraries load late; modules import each other in one direction."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import resnet_kmeans

PACKAGE = Path(resnet_kmeans.__file__).parent
# What each module may import of the package, besides exceptions; a module never imports
# one that stands below it here.
ALLOWED = {
    "exceptions": set(),
    "colour": set(),
    "images": {"colour"},
    "sources": set(),
    "weights": set(),
    "graph": {"weights"},
    "backbone": {"graph", "weights"},
    "cache_file": set(),
    "feature_cache": {"cache_file"},
    "extraction": {"backbone", "feature_cache", "images", "weights"},
    "featurizer": {"backbone", "extraction", "feature_cache", "images", "sources", "weights"},
    "model_file": set(),
    "recipe": set(),
    "rows": set(),
    "silhouette": set(),
    "clusterer": {
        *("featurizer", "images", "model_file", "recipe", "rows", "silhouette", "sources"),
        "weights",
    },
    "model_selection": {"clusterer", "rows", "silhouette"},
    "export_actions": set(),
    "export_plan": set(),
    "export_journal": {"export_actions", "export_plan"},
    "exporter": {"export_actions", "export_journal", "export_plan"},
    "projection": set(),
    "fitted": {"weights"},
    "summary": {"projection", "silhouette", "sources"},
    "report": {"fitted", "images", "summary"},
    "display": {"fitted", "images", "summary"},
    "functions": {"clusterer", "exporter", "featurizer"},
    "spark_images": {"images"},
    "spark_worker": {"featurizer", "images", "weights"},
    "spark": {"clusterer", "featurizer", "images", "recipe", "spark_images", "spark_worker"},
    "demo": set(),
}


def imported_by(module):
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [node.module.partition("resnet_kmeans.")[2] for node in nodes if node.module]
    names += [a.name for node in nodes if node.module == "resnet_kmeans" for a in node.names]
    return {name for name in names if name} - {"exceptions"}


@pytest.mark.parametrize("module", ALLOWED)
def test_a_module_imports_only_what_the_design_draws(module):
    if not (PACKAGE / f"{module}.py").exists():
        pytest.fail(f"{module} is in the table but not in the package")
    assert imported_by(module) <= ALLOWED[module]


def test_every_module_but_the_command_is_in_the_table():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules - set(ALLOWED) == {"__init__", "__main__", "cli", "commands"}


def test_tensorflow_is_imported_in_one_place():
    found = [p.stem for p in PACKAGE.glob("*.py") if "import tensorflow\n" in p.read_text()]
    assert found == ["weights"]


@pytest.mark.parametrize(
    "program",
    [
        "import resnet_kmeans",
        "from resnet_kmeans import *",
        "from resnet_kmeans import ImageFolderClusterer; ImageFolderClusterer()",
        "from resnet_kmeans.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "star", "constructor", "help"],
)
def test_heavy_libraries_stay_out_until_they_are_needed(program):
    heavy = "{'tensorflow', 'keras', 'matplotlib', 'umap', 'pyspark'}"
    check = f"{program}\nimport sys\nprint(*{heavy} & set(sys.modules), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == ""
