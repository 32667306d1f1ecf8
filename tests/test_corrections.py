"""The page corrects an export, in a browser: what it records, says, keeps and saves."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import export_clusters, write_export_report, write_report
from resnet_kmeans.cli import main
from tests.report_page import ReportPage

pytestmark = pytest.mark.slow

SHIFT, CONTROL, ENTER, ESCAPE = "\ue008", "\ue009", "\ue007", "\ue00c"
RIGHT, DOWN = "\ue014", "\ue015"
HOSTILE = "<img src=x onerror=alert(1)>.png"
SIZES = {0: 4, 1: 3, 2: 3}
SET_ASIDE = -2  # label of the images that are in no cluster


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """An export of three clusters, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("export")
    paths, labels = [], []
    for label, size in SIZES.items():
        for number in range(size):
            name = HOSTILE if (label, number) == (2, 2) else f"{'abc'[label]}{number}.png"
            paths.append(folder / name)
            labels.append(label)
            Image.new("RGB", (60, 40), (60 * label, 20 * number, 200)).save(paths[-1])
    export_clusters(paths, labels, folder / "my out", distances=np.arange(len(paths)))
    return folder / "my out"


@pytest.fixture(scope="module")
def page(export):
    return write_export_report(export)


@pytest.fixture(scope="module")
def identifier(page):
    """The identifier of the export."""
    return ReportPage(page).corrections["id"]


