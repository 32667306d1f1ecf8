"""The page in a file corrects an export: what it records, says, keeps and saves."""

import json
import os
import re
import shlex
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    apply_curation,
    export_clusters,
    write_export_report,
)
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import ClusterNameError
from tests.export_folders import draw, rows_of
from tests.report_page import ReportPage
from tests.test_cluster_names import INVALID, VALID
from tests.test_report_browser import CONTROL, DOWN, ENTER, ESCAPE, RIGHT, SHIFT, Hands

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)>.png"
A, B, C = (f"cluster_{label}" for label in range(3))
ASIDE = "cluster--2"  # id of the section


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """An export of a0 to a3, b0 to b2 and c0 to c2 in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("export")
    names = [f"{cluster}{i}.png" for cluster, n in (("a", 4), ("b", 3), ("c", 3)) for i in range(n)]
    names[-1] = HOSTILE
    paths = [folder / name for name in names]
    for tone, path in enumerate(paths):
        Image.new("RGB", (60, 40), (20 * tone, 0, 200)).save(path)
    labels = np.repeat([0, 1, 2], [4, 3, 3])
    export_clusters(paths, labels, folder / "my out", distances=np.arange(len(paths)))
    return folder / "my out"


@pytest.fixture(scope="module")
def page(export):
    return write_export_report(export)


@pytest.fixture(scope="module")
def doubtful(stand_in, tmp_path_factory):
    """An export of dark and light pictures; the dark 28 and 32 are in the folder of light ones."""
    folder = tmp_path_factory.mktemp("doubtful")
    paths = draw(folder / "in", [*range(0, 60, 4), *range(196, 256, 4)])
    featurizer = ResNetFeaturizer(weights=stand_in, cache=None)
    clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0).fit(paths)
    dark, light = int(clusterer.labels_[0]), int(clusterer.labels_[-1])
    clusterer.labels_[7:9] = light
    clusterer.set_cluster_names({dark: "dark", light: "light"}).export(folder / "out")
    write_export_report(folder / "out")
    return folder / "out"


class Desk(Hands):
    """A page that corrects an export."""

    def __init__(self, browser, downloads):
        super().__init__(browser)
        self.downloads = downloads

    def ask(self, key, *typed):
        """Press a key and answer the question that it asks."""
        self.press(key)
        assert self.find("#ask").is_displayed()
        self.press("".join(typed) + ENTER)

    def rename(self, label, name):
        self.push(f"#cluster-{label} [data-act=rename]")
        self.press(name + ENTER)

    def merge(self, label, into):
        self.push(f"#cluster-{label} [data-act=merge]")
        self.press(into + ENTER)

    def move(self, name, into):
        """Move an image from the keyboard."""
        self.run("focusImage(Number(arguments[0].dataset.id))", self.image(name))
        self.ask("v", into)

    def selected(self):
        return [tile.get_attribute("title") for tile in self.all("li[aria-selected=true][data-id]")]

    def curation(self):
        """The names and moves that would be saved."""
        known = self.run("curation()")
        return known["names"], known["moves"]

    def save(self):
        (self.downloads / "curation.json").unlink(missing_ok=True)
        self.push("#save")
        for _ in range(100):
            if (self.downloads / "curation.json").exists():
                return json.loads((self.downloads / "curation.json").read_text())
            time.sleep(0.05)
        raise AssertionError(os.listdir(self.downloads))


@pytest.fixture
def desk(browser, page, tmp_path):
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    where = {"behavior": "allow", "downloadPath": str(downloads)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    browser.get_log("browser")
    desk = Desk(browser, downloads).open(page)
    yield desk
    browser.execute_script("try { localStorage.clear() } catch {}")  # one test has none
    # Neither the policy of the page nor its script may have complained. Chromium itself does
    # where it asks about unsaved changes, but nobody has touched the page.
    assert [e for e in browser.get_log("browser") if e["source"] != "intervention"] == []


# --- Selecting


def test_the_circle_selects_an_image_and_then_every_click_does(desk):
    desk.click("a0.png", on=".pick")
    desk.click("a2.png")
    assert desk.selected() == ["cluster_0/a0.png", "cluster_0/a2.png"]
    assert desk.find("#picked").text == "2 images selected"
    mark = "getComputedStyle(arguments[0].querySelector('.pick'), '::after').content"
    assert desk.run(mark, desk.image("a0.png")) == '"✓"'
    desk.click("a0.png", "a2.png")
    assert not desk.find("#bar").is_displayed()
    assert not desk.find("#detail").is_displayed()
    desk.click("a2.png")
    assert desk.text("#detail-name") == "cluster_0/a2.png"


def test_shift_selects_all_in_between_and_control_one_more(desk):
    desk.click("a2.png", holding=CONTROL)
    desk.click("b1.png", holding=SHIFT)
    desk.click("c0.png", holding=CONTROL)
    assert [name[-6:-4] for name in desk.selected()] == ["a2", "a3", "b0", "b1", "c0"]
    assert len(desk.browser.window_handles) == 1
    desk.press(ESCAPE)
    desk.type_into("filter", "0.png")
    desk.click("a0.png", on=".pick")
    desk.click("c0.png", holding=SHIFT)
    assert [name[-6:-4] for name in desk.selected()] == ["a0", "b0", "c0"]
    desk.type_into("filter", "b0")
    assert desk.find("#picked").text == "3 images selected, 2 not in view"


def test_images_are_selected_from_the_keyboard(desk):
    desk.run("focusImage(0)")
    desk.press(" " + RIGHT + RIGHT)
    desk.press(" ", SHIFT)
    assert [name[-6:-4] for name in desk.selected()] == ["a0", "a1", "a2"]
    desk.press(DOWN)  # the next row is the next cluster
    assert desk.focused() == "cluster_1/b2.png"
    focused = desk.browser.switch_to.active_element
    assert focused.get_attribute("role") == "option"
    assert focused.value_of_css_property("outline-style") == "solid"
    desk.press("a")
    assert [name[-6:-4] for name in desk.selected()] == ["b0", "b1", "b2"]
    desk.press(ESCAPE)
    assert desk.selected() == []
    desk.press(ENTER)
    assert desk.text("#detail-name") == "cluster_1/b2.png"


def test_a_double_click_opens_the_image_and_leaves_the_selection(desk):
    desk.click("a0.png", on=".pick")
    desk.act().double_click(desk.image("b1.png")).perform()
    assert desk.text("#detail-name") == "cluster_1/b1.png"
    assert desk.selected() == ["cluster_0/a0.png"]


def test_a_finger_selects_and_moves(desk):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    desk.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    desk.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def tap(element):
        box = desk.run("arguments[0].getBoundingClientRect().toJSON()", element)
        desk.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    try:
        circle = desk.image("a0.png").find_element("class name", "pick")
        assert circle.is_displayed()
        tap(circle)
        tap(desk.image("a1.png"))
        tap(desk.find("#bar [data-act=move]"))
        tap(desk.all("#ask-list li")[1])
        assert len(desk.curation()[1]) == 2
        assert desk.run("document.documentElement.scrollWidth") == 390
    finally:
        desk.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        desk.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# --- Moving


def test_a_part_of_a_name_and_enter_moves_the_selection_there(desk):
    desk.click("a0.png", "a1.png", holding=CONTROL)
    desk.press("v")
    assert len(desk.all("#ask-list li")) == 3
    desk.press("_1")
    assert desk.text("#ask-list [aria-selected=true] .name") == B
    desk.press(ENTER)
    assert desk.said().startswith("2 images moved to cluster_1.")
    moved = {"cluster_0/a0.png": B, "cluster_0/a1.png": B}
    assert desk.curation() == ({}, moved)
    assert set(desk.names("cluster-1")) == {*moved, *(f"cluster_1/b{i}.png" for i in range(3))}
    assert desk.text("#cluster-1 .facts") == "5 images"
    assert desk.text("#index a[data-label='0'] small") == "2 images"
    assert desk.selected() == []
    # The keyboard goes on with what follows.
    assert desk.focused() == "cluster_0/a2.png"


def test_a_cluster_is_chosen_by_arrow_or_by_its_picture(desk):
    desk.run("focusImage(0)")
    desk.ask("v", DOWN, DOWN)
    assert desk.curation()[1] == {"cluster_0/a0.png": C}
    desk.click("a1.png", on=".pick")
    desk.push("#bar [data-act=move]")
    desk.all("#ask-list img")[1].click()
    assert desk.curation()[1] == {"cluster_0/a0.png": C, "cluster_0/a1.png": B}
    desk.click("a2.png", on=".pick")
    desk.push("#bar [data-act=move]")
    desk.press(ESCAPE)
    assert len(desk.curation()[1]) == 2
    assert desk.selected() == ["cluster_0/a2.png"]


def test_a_new_name_makes_a_new_cluster(desk):
    desk.click("a0.png", "b0.png", holding=CONTROL)
    desk.ask("v", "cats")
    assert desk.names("cluster-3") == ["cluster_0/a0.png", "cluster_1/b0.png"]
    assert desk.text("#cluster-3 .name") == "cats"
    assert desk.text("h1") == "10 images in 4 clusters"
    assert desk.curation()[1] == {"cluster_0/a0.png": "cats", "cluster_1/b0.png": "cats"}
    # In other letters, it is the cluster that is there.
    desk.move("a1.png", "CATS")
    assert desk.curation()[1]["cluster_0/a1.png"] == "cats"
    # A name that is a part of another one's is offered below.
    desk.move("a2.png", "cat" + DOWN)
    assert desk.curation()[1]["cluster_0/a2.png"] == "cat"
    desk.press("zzz", CONTROL)
    assert desk.all("#cluster-3, #index a[data-label='3']") == []
    assert desk.text("h1") == "10 images in 3 clusters"


def test_images_are_set_aside_and_put_back(desk):
    desk.click("c0.png", "c1.png", holding=CONTROL)
    desk.press("x")
    assert desk.names(ASIDE) == ["cluster_2/c0.png", "cluster_2/c1.png"]
    assert desk.text("h1") == "8 images in 3 clusters, 2 set aside"
    assert desk.curation()[1] == {"cluster_2/c0.png": None, "cluster_2/c1.png": None}
    desk.move("c0.png", "_2")
    assert desk.names("cluster-2")[0] == "cluster_2/c0.png"  # where it was
    # Whoever puts an image back says that it belongs there.
    assert desk.curation()[1] == {"cluster_2/c0.png": C, "cluster_2/c1.png": None}


def test_a_key_that_finds_nothing_says_so(desk):
    for key, said in {
        "v": "Select images first.",
        "x": "Select images first.",
        "r": "Which cluster? Select one of its images first.",
    }.items():
        desk.press(key)
        assert desk.said() == said
    desk.run("focusImage(0)")
    desk.find("#filter").send_keys("xvarm")
    assert desk.curation() == ({}, {})
    assert not desk.find("#ask").is_displayed()


def test_a_large_image_is_corrected_and_followed_by_the_next_one(desk):
    desk.click("a2.png")
    desk.ask("v", "_2")
    assert desk.text("#detail-name") == "cluster_0/a3.png"
    assert desk.text("#detail-own").startswith("In cluster_0 3 images")
    desk.press("c")
    assert desk.text("#detail-name") == "cluster_1/b0.png"
    desk.find("#detail [data-act=aside]").click()
    moves = {"cluster_0/a2.png": C, "cluster_0/a3.png": A, "cluster_1/b0.png": None}
    assert desk.curation() == ({}, moves)
    assert desk.text("#detail-own").startswith("In cluster_1 2 images")
    desk.press("u")
    assert desk.text("#detail-own").startswith("In cluster_1 3 images")
    desk.press("cx", CONTROL)  # copying is no correction
    assert len(desk.curation()[1]) == 2
    desk.press(ESCAPE)
    desk.wait(lambda _: desk.focused() == "cluster_1/b1.png")


def test_suggestions_are_taken_or_refused(desk, doubtful):
    desk.open(doubtful / "report.html")
    assert re.fullmatch(
        r"30 images in 2 clusters; about \d+ may be in the wrong one", desk.text("h1")
    )
    assert "2 are doubtful" in desk.text("#expected")
    desk.press("d")
    first, second = desk.run("order.slice(0, 2).map((id) => base.name[positionOf(id)])")
    assert {first, second} == {"light/28.png", "light/32.png"}
    rather = f"rather-{desk.run('suggestedAt(positionOf(order[0])).label')}"
    assert desk.text(f"#{rather} h2") == "Do these belong in dark?"
    desk.press("y")
    assert desk.curation() == ({}, {first: "dark"})
    assert desk.focused() == second
    assert "1 of 30 checked; 1 is doubtful" in desk.text("#expected")
    desk.click(second, on=".pick")
    assert not desk.find(f"#{rather} [data-act=confirmRest]").is_displayed()  # of no others
    desk.click(second, on=".pick")
    desk.push(f"#{rather} [data-act=confirmRest]")
    assert desk.curation() == ({}, {first: "dark", second: "light"})
    assert desk.text("#expected") == "2 of 30 checked"
    assert len(desk.run("order")) == 24  # the next ones to check
    rather, third = desk.run("[laid[0].key, base.name[positionOf(order[0])]]")
    rest = {name: "light" for name in desk.names(rather) if name != third}
    desk.click(third, on=".pick")
    desk.push(f"#{rather} [data-act=confirmRest]")
    assert desk.selected() == [third]
    assert {*rest} <= {*desk.curation()[1]}


# --- Names and merges


def test_a_cluster_is_renamed(desk):
    desk.run("focusImage(4)")
    desk.press("r")
    assert desk.find("#ask-name").get_property("value") == B
    hostile = "b&amp; ' onclick=alert(1) ${x}"
    desk.press(hostile + ENTER)
    assert desk.said().startswith(f"{B} is now {hostile}.")
    assert desk.text("#cluster-1 .name") == desk.text("#index a[data-label='1'] .name") == hostile
    assert desk.curation() == ({B: hostile}, {})
    assert desk.focused() == "cluster_1/b0.png"
    desk.press("v")
    assert hostile in desk.find("#ask-list").text
    desk.press(ESCAPE)
    # Who went to a cluster means that one.
    desk.push("#index a[data-label='2']")
    desk.press("r")
    assert desk.text("#ask-title") == "Rename cluster_2"


def test_clusters_merge_by_name_or_by_key(desk):
    desk.push("#cluster-1 [data-act=rename]")
    desk.press("CLUSTER_2")
    assert desk.text("#ask-note") == "This merges it with cluster_2."
    desk.press(ENTER)
    assert desk.curation() == ({B: C}, {})
    assert len(desk.names("cluster-2")) == 6
    assert desk.all("#cluster-1, #index a[data-label='1']") == []
    # The keyboard goes on in the cluster that is left.
    assert desk.run("document.activeElement.closest('.cluster')?.id") == "cluster-2"
    desk.run("focusImage(0)")
    desk.press("m")
    assert desk.text("#ask-title") == "Merge cluster_0 into"
    desk.press("nothing" + ENTER + ESCAPE)
    assert desk.curation() == ({B: C}, {})
    desk.ask("m", "_2")
    assert desk.said().startswith("cluster_0 merged into cluster_2.")
    assert desk.curation() == ({A: C, B: C}, {})
    assert desk.text("h1") == "10 images in 1 cluster"
    desk.press("m" + "boo" + ENTER)  # there is no other cluster
    assert desk.curation() == ({A: C, B: C}, {})


def test_moves_follow_names_and_merges_that_come_later(desk):
    desk.move("a0.png", "_1")
    desk.rename(1, "cats")
    assert desk.curation() == ({B: "cats"}, {"cluster_0/a0.png": "cats"})
    desk.merge(0, "cats")
    desk.move("c0.png", "cats")
    desk.rename(1, "dogs")
    moves = {"cluster_0/a0.png": "dogs", "cluster_2/c0.png": "dogs"}
    assert desk.curation() == ({A: "dogs", B: "dogs"}, moves)
    assert desk.text("#cluster-1 .facts") == "8 images"


def test_names_that_no_folder_can_have_are_refused_where_they_are_typed(desk, photo, tmp_path):
    desk.push("#cluster-1 [data-act=rename]")
    desk.press("nul" + ENTER)
    note = "“nul” cannot be the name of a folder: Windows reserves it for a device."
    assert desk.text("#ask-note") == note
    assert desk.curation() == ({}, {})
    desk.press("x" + ENTER)
    assert desk.curation() == ({B: "nulx"}, {})
    for name in [
        *INVALID,
        *VALID,
        "a" * 255,
        "a" * 256,
        "COM0",
        "com10",
        "ß.",
        "clu\u017fters.csv",
    ]:
        message = ""
        try:
            export_clusters([photo], [0], tmp_path / "out", names=[name], dry_run=True)
        except ClusterNameError as error:
            message = str(error)
        reason = desk.run(f"reasonInvalid({json.dumps(name)})")
        assert bool(reason) == bool(message), ascii(name)
        assert f": {reason}\n" in message or not reason, ascii(name)


# --- Undo, storage, saving


def test_every_change_is_undone_and_done_again(desk):
    steps = [
        lambda: desk.move("a0.png", "_1"),
        lambda: desk.rename(1, "cats"),
        lambda: desk.merge(1, "_2"),
        lambda: (desk.run("focusImage(8)"), desk.press("x")),
        lambda: (desk.run("focusImage(3)"), desk.press("c")),
    ]
    states = [desk.curation()]
    for step in steps:
        step()
        assert desk.curation() != states[-1]
        states.append(desk.curation())
    for state in states[-2::-1]:
        desk.press("z", CONTROL)
        assert desk.curation() == state
    assert [len(desk.names(f"cluster-{label}")) for label in range(3)] == [4, 3, 3]
    desk.press("z", CONTROL)
    assert desk.said() == "Nothing to undo."
    assert not desk.find("#undo").is_enabled()
    for state in states[1:]:
        desk.press("z", CONTROL, SHIFT)
        assert desk.curation() == state
    desk.push("#undo")
    assert desk.curation() == states[-2]
    # What was undone is lost with the next change.
    desk.move("a2.png", "_2")
    assert not desk.find("#redo").is_enabled()
    desk.press("y", CONTROL)
    assert desk.said() == "Nothing to redo."


def test_corrections_survive_a_reload_unless_the_folders_have_changed(desk, page, export, tmp_path):
    desk.move("a0.png", "_1")
    desk.move("a1.png", "_2")
    before = desk.curation()
    assert before[1]
    desk.open(page)
    assert desk.curation() == before
    assert desk.said() == "Your corrections to this export were restored."
    desk.press("z", CONTROL)
    assert desk.curation() == ({}, {"cluster_0/a0.png": B})
    shutil.copytree(export, tmp_path / "out")
    (tmp_path / "out" / A).rename(tmp_path / "out" / "cats")
    desk.open(write_export_report(tmp_path / "out"))
    assert desk.curation() == ({}, {})
    assert "folders have changed" in desk.said()


@pytest.mark.parametrize(
    "stored", ["no JSON", {"log": [None]}, {"log": 7}, {"log": [{"moves": [[0, {}]]}]}], ids=str
)
def test_what_others_stored_in_the_browser_does_no_harm(desk, page, stored):
    desk.move("a0.png", "_1")
    kept = json.loads(desk.run("localStorage.getItem(storageKey)"))
    text = stored if isinstance(stored, str) else json.dumps({**kept, **stored})
    desk.run("localStorage.setItem(storageKey, arguments[0])", text)
    desk.open(page)
    assert desk.curation() == ({}, {})
    assert not desk.find("#save").is_enabled()
    desk.move("a1.png", "_1")
    assert desk.curation() == ({}, {"cluster_0/a1.png": B})


def test_a_browser_that_keeps_nothing_says_so_and_corrects_all_the_same(desk):
    desk.browser.execute_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('none'); }})"
    )
    desk.move("a0.png", "_1")
    assert "cannot store your corrections" in desk.said()
    assert desk.save()["moves"] == {"cluster_0/a0.png": B}


def test_changes_are_downloaded_and_the_command_is_shown(desk, page, export):
    assert not desk.find("#apply").is_displayed()
    desk.click("a0.png", "b0.png", holding=CONTROL)
    desk.ask("v", "_2")
    desk.click(HOSTILE, on=".pick")
    desk.press("x")
    desk.rename(0, "cats")
    assert not desk.find("#apply").is_displayed()
    assert desk.save() == {
        "format": 1,
        "export": ReportPage(page).album["export"]["id"],
        "revision": 1,
        "names": {A: "cats"},
        "moves": {
            "cluster_0/a0.png": C,
            "cluster_1/b0.png": C,
            f"cluster_2/{HOSTILE}": None,
        },
    }
    assert desk.said() == "Changes saved as curation.json."
    command = shlex.split(desk.text("#apply code"))
    assert command == ["resnet-kmeans", "apply", "my out", "curation.json"]
    desk.press("z", CONTROL)
    assert not desk.find("#apply").is_displayed()


def test_leaving_with_unsaved_changes_asks(desk, page):
    def asks():
        desk.browser.get_log("performance")
        desk.open(page)
        log = desk.browser.get_log("performance")
        return any('"type":"beforeunload"' in entry["message"] for entry in log)

    assert not asks()
    desk.move("a0.png", "_1")
    assert asks()
    desk.move("a1.png", "_1")
    desk.save()
    assert not asks()


def test_what_the_page_saves_is_what_the_command_applies(desk, pictures, tmp_path):
    out, paths = tmp_path / "out", sorted(pictures.iterdir())
    export_clusters(paths, [number // 8 for number in range(24)], out, action="copy")
    desk.open(write_export_report(out))
    names = [path.name for path in paths]
    desk.rename(0, "cats")
    desk.merge(1, "cats")
    desk.move(names[16], "cats")
    desk.run("focusImage(17)")
    desk.press("x")
    desk.run("focusImage(18)")
    desk.press("c")
    desk.move(names[19], "new")
    desk.save()
    assert main(["apply", str(out), str(desk.downloads / "curation.json")]) == 0
    found = {path.relative_to(out).as_posix() for path in out.glob("*/*.png")}
    assert found == {
        *(f"cats/{name}" for name in names[:17]),
        f"_set_aside/{names[17]}",
        *(f"cluster_2/{name}" for name in (names[18], *names[20:])),
        f"new/{names[19]}",
    }
    confirmed = {row["exported_path"] for row in rows_of(out) if row["reason"] == "confirmed"}
    assert confirmed == {f"cats/{names[16]}", f"cluster_2/{names[18]}", f"new/{names[19]}"}
    # The next page shows the new state, and the browser's corrections are not applied twice.
    desk.open(write_export_report(out))
    assert desk.curation() == ({}, {})
    assert desk.names(ASIDE) == [f"_set_aside/{names[17]}"]
    assert desk.text("#cluster-0 .name") == "cats"
    assert desk.text("#cluster-0 .facts") == "17 images"


# --- Samples, hostile names, changes by hand


def test_a_sampled_page_says_so_and_merges_whole_clusters(desk, tmp_path):
    labels = np.repeat([0, 1], [1100, 50])
    paths = [tmp_path / f"{i}.png" for i in range(1150)]
    for i, path in enumerate(paths):
        Image.new("L", (4, 4), i % 256).save(path)
    export_clusters(paths, labels, tmp_path / "out", action="hardlink")
    desk.open(write_export_report(tmp_path / "out"))
    assert "This page shows 1,000 of them" in desk.text("header")
    assert desk.text("header code") == "resnet-kmeans open out"
    # The view stays where it is, although the image has left it.
    desk.run("focusImage(base.id[915])")
    scrolled = desk.run("scrollY")
    desk.ask("v", "_1")
    assert desk.run("scrollY") == scrolled
    assert desk.run("page.focused === base.id[916]")
    desk.press("z", CONTROL)
    desk.push("#cluster-0 [data-act=all]")
    assert desk.find("#picked").text == "950 images selected"
    desk.ask("v", "_1")
    assert desk.text("#cluster-0 .facts").startswith("150 images")
    desk.merge(0, "_1")
    assert desk.curation()[0] == {A: B}
    assert desk.text("#cluster-1 .facts").startswith("1,150 images")
    assert desk.text("h1") == "1,150 images in 1 cluster"


def test_folders_and_files_of_any_name_are_corrected(desk, tmp_path):
    names = ["<script><b>.png", "\udcff.png", "50%25 'c' \".png"]
    for tone, name in enumerate(names):
        Image.new("L", (9, 9), tone).save(tmp_path / name)
    out = tmp_path / "out"
    export_clusters([tmp_path / name for name in names], [0, 1, 2], out)
    for old, new in {A: "__proto__", B: "constructor", C: "_set_aside"}.items():
        (out / old).rename(out / new)
    page = write_export_report(out)
    desk.open(page)
    label = dict(desk.run("base.clusters.map(({ folder, label }) => [folder, label])"))
    desk.push(f"#{ASIDE} [data-act=all]")
    desk.click("ff.png", holding=CONTROL)
    desk.ask("v", "__proto__")
    desk.rename(label["__proto__"], "x")
    saved = desk.save()
    assert saved["names"] == {"__proto__": "x"}
    assert saved["moves"] == {f"constructor/{names[1]}": "x", f"_set_aside/{names[2]}": "x"}
    desk.click("25 'c' \".png")
    source = desk.find("#detail-link").get_attribute("href")
    desk.wait(lambda _: desk.find("#large").get_attribute("src") == source)
    apply_curation(out, saved)
    assert sorted(os.listdir(out / "x")) == sorted(names)


def test_files_that_were_put_there_by_hand_are_shown_and_not_moved(desk, export, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(export, out)
    Image.new("L", (9, 9)).save(out / A / "by_hand.png")
    (out / C / HOSTILE).unlink()
    desk.open(write_export_report(out))
    assert desk.text(".notice summary") == "The folder was changed by hand (2)"
    desk.find(".notice summary").click()
    assert f"cluster_2/{HOSTILE} is missing" in desk.text(".notice ul")
    assert desk.image("by_hand.png").text == "added by hand"
    desk.click("by_hand.png", on=".pick")
    assert "was added by hand" in desk.said()
    desk.push("#cluster-0 [data-act=all]")
    desk.press("x")
    assert desk.names("cluster-0") == ["cluster_0/by_hand.png"]
    assert desk.text("#cluster-0 .facts") == "1 image"
    desk.click("by_hand.png")
    assert not desk.find("#detail [data-act=aside]").is_displayed()
    before = desk.curation()
    desk.press("xcy")
    assert desk.curation() == before
