"""The scripts of a page record corrections as the command applies them; names are checked alike.

They run in node, without a browser: whatever they ask of a document is answered by one object
that takes everything, apart from the clusters and images of a real page. Node is no dependency of
the package, so where it is missing, test_corrections.py is what tests them.
"""

import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import apply_curation, export_clusters, write_export_report
from resnet_kmeans.exceptions import ClusterNameError
from tests.report_page import ReportPage
from tests.test_cluster_names import INVALID, VALID

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

# Answers each line, a page and steps in JSON, with the results of the steps.
PROGRAM = """
const vm = require("vm");
const like = (known) => new Proxy(function () {}, {
  get: (_, name) => name in known ? known[name]
    : name === Symbol.iterator ? () => [].values()
    : name === Symbol.toPrimitive ? () => 0 : anything,
  set: (_, name, value) => { known[name] = value; return true; },
  apply: () => anything,
  construct: () => anything,
});
const anything = like({});
const element = () => like({ value: "", textContent: "", checked: false, dataset: {} });

function answer(line) {
  const given = JSON.parse(line), elements = new Map(), sections = [], items = [];
  for (const [id, textContent] of Object.entries(given.data)) elements.set(id, { textContent });
  for (const [label, name, images] of given.clusters) {
    const section = like({ id: "cluster-" + label, querySelector: (what) =>
      what === ".name" ? like({ textContent: name }) : like({ children: [] }) });
    elements.set(section.id, section);
    sections.push(section);
    for (const [i, name] of images) items.push(like({
      dataset: { name }, hidden: false, classList: { contains: () => false },
      closest: () => section, querySelector: () => like({ id: "image-" + i }) }));
  }
  const storage = new Map(Object.entries(given.storage));
  const context = vm.createContext({
    document: like({
      getElementById: (id) => elements.get(id) ?? elements.set(id, element()).get(id),
      querySelectorAll: (what) =>
        ({ ".cluster": sections, ".grid li[data-name]": items })[what] ?? [],
      querySelector: (what) => what === "#map canvas" ? null : like({}),
    }),
    localStorage: {
      getItem: (key) => storage.get(key) ?? null,
      setItem: (key, value) => storage.set(key, value),
      removeItem: (key) => storage.delete(key),
    },
    window: anything, getComputedStyle: anything, matchMedia: anything, ResizeObserver: anything,
    Image: anything, setTimeout: anything, location: {}, URL: anything, Blob, Event, TextEncoder,
  });
  vm.runInContext(given.script, context);
  vm.runInContext(given.hands, context);
  const results = given.steps.map((step) => vm.runInContext(step, context) ?? null);
  return { results, storage: Object.fromEntries(storage) };
}
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  let said;
  try { said = answer(line); } catch (error) { said = { error: error.stack }; }
  console.log(JSON.stringify(said));
});
"""
# What a person does to the page, in terms of its script.
HANDS = """
function move(images, into, name) {
  for (const i of images) picked.add(itemOf.get(i));
  moveTo(into, name);
}
function rename(group, name) { record({ do: "name", group, name, said: "renamed" }, "renamed"); }
function words() { return $("told").textContent; }
"""
ASIDE = -2