class Desk:
    """A browser with the page, and hands."""

    def __init__(self, browser, downloads):
        self.browser, self.downloads = browser, downloads

    def open(self, page):
        # Not by way of about:blank: Chromium's driver then waits for ever now and then.
        self.browser.get(page.as_uri())
        return self

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def said(self):
        return self.find("#told").get_property("textContent")

    def image(self, name):
        link = self.find(f".grid li[data-name$='{name}'] a")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
        return link

    def click(self, *names, holding=""):
        from selenium.webdriver import ActionChains

        for name in names:
            action = ActionChains(self.browser)
            if holding:
                action.key_down(holding)
            action.click(self.image(name))
            if holding:
                action.key_up(holding)
            action.perform()

    def press(self, keys, *holding):
        from selenium.webdriver import ActionChains

        action = ActionChains(self.browser)
        for key in holding:
            action.key_down(key)
        action.send_keys(keys)
        for key in holding:
            action.key_up(key)
        action.perform()

    def push(self, selector):
        button = self.find(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def names(self, label):
        links = self.browser.find_elements("css selector", f"#cluster-{label} li[data-name]")
        return [link.get_attribute("data-name").split("/")[1] for link in links]

    def curation(self):
        return self.browser.execute_script("return curation()")

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
    desk.push("#correct")
    yield desk
    browser.execute_script("try { localStorage.clear() } catch {}")  # one test has none
    # Neither the policy of the page nor its script may have complained. Chromium itself does
    # where it asks about unsaved changes, but nobody has touched the page.
    assert [e for e in browser.get_log("browser") if e["source"] != "intervention"] == []


# --- Selecting


def test_a_click_selects_and_another_one_deselects(desk):
    desk.click("a0.png", "a2.png")
    assert desk.image("a0.png").get_attribute("aria-checked") == "true"
    mark = "return getComputedStyle(arguments[0], '::before').content"
    assert desk.browser.execute_script(mark, desk.image("a0.png")) == '"✓"'
    assert desk.browser.execute_script(mark, desk.image("a1.png")) == '""'
    assert desk.said() == "2 selected: cluster_0/a2.png"
    desk.click("a0.png")
    assert desk.image("a0.png").get_attribute("aria-checked") == "false"
    assert desk.find("#picked").text == "1 selected"
    assert not desk.find("#detail").is_displayed()


def test_shift_click_selects_all_in_between_across_clusters(desk):
    desk.click("a2.png")
    desk.click("b1.png", holding=SHIFT)
    assert desk.find("#picked").text == "4 selected"


def test_control_click_selects_one_more(desk):
    desk.click("a2.png")
    desk.click("b1.png", holding=CONTROL)
    assert desk.find("#picked").text == "2 selected"
    assert len(desk.browser.window_handles) == 1


def test_without_correcting_a_click_opens_the_image(desk):
    desk.push("#correct")
    assert not desk.find("#bar").is_displayed()
    desk.click("a0.png")
    assert desk.find("#detail").is_displayed()


def test_a_double_click_opens_the_image_and_leaves_the_selection(desk):
    from selenium.webdriver import ActionChains

    ActionChains(desk.browser).double_click(desk.image("a0.png")).perform()
    assert desk.find("#detail-name").text == "cluster_0/a0.png"
    desk.press(ESCAPE)
    assert desk.find("#picked").text == "Nothing selected"


def test_images_outside_the_filter_are_not_selected_in_between(desk):
    desk.find("#filter").send_keys("0.png")
    desk.click("a0.png")
    desk.click("c0.png", holding=SHIFT)
    assert desk.find("#picked").text == "3 selected"
    desk.find("#filter").send_keys("b")
    desk.find("#filter").clear()
    desk.find("#filter").send_keys("b0")
    assert desk.find("#picked").text == "3 selected, 2 not in the filter"


def test_images_are_selected_from_the_keyboard(desk):
    desk.browser.execute_script("arguments[0].focus()", desk.image("a0.png"))
    desk.press(" ")
    desk.press(RIGHT + RIGHT)
    desk.press(" ", SHIFT)
    assert desk.said() == "3 selected"
    desk.press(DOWN)  # the next row is the next cluster
    focused = desk.browser.switch_to.active_element
    assert focused == desk.image("b2.png")
    assert focused.get_attribute("role") == "checkbox"
    outline = focused.value_of_css_property("outline-style")
    assert outline == "solid"
    desk.press(ENTER)
    assert desk.find("#detail-name").text == "cluster_1/b2.png"


# --- Moving


def test_a_digit_moves_the_selection_to_that_cluster(desk):
    desk.click("a0.png", "a1.png")
    desk.press("1")
    assert desk.names(1) == ["b0.png", "b1.png", "b2.png", "a0.png", "a1.png"]
    assert desk.said() == "2 images moved to cluster_1."
    assert desk.find("#cluster-1 .size").text == "5 images"
    assert desk.find("#cluster-1 .changed").text == "· 2 moved here"
    assert desk.find("#index a[data-label='0'] .size").text == "2 images"
    assert desk.image("a0.png").get_attribute("aria-description") == "moved from cluster_0"
    moves = {"cluster_0/a0.png": "cluster_1", "cluster_0/a1.png": "cluster_1"}
    assert desk.curation()["moves"] == moves
    assert desk.find("#picked").text == "Nothing selected"


def test_the_keyboard_goes_on_where_a_moved_image_was(desk):
    desk.browser.execute_script("arguments[0].focus()", desk.image("a1.png"))
    desk.press(" 2")
    assert desk.browser.switch_to.active_element == desk.image("a2.png")


def test_the_menu_moves_the_selection_too(desk):
    desk.click("a0.png")
    desk.push("#move")
    desk.push("#ask-groups button[data-group='2']")
    assert desk.curation()["moves"] == {"cluster_0/a0.png": "cluster_2"}


def test_a_new_name_in_the_menu_makes_a_new_cluster(desk):
    desk.click("a0.png", "b0.png")
    desk.press("v")
    desk.press("cats")
    assert desk.find("#ask-groups").text == ""
    desk.press(ENTER)
    assert desk.names(3) == ["a0.png", "b0.png"]
    assert desk.find("#cluster-3 .name").text == "cats"
    assert desk.find("#index a[data-label='3']").is_displayed()
    assert desk.curation()["moves"] == {"cluster_0/a0.png": "cats", "cluster_1/b0.png": "cats"}
    desk.press("z", CONTROL)
    assert not desk.find("#index a[data-label='3']").is_displayed()
    assert not desk.find("#cluster-3").is_displayed()


def test_a_name_that_is_there_in_other_letters_is_that_cluster(desk):
    desk.click("a0.png")
    desk.press("v")
    desk.press("CLUSTER_2" + ENTER)
    assert desk.curation()["moves"] == {"cluster_0/a0.png": "cluster_2"}


def test_images_are_set_aside_and_put_back(desk):
    desk.click("c0.png", "c1.png")
    desk.press("x")
    assert desk.names(SET_ASIDE) == ["c0.png", "c1.png"]
    assert desk.find(f"#cluster-{SET_ASIDE} .name").text == "Set aside"
    assert desk.curation()["moves"] == {"cluster_2/c0.png": None, "cluster_2/c1.png": None}
    desk.click("c0.png")
    desk.press("2")
    assert desk.curation()["moves"] == {"cluster_2/c1.png": None}
    assert desk.names(2)[0] == "c0.png"  # where it was


def test_a_digit_without_a_cluster_or_a_selection_says_so(desk, identifier):
    desk.press("7")
    assert desk.said() == "No cluster has the digit 7."
    desk.press("1")
    assert desk.said() == "Select images first."
    desk.press("r")
    assert desk.said() == "Which cluster? Click one of its images first."
    of = {"export": identifier, "revision": 1}
    assert desk.curation() == {"format": 1, **of, "names": {}, "moves": {}}


def test_typing_in_the_filter_is_no_command(desk):
    desk.click("a0.png")
    desk.find("#filter").send_keys("x1mr")
    assert desk.curation()["moves"] == {}
    assert not desk.find("#ask").is_displayed()


# --- Names and merges


def test_a_cluster_is_renamed(desk):
    desk.click("b0.png")
    desk.press("r")
    assert desk.find("#ask-name").get_property("value") == "cluster_1"
    desk.press("cats" + ENTER)
    assert desk.said() == "cluster_1 is now cats."
    assert desk.find("#cluster-1 .name").text == "cats"
    assert desk.find("#cluster-1 .changed").text == "· was cluster_1"
    assert desk.find("#index a[data-label='1'] .name").text == "cats"
    assert desk.curation()["names"] == {"cluster_1": "cats"}


def test_a_name_that_another_cluster_has_merges_them(desk):
    desk.push("#cluster-1 [data-act=rename]")
    desk.press("cluster_2" + ENTER)
    assert desk.curation()["names"] == {"cluster_1": "cluster_2"}
    assert desk.names(2) == ["c0.png", "c1.png", HOSTILE, "b0.png", "b1.png", "b2.png"]
    assert not desk.find("#cluster-1").is_displayed()
    assert not desk.find("#index a[data-label='1']").is_displayed()


def test_m_merges_the_cluster_into_another_one(desk):
    desk.click("a0.png")
    desk.press(ESCAPE)
    desk.press("m")
    assert desk.find("#ask-title").text == "Merge cluster_0 into"
    desk.press("1")
    assert desk.said() == "cluster_0 merged into cluster_1, 7 images."
    assert desk.find("#cluster-1 .changed").text == "· merged from cluster_0, cluster_1"
    assert desk.curation()["names"] == {"cluster_0": "cluster_1"}


def test_m_merges_the_clusters_of_the_selection(desk):
    desk.click("a0.png", "b0.png", "c0.png")
    desk.press("m")
    assert desk.find("#ask-title").text == "Merge cluster_0 and cluster_1 and cluster_2"
    desk.press("2")
    assert desk.curation()["names"] == {"cluster_0": "cluster_2", "cluster_1": "cluster_2"}
    assert len(desk.names(2)) == 10


def test_moves_follow_names_and_merges_that_come_later(desk):
    desk.click("a0.png")
    desk.press("1")
    desk.push("#cluster-1 [data-act=rename]")
    desk.press("cats" + ENTER)
    assert desk.curation()["moves"] == {"cluster_0/a0.png": "cats"}
    desk.push("#cluster-0 [data-act=merge]")
    desk.press("1")
    assert desk.curation()["names"] == {"cluster_0": "cats", "cluster_1": "cats"}
    assert desk.curation()["moves"] == {}


def test_the_changes_are_listed(desk):
    desk.click("a0.png", "b0.png")
    desk.press("2")
    desk.push("#cluster-0 [data-act=rename]")
    desk.press("cats" + ENTER)
    desk.push("#changes summary")
    assert desk.find("#changes").text.split("\n") == [
        "3 changes",
        "cluster_0 is now cats",
        "1 image from cats to cluster_2",
        "1 image from cluster_1 to cluster_2",
    ]


def test_a_name_that_no_folder_can_have_is_refused_where_it_is_typed(desk):
    desk.push("#cluster-1 [data-act=rename]")
    desk.press("nul" + ENTER)
    assert desk.find("#ask-wrong").text.endswith("name: Windows reserves it for a device.")
    assert desk.find("#ask-wrong").get_attribute("role") == "alert"
    assert desk.find("#ask-name").get_attribute("aria-invalid") == "true"
    assert desk.curation()["names"] == {}
    desk.press("x" + ENTER)
    assert desk.curation()["names"] == {"cluster_1": "nulx"}


# --- Undo, storage, saving


def test_every_change_is_undone_and_done_again(desk):
    states = [desk.curation()]
    desk.click("a0.png")
    desk.press("1")
    states.append(desk.curation())
    desk.push("#cluster-1 [data-act=rename]")
    desk.press("cats" + ENTER)
    states.append(desk.curation())
    desk.push("#cluster-1 [data-act=merge]")
    desk.press("2")
    states.append(desk.curation())
    for state in states[-2::-1]:
        desk.press("z", CONTROL)
        assert desk.curation() == state
        assert desk.said().startswith("Undone: ")
    assert [desk.names(label) for label in SIZES] == [
        ["a0.png", "a1.png", "a2.png", "a3.png"],
        ["b0.png", "b1.png", "b2.png"],
        ["c0.png", "c1.png", HOSTILE],
    ]
    desk.press("z", CONTROL)
    assert desk.said() == "Nothing to undo."
    for state in states[1:]:
        desk.press("z", CONTROL, SHIFT)
        assert desk.curation() == state
    assert desk.said() == "Redone: cats merged into cluster_2, 7 images."
    desk.push("#undo")
    desk.push("#redo")
    assert desk.curation() == states[-1]
    assert not desk.find("#redo").is_enabled()


def test_corrections_survive_a_reload_with_their_undo(desk, page):
    desk.click("a0.png")
    desk.press("1")
    desk.click("a1.png")
    desk.press("2")
    before = desk.curation()
    desk.open(page)
    assert desk.said() == "Your corrections to this export were restored."
    assert desk.curation() == before
    assert desk.find("#bar").is_displayed()
    desk.press("z", CONTROL)
    assert desk.curation()["moves"] == {"cluster_0/a0.png": "cluster_1"}


def test_corrections_are_kept_by_the_export_and_its_state(desk, export, tmp_path):
    desk.click("a0.png")
    desk.press("1")
    shutil.copytree(export, tmp_path / "out")
    (tmp_path / "out" / "cluster_0").rename(tmp_path / "out" / "cats")
    desk.open(write_export_report(tmp_path / "out"))
    assert desk.curation()["moves"] == {}
    assert "folders have changed" in desk.said()


def test_a_browser_that_keeps_nothing_says_so_and_corrects_all_the_same(desk):
    desk.browser.execute_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('none'); }})"
    )
    desk.click("a0.png")
    desk.press("1")
    assert "cannot store your corrections" in desk.said()
    assert desk.save()["moves"] == {"cluster_0/a0.png": "cluster_1"}


