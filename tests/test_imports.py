"""Heavy libraries load late; modules import each other in one direction."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import resnet_kmeans
from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer

PACKAGE = Path(resnet_kmeans.__file__).parent
# A folder or module of the package, and what it may import of the others, besides the bottom.
# Nothing imports what stands below it here.
BOTTOM = ["_files", "_marks", "_parameters", "_versions", "exceptions", "_folder_names"]
ALLOWED = {
    **{name: set() for name in BOTTOM},
    "images": set(),
    "network": {"images"},
    "features": {"images", "network"},
    "clustering": set(),
    "saving": {"clustering"},
    "export": {"clustering", "saving"},
    "report": {"images", "clustering"},
    "sample_pictures": set(),
    "display": {"images", "clustering", "report"},
    "featurizer": {"images", "network", "features"},
    "clusterer": {"images", "clustering", "saving", "export", "featurizer"},
    "model_selection": {"images", "clustering", "clusterer"},
    "name_suggestions": {"images", "network", "clustering", "featurizer"},
    "exports": {"images", "clustering", "saving", "export", "report", "clusterer"},
    "server": {"images", "features", "export", "report", "exports"},
    "functions": {"images", "network", "features", "clustering", "clusterer", "export"},
    "spark": {"images", "network", "clustering", "saving", "featurizer", "clusterer"},
}
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def imports_of(file):
    """Yield the parts of each name of this package that a file imports a module from."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "resnet_kmeans":
                names = [f"resnet_kmeans.{alias.name}" for alias in node.names]
            yield from (tuple(n.split(".")[1:]) for n in names if n.startswith("resnet_kmeans."))


def files_of(room):
    return sorted((PACKAGE / room).glob("*.py")) or [PACKAGE / f"{room}.py"]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_the_design_draws(room):
    imported = {name[0] for file in files_of(room) for name in imports_of(file)}
    assert imported - {*BOTTOM, room} <= ALLOWED[room]


def test_public_names_are_listed_and_there():
    names = {*resnet_kmeans.__all__, "display", "exceptions", "spark"}
    assert {"ImageFolderClusterer", "ResNetFeaturizer", "find_images"} < names
    assert names <= set(dir(resnet_kmeans))
    assert [name for name in names if not hasattr(resnet_kmeans, name)] == []


def test_every_room_but_the_command_line_is_in_the_table():
    rooms = {path.stem for path in PACKAGE.glob("*.py")} | set(FOLDERS)
    assert rooms - set(ALLOWED) == {"__init__", "__main__", "cli"}


@pytest.mark.parametrize("room", FOLDERS)
def test_modules_of_a_folder_import_each_other_in_one_direction(room):
    graph = {
        file.stem: {name[1] for name in imports_of(file) if name[0] == room and len(name) > 1}
        for file in files_of(room)
        if file.stem != "__init__"
    }
    assert list(TopologicalSorter(graph).static_order())


def test_what_a_folder_does_not_lift_is_its_own_matter():
    for file in PACKAGE.rglob("*.py"):
        own = file.relative_to(PACKAGE).parts[0]
        reached = [name for name in imports_of(file) if len(name) > 1 and name[0] != own]
        assert not reached, file


@pytest.mark.parametrize("library", ["tensorflow", "openvino", "nncf"])
def test_a_heavy_library_is_imported_in_one_place(library):
    found = [p.stem for p in PACKAGE.rglob("*.py") if f"import {library}\n" in p.read_text()]
    assert len(found) == 1


INSTANT = [
    ["--help"],
    ["--version"],
    ["cluster", "--misspelled"],
    ["weights"],
    ["cache"],
    ["log", "OUT"],
    ["rename", "OUT", "0", "cats"],
    ["apply", "OUT", "CURATION"],
    ["confirm", "OUT", "cats"],
    ["undo", "OUT"],
    ["redo", "OUT"],
    ["finish", "OUT"],
]


def test_commands_that_need_no_clustering_do_not_import_it(stand_in, pictures, tmp_path):
    out, curation = tmp_path / "out", tmp_path / "curation.json"
    curation.write_text('{"names": {"cluster_1": "dogs"}}')
    featurizer = ResNetFeaturizer(weights=stand_in)
    ImageFolderClusterer(2, featurizer=featurizer, random_state=0).fit(pictures).export(out)
    program = (
        "import sys\nfrom resnet_kmeans.cli import main\n"
        "try: status = main(sys.argv[1:])\nexcept SystemExit as error: status = error.code\n"
        "heavy = {'sklearn', 'scipy', 'tensorflow', 'openvino', 'pandas', 'jinja2'}\n"
        "print(status, *sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    places = {"OUT": str(out), "CURATION": str(curation)}
    for argv in INSTANT:
        run = [sys.executable, "-c", program, *(places.get(word, word) for word in argv)]
        last = subprocess.run(run, capture_output=True, text=True).stderr.splitlines()[-1]
        assert last == ("2" if "--misspelled" in argv else "0"), argv


STEPS = [
    "from resnet_kmeans import *",
    "import resnet_kmeans.display, resnet_kmeans.spark, resnet_kmeans.sample_pictures",
    "ResNetFeaturizer(), ImageFolderClusterer()",
    "from resnet_kmeans.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    "main(['weights'])",
    "main(['cache'])",
    "ResNetFeaturizer(weights=sys.argv[1]).transform(sys.argv[2:])  # known to the cache",
]


def test_heavy_libraries_stay_out_until_they_are_needed(stand_in, photo):
    ResNetFeaturizer(weights=stand_in).transform([photo])
    heavy = (
        "{'tensorflow', 'keras', 'openvino', 'nncf', 'matplotlib', 'umap', 'pyspark', 'uvicorn'}"
    )
    check = f"print({heavy} & set(sys.modules), file=sys.stderr)"
    program = "\n".join(["import sys", *(f"{step}\n{check}" for step in STEPS)])
    run = [sys.executable, "-c", program, str(stand_in), str(photo)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert dict(zip(STEPS, done.stderr.splitlines())) == dict.fromkeys(STEPS, "set()")