@pytest.fixture(scope="module")
def node():
    """A function that has node answer one line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([NODE, "-e", PROGRAM], bufsize=1, encoding="utf-8", **pipes) as process:

        def ask(question):
            process.stdin.write(json.dumps(question) + "\n")
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


class Page:
    """The script of a page; what it stores in the browser stays there."""

    def __init__(self, node, file, storage=()):
        self.node, self.shown, self.storage = node, ReportPage(file), dict(storage)

    def run(self, *steps):
        """Load the script, run some steps, and return their results."""
        shown = self.shown
        clusters = [
            [
                cluster.label,
                cluster.name,
                [[image.position, image.name] for image in cluster.images],
            ]
            for cluster in shown.clusters
        ]
        given = {
            "data": {name: shown.scripts[name] for name in ("corrections", "points")},
            "clusters": clusters,
            "storage": self.storage,
            "script": shown.scripts[""],
            "hands": HANDS,
            "steps": steps,
        }
        answer = self.node(given)
        assert "error" not in answer, answer["error"]
        self.storage = answer["storage"]
        return answer["results"]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """An export of three clusters: a0 to a3, b0 to b2, c0 to c2, at the positions 0 to 9."""
    folder = tmp_path_factory.mktemp("export")
    names = [*(f"a{i}" for i in range(4)), *(f"{x}{i}" for x in "bc" for i in range(3))]
    for tone, name in enumerate(names):
        Image.new("RGB", (8, 8), (20 * tone, 0, 0)).save(folder / f"{name}.png")
    paths = [folder / f"{name}.png" for name in names]
    labels = ["abc".index(name[0]) for name in names]
    export_clusters(paths, labels, folder / "out", distances=np.arange(10.0))
    write_export_report(folder / "out")
    return folder / "out"


@pytest.fixture
def page(node, export):
    return Page(node, export / "report.html")


def test_the_page_checks_names_as_the_package_does(page, photo, tmp_path):
    names = [*INVALID, *VALID, "a" * 255, "a" * 256, "COM0", "com10", "ß."]
    reasons = page.run(*(f"reasonInvalid({json.dumps(name)})" for name in names))
    for name, reason in zip(names, reasons):
        message = ""
        try:
            export_clusters([photo], [0], tmp_path / "out", names=[name], dry_run=True)
        except ClusterNameError as error:
            message = str(error)
        assert bool(reason) == bool(message), ascii(name)
        assert f": {reason}\n" in message or not reason, ascii(name)


def test_a_name_that_is_there_in_other_letters_is_that_cluster(page):
    assert page.run("groupNamed('CLUSTER_2')", "groupNamed('cluster_3')") == [2, None]


def test_images_are_moved_set_aside_and_put_back(page):
    moved, told, aside, back, words = page.run(
        "move([0, 1], 1); curation().moves",
        "words()",
        f"move([7], {ASIDE}); move([1], {ASIDE}); curation().moves",
        "move([7], 2); move([0], 0); curation().moves",
        "sentences()",
    )
    assert moved == {"cluster_0/a0.png": "cluster_1", "cluster_0/a1.png": "cluster_1"}
    assert told == "2 images moved to cluster_1."
    assert aside == {**moved, "cluster_0/a1.png": None, "cluster_2/c0.png": None}
    assert back == {"cluster_0/a1.png": None}
    assert words == ["1 image from cluster_0 set aside"]


def test_an_unchanged_page_has_nothing_to_save_or_undo(page):
    curation, nothing, aimless, idle = page.run(
        "curation()", "undo(); words()", "moveTo(1); words()", "move([0], 0); words()"
    )
    shown = page.shown.corrections
    of = {"export": shown["id"], "revision": shown["revision"]}
    assert curation == {"format": 1, **of, "names": {}, "moves": {}}
    assert nothing == "Nothing to undo."
    assert aimless == "Select images first."
    assert "already" in idle


def test_a_new_name_makes_a_new_cluster(page):
    moves, groups, undone = page.run(
        "move([0, 4], 3, 'cats'); curation().moves", "groups()", "undo(); groups()"
    )
    assert moves == {"cluster_0/a0.png": "cats", "cluster_1/b0.png": "cats"}
    assert (groups, undone) == ([0, 1, 2, 3], [0, 1, 2])


def test_moves_follow_names_and_merges_that_come_later(page):
    renamed, merged, told, size, words, groups = page.run(
        "move([0], 1); rename(1, 'cats'); curation()",
        "merge([0], 1); curation()",
        "words()",
        "sizeNow(1)",
        "sentences()",
        "groups()",
    )
    assert renamed["moves"] == {"cluster_0/a0.png": "cats"}
    assert renamed["names"] == {"cluster_1": "cats"}
    assert merged["moves"] == {}
    assert merged["names"] == {"cluster_0": "cats", "cluster_1": "cats"}
    assert told == "cluster_0 merged into cats, 7 images."
    assert size == 7
    assert groups == [1, 2]
    assert words == ["cluster_0 and cluster_1 are merged as cats"]


def test_every_change_is_undone_and_done_again(page):
    steps = ["move([0], 1)", "rename(1, 'cats')", "merge([1], 2)", f"move([8], {ASIDE})"]
    back = ["undo()"] * len(steps)
    again = ["redo()"] * len(steps)
    states = page.run(*(f"{step}; curation()" for step in ["", *steps, *back, *again]))
    n = len(steps)
    assert len({json.dumps(state) for state in states[: n + 1]}) == n + 1
    assert states[n : 2 * n + 1] == states[n::-1]
    assert states[2 * n :] == states[: n + 1]


def test_a_change_after_undo_drops_what_was_undone(page):
    told, moves = page.run(
        "move([0], 1); undo(); move([1], 2); redo(); words()", "curation().moves"
    )
    assert told == "Nothing to redo."
    assert moves == {"cluster_0/a1.png": "cluster_2"}


def test_corrections_survive_a_reload_with_their_undo(page, export):
    (before,) = page.run("move([0], 1); move([1], 2); curation()")
    again = Page(page.node, export / "report.html", page.storage)
    after, told, undone = again.run("curation()", "words()", "undo(); curation().moves")
    assert after == before
    assert "restored" in told
    assert undone == {"cluster_0/a0.png": "cluster_1"}


def test_corrections_are_dropped_where_the_folders_have_changed(node, page, export, tmp_path):
    page.run("move([0], 1)")
    shutil.copytree(export, tmp_path / "out")
    (tmp_path / "out" / "cluster_0").rename(tmp_path / "out" / "cats")
    changed = Page(node, write_export_report(tmp_path / "out"), page.storage)
    moves, told = changed.run("curation().moves", "words()")
    assert moves == {}
    assert "folders have changed" in told


@pytest.mark.parametrize("stored", ["no JSON", {"log": [None], "done": 1}, {"log": 7}], ids=str)
def test_what_others_stored_in_the_browser_does_no_harm(page, stored):
    page.run("move([0], 1)")
    ((key, kept),) = page.storage.items()
    if isinstance(stored, dict):
        stored = json.dumps({**json.loads(kept), **stored})
    page.storage = {key: stored}
    assert page.run("curation().moves") == [{}]


def test_saving_is_remembered_until_the_next_change(page):
    assert page.run(
        "isChanged()", "move([0], 1); isChanged()", "save(); isChanged()", "undo(); isChanged()"
    ) == [False, True, False, True]


def test_folders_that_were_renamed_by_hand_may_have_any_name(node, export, tmp_path):
    shutil.copytree(export, tmp_path / "out")
    (tmp_path / "out" / "cluster_0").rename(tmp_path / "out" / "__proto__")
    (tmp_path / "out" / "cluster_1").rename(tmp_path / "out" / "constructor")
    page = Page(node, write_export_report(tmp_path / "out"))
    labels = {cluster.name: cluster.label for cluster in page.shown.clusters}
    proto, constructor = labels["__proto__"], labels["constructor"]
    image = page.shown.clusters[constructor].images[0].position
    (curation,) = page.run(f"move([{image}], {proto}); rename({proto}, 'x'); curation()")
    assert curation["names"] == {"__proto__": "x"}
    assert curation["moves"] == {"constructor/b0.png": "x"}


def test_what_the_page_saves_is_what_the_package_applies(node, export, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(export, out)
    page = Page(node, write_export_report(out))
    (content,) = page.run(
        f"rename(0, 'cats'); merge([1], 0); move([7], 0); move([8], {ASIDE}); save(); saved"
    )
    (tmp_path / "curation.json").write_text(content)
    apply_curation(out, tmp_path / "curation.json")
    found = {folder.name: sorted(p.stem for p in folder.iterdir()) for folder in out.glob("*/")}
    cats = ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "c0"]
    assert found == {"cats": cats, "_set_aside": ["c1"], "cluster_2": ["c2"]}
    # The browser's corrections are not applied twice.
    later = Page(node, write_export_report(out), page.storage)
    assert later.run("[curation().names, curation().moves]") == [[{}, {}]]