def test_the_changes_are_downloaded_and_the_command_is_shown(desk, export, identifier):
    desk.click("a0.png", "b0.png")
    desk.press("2")
    desk.click(HOSTILE.replace("'", ""))
    desk.press("x")
    desk.push("#cluster-0 [data-act=rename]")
    desk.press("cats" + ENTER)
    assert not desk.find("#apply").is_displayed()
    assert desk.save() == {
        "format": 1,
        "export": identifier,
        "revision": 1,
        "names": {"cluster_0": "cats"},
        "moves": {
            "cluster_0/a0.png": "cluster_2",
            "cluster_1/b0.png": "cluster_2",
            f"cluster_2/{HOSTILE}": None,
        },
    }
    command = f"resnet-kmeans apply '{export}' curation.json"
    assert desk.find("#apply code").text == command
    assert desk.said() == "Changes saved as curation.json."
    desk.press("z", CONTROL)
    assert not desk.find("#apply").is_displayed()


def test_leaving_with_unsaved_changes_asks(desk, page):
    def asks():
        desk.browser.get_log("performance")
        desk.open(page)
        log = desk.browser.get_log("performance")
        return any('"type":"beforeunload"' in entry["message"] for entry in log)

    assert not asks()
    desk.push("#correct")
    desk.click("a0.png")
    desk.press("1")
    assert asks()
    desk.click("a1.png")
    desk.save()
    assert not asks()


def test_a_page_without_an_export_corrects_nothing_and_says_so(browser, tmp_path):
    page = write_report([0], tmp_path / "r.html", images=[np.zeros((9, 9, 3), np.uint8)])
    browser.get(page.as_uri())
    assert not browser.find_elements("id", "correct")
    assert "written without an export" in browser.find_element("id", "made").text


# --- Samples, touch, hostile names


def test_a_sampled_page_says_that_whole_clusters_merge_and_single_images_do_not(desk, tmp_path):
    labels = np.repeat([0, 1], [1100, 50])
    paths = [tmp_path / f"{i}.png" for i in range(1150)]
    for i, path in enumerate(paths):
        Image.new("L", (4, 4), i % 256).save(path)
    export_clusters(paths, labels, tmp_path / "out", action="hardlink")
    desk.open(write_export_report(tmp_path / "out"))
    desk.push("#correct")
    assert "shows 1,000 of 1,150 images" in desk.find("#guide").text
    desk.push("#cluster-0 [data-act=all]")
    assert desk.said() == "950 selected; 150 images of this cluster are not on the page"
    desk.press("1")
    assert desk.find("#cluster-0 .size").text == "150 images"
    assert desk.find("#cluster-0").is_displayed()
    desk.push("#cluster-0 [data-act=merge]")
    desk.press("1")
    assert desk.curation()["names"] == {"cluster_0": "cluster_1"}
    assert desk.curation()["moves"] == {}
    assert desk.find("#cluster-1 .size").text == "1,150 images"


def test_a_finger_selects_and_moves(desk):
    from selenium.webdriver.common.action_chains import ActionBuilder
    from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    desk.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def tap(element):
        finger = ActionBuilder(desk.browser, mouse=PointerInput(POINTER_TOUCH, "finger"))
        finger.pointer_action.move_to(element).pointer_down().pointer_up()
        finger.perform()

    try:
        tap(desk.image("a0.png"))
        tap(desk.image("a1.png"))
        tap(desk.find("#move"))
        tap(desk.find("#ask-groups button[data-group='1']"))
        assert len(desk.curation()["moves"]) == 2
        assert desk.browser.execute_script("return document.documentElement.scrollWidth") == 390
    finally:
        desk.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_hostile_name_of_a_cluster_stays_text(desk):
    hostile = "b&amp; ' onclick=alert(1) ${x}"
    desk.push("#cluster-1 [data-act=rename]")
    desk.press(hostile + ENTER)
    assert desk.find("#cluster-1 .name").text == hostile
    desk.click("a0.png")
    desk.press("v")
    assert hostile in desk.find("#ask-groups").text
    desk.press(ESCAPE)
    assert desk.curation()["names"] == {"cluster_1": hostile}


def test_folders_and_files_of_any_name_are_corrected(desk, tmp_path):
    names = ["<script><b>.png", "\udcff.png", "c.png"]
    for tone, name in enumerate(names):
        Image.new("L", (9, 9), tone).save(tmp_path / name)
    out = tmp_path / "out"
    export_clusters([tmp_path / name for name in names], [0, 1, 2], out)
    for old, new in {"0": "__proto__", "1": "constructor", "2": "_set_aside"}.items():
        (out / f"cluster_{old}").rename(out / new)
    page = write_export_report(out)
    label = {cluster.name: cluster.label for cluster in ReportPage(page).clusters}
    desk.open(page).push("#correct")
    desk.push(f"#cluster-{SET_ASIDE} [data-act=all]")
    desk.push(f"#cluster-{label['constructor']} [data-act=all]")
    desk.press(str(label["__proto__"]))
    desk.push(f"#cluster-{label['__proto__']} [data-act=rename]")
    desk.press("x" + ENTER)
    saved = desk.save()
    assert saved["names"] == {"__proto__": "x"}
    assert saved["moves"] == {"constructor/\udcff.png": "x", "_set_aside/c.png": "x"}


def test_files_that_were_put_there_by_hand_are_shown_and_not_moved(desk, export, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(export, out)
    Image.new("L", (9, 9)).save(out / "cluster_0" / "by_hand.png")
    (out / "cluster_2" / HOSTILE).unlink()
    desk.open(write_export_report(out)).push("#correct")
    assert desk.find(".notice summary").text.startswith("The folder was changed by hand: 2 ")
    assert f"cluster_2/{HOSTILE} is missing" in desk.find(".notice ul").text
    desk.click("by_hand.png")
    assert "was added by hand" in desk.said()
    desk.push("#cluster-0 [data-act=all]")
    desk.press("x")
    assert desk.names(0) == ["by_hand.png"]
    assert desk.find("#cluster-0 .size").text == "1 image"


def test_what_the_page_saves_is_what_the_command_applies(desk, pictures, tmp_path):
    out = tmp_path / "out"
    labels = [number // 8 for number in range(24)]
    paths = sorted(pictures.iterdir())
    export_clusters(paths, labels, out, action="copy")
    assert main(["report", str(out)]) == 0
    desk.open(out / "report.html").push("#correct")
    desk.push("#cluster-0 [data-act=rename]")
    desk.press("cats" + ENTER)
    desk.push("#cluster-1 [data-act=merge]")
    desk.press("0")
    moved = [path.name for path in paths[16:18]]
    desk.click(moved[0])
    desk.press("0")
    desk.click(moved[1])
    desk.press("x")
    desk.save()
    assert main(["apply", str(out), str(desk.downloads / "curation.json")]) == 0
    found = {path.relative_to(out).as_posix() for path in out.glob("*/*.png")}
    assert found == {
        *(f"cats/{path.name}" for path in paths[:17]),
        f"_set_aside/{moved[1]}",
        *(f"cluster_2/{path.name}" for path in paths[18:]),
    }
    # The next page shows the new state, and the browser's corrections are not applied twice.
    assert main(["report", str(out), "--force"]) == 0
    desk.open(out / "report.html")
    assert not desk.find("#bar").is_displayed()
    assert desk.curation()["names"] == desk.curation()["moves"] == {}
    assert desk.names(SET_ASIDE) == [moved[1]]
    assert desk.find("#cluster-0 .name").text == "cats"
    assert desk.find("#cluster-0 .size").text == "17 images"


def draw_shades(folder, colors, n_each):
    """Draw small pictures, each of one color, none of them equal."""
    folder.mkdir()
    for number in range(n_each):
        for name, color in colors.items():
            tone = tuple(min(255, channel + 3 * number) for channel in color)
            Image.new("RGB", (8, 8), tone).save(folder / f"{folder.name}_{name}_{number}.png")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_undo_after_corrections_a_split_and_additions_restores_every_source(
    desk, tmp_path, stand_in, capsys
):
    def run(*arguments):
        capsys.readouterr()
        assert main([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    photos, more, out = (tmp_path / name for name in ("photos", "more", "out"))
    draw_shades(photos, {"dark": (0, 0, 0), "red": (200, 0, 0), "green": (0, 200, 0)}, 8)
    draw_shades(more, {"black": (1, 1, 1), "rose": (201, 1, 1)}, 25)
    before = {"photos": contents(photos), "more": contents(more)}
    network = ["--weights", stand_in, "--reducer", "none", "--quiet"]
    run("cluster", photos, out, "-k", 3, "--action", "move", "--report", *network)
    assert contents(photos) == {}

    desk.open(out / "report.html").push("#correct")
    desk.push("#cluster-0 [data-act=rename]")
    desk.press("first" + ENTER)
    desk.push("#cluster-1 [data-act=merge]")
    desk.press("2")
    desk.save()
    printed = run("apply", out, desk.downloads / "curation.json")
    assert "cluster_2  16 images\nfirst  8 images\n" in printed

    assert "first_1  " in run("split", out, "first")
    assert "50 images added to" in run("add", out, more, "--quiet")
    assert "50 images were skipped" in run("add", out, more, "--quiet")
    folders = {path.name: len(list(path.iterdir())) for path in out.glob("[!.]*/")}
    assert set(folders) == {"cluster_2", "first_1", "first_2"}
    assert sum(folders.values()) == 24 + 50

    assert "24 images were moved back" in run("undo", "--all", out)
    assert {"photos": contents(photos), "more": contents(more)} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["downloads", "more", "photos"]
