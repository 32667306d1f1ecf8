"""An evening's work on an export that is open in a browser, and what can go wrong with it."""

import contextlib
import copy
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    export_log,
    rename_cluster,
    undo_export,
)
from tests.export_folders import images_in, present_rows

pytestmark = pytest.mark.slow

N_CLUSTERS, N_EACH, N_WRONG = 8, 30, 48
ENTER, ESCAPE, TAB, DOWN, CONTROL = "\ue007", "\ue00c", "\ue004", "\ue015", "\ue009"
# As the command, but killed when it renames the fifth file.
KILLED = """
import os, signal, sys
from resnet_kmeans.cli import main
from resnet_kmeans.export import execution
rename, seen = execution.rename_file, []
def kill(*paths):
    seen.append(paths)
    if len(seen) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*paths)
execution.rename_file = kill
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def clusterer(tmp_path_factory, stand_in):
    """A clusterer of 240 pictures of eight colors, 48 of which are in a wrong cluster."""
    folder, random = tmp_path_factory.mktemp("colors") / "in", np.random.default_rng(0)
    folder.mkdir()
    for color in range(N_CLUSTERS):
        for i in range(N_EACH):
            mean = [200 * (color >> bit & 1) + 25 for bit in range(3)]
            pixels = random.normal(mean, 12, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"color{color}_{i}.png")
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    right = ImageFolderClusterer(N_CLUSTERS, featurizer=featurizer, random_state=0).fit(folder)
    wrong = copy.copy(right)
    wrong.labels_ = right.labels_.copy()
    wrong.labels_[:: len(wrong.labels_) // N_WRONG] += 1
    wrong.labels_ %= N_CLUSTERS
    return wrong


@pytest.fixture
def out(clusterer, tmp_path):
    clusterer.export(tmp_path / "out")
    return tmp_path / "out"


@contextlib.contextmanager
def serving(out, *program):
    """Run the command; yield its process and the address that it prints."""
    program = program or ("-m", "resnet_kmeans")
    command = [sys.executable, *program, "open", str(out), "--no-browser"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        try:
            found = (re.search(r"http://\S+", line) for line in process.stdout)
            yield process, next(filter(None, found))[0]
        finally:
            process.kill()
            assert "Traceback" not in process.stdout.read()


@pytest.fixture
def opened(browser, out):
    with serving(out) as (_, address):
        browser.get_log("browser")
        browser.get(address)
        yield browser
        assert browser.get_log("browser") == []
        browser.get("about:blank")


def wait(browser, condition, seconds=10):
    """Wait until a condition of the page's script is true, or a function."""
    from selenium.webdriver.support.ui import WebDriverWait

    asked = condition if callable(condition) else lambda b: b.execute_script(f"return {condition}")
    return WebDriverWait(browser, seconds, 0.05).until(asked)


def press(browser, *keys, control=False):
    """Press keys wherever the focus is, and wait until what they ask for is done."""
    from selenium.webdriver import ActionChains

    for key in keys:
        actions = ActionChains(browser, duration=0)
        actions = actions.key_down(CONTROL) if control else actions
        actions = actions.send_keys(key)
        (actions.key_up(CONTROL) if control else actions).perform()
    wait(browser, "!log.length && !isBusy")


def focus_first_of(browser, folder):
    browser.execute_script(
        "focusImage(base.id[state.label.indexOf([...state.clusters.values()]"
        ".find((each) => each.folder === arguments[0]).label)])",
        folder,
    )


def shown(browser):
    """The path of each image and the folder of its cluster, as the page has them."""
    script = "return base.id.map((id, at) => [base.path[at], clusterAt(at).folder])"
    return sorted(map(tuple, browser.execute_script(script)))


def on_disk(out):
    paths = [path.relative_to(out).as_posix() for path in out.glob("*/**/*.png")]
    return sorted((path, path.split("/")[0]) for path in paths)


def names(browser):
    """The names of the clusters in the list at the side."""
    nodes = browser.find_elements("css selector", "#index .name")
    return [node.get_property("textContent").replace("\u200b", "") for node in nodes]


def test_an_evening_of_corrections_is_on_the_disk(browser, out):
    before = sorted(images_in(out).values())
    browser.get_log("browser")
    with serving(out) as (process, address):
        browser.get(address)
        assert "token" not in browser.current_url
        assert shown(browser) == on_disk(out)
        browser.find_element("id", "unsure").click()
        n_doubtful = int(browser.find_element("id", "unsure-count").text.strip("()"))
        assert n_doubtful >= 40
        for _ in range(40):
            press(browser, "y")
        assert int(browser.find_element("id", "unsure-count").text.strip("()")) <= n_doubtful - 40
        assert sum(row.is_confirmed for row in present_rows(out)) == 40
        browser.find_element("id", "unsure").click()
        focus_first_of(browser, "cluster_0")
        press(browser, "m", "cluster_1", ENTER)
        assert "cluster_0" not in names(browser)
        for label in range(1, 6):
            focus_first_of(browser, f"cluster_{label}")
            press(browser, "r", f"name {label}", ENTER)
        focus_first_of(browser, "cluster_6")
        press(browser, "s", "2", ENTER)
        assert {"cluster_6_1", "cluster_6_2"} <= set(names(browser))
        assert shown(browser) == on_disk(out)
        for _ in range(3):
            press(browser, "z", control=True)
        left = {"name 1", "name 2", "name 3", *(f"cluster_{label}" for label in range(4, 8))}
        assert set(names(browser)) == left
        assert shown(browser) == on_disk(out)
        browser.find_element("css selector", "#history summary").click()
        assert len(browser.find_elements("css selector", "#steps li")) > 10
        browser.find_element("id", "quit").click()
        assert process.wait(10) == 0
        wait(browser, "document.getElementById('gone').textContent.startsWith('Closed')")
    with serving(out) as (_, address):
        browser.get(address)
        assert set(names(browser)) == left
        assert shown(browser) == on_disk(out)
        assert browser.get_log("browser") == []
        browser.get("about:blank")
    assert sorted(images_in(out).values()) == before
    commands = [step.command for step in export_log(out)]
    assert commands[-3:] == ["undo"] * 3
    assert "split" in commands


def test_ten_windows_at_once_stay_in_step(opened, out):
    address, first = opened.current_url, opened.current_window_handle
    for _ in range(9):
        opened.switch_to.new_window("tab")
        opened.get(address)
    windows = opened.window_handles
    for i, window in enumerate(windows[:N_CLUSTERS]):
        opened.switch_to.window(window)
        wait(opened, lambda browser: shown(browser) == on_disk(out))
        focus_first_of(opened, f"cluster_{i}")
        press(opened, "r", f"window {i}", ENTER)
    for window in windows:
        opened.switch_to.window(window)
        wait(opened, lambda browser: shown(browser) == on_disk(out))
        assert set(names(opened)) == {f"window {i}" for i in range(N_CLUSTERS)}
    for window in windows:
        if window != first:
            opened.switch_to.window(window)
            opened.close()
    opened.switch_to.window(first)


def test_a_server_that_was_killed_in_a_step_loses_nothing(browser, out):
    before = sorted(images_in(out).values())
    with serving(out, "-c", KILLED) as (process, address):
        browser.get(address)
        focus_first_of(browser, "cluster_0")
        press(browser, "m", "cluster_1", ENTER)
        assert process.wait(10) == -signal.SIGKILL
        wait(browser, lambda b: b.find_element("id", "gone").is_displayed())
    browser.get("about:blank")
    browser.get_log("browser")  # of the server that did not answer
    assert export_log(out)[-1].state == "interrupted"
    assert sorted(images_in(out).values()) == before
    command = [sys.executable, "-m", "resnet_kmeans"]
    again = subprocess.run([*command, "open", out, "--no-browser"], capture_output=True, text=True)
    assert again.returncode == 2
    assert "resnet-kmeans finish" in again.stderr
    subprocess.run([*command, "finish", out], check=True, capture_output=True)
    with serving(out) as (_, address):
        browser.get(address)
        assert shown(browser) == on_disk(out)
        assert "cluster_0" not in names(browser)
        browser.get("about:blank")
    assert sorted(images_in(out).values()) == before


def test_everything_is_done_from_the_keyboard(browser, out):
    def tab_to(selector):
        for _ in range(80):
            if browser.execute_script(f"return document.activeElement.matches({selector!r})"):
                return
            press(browser, TAB)
        raise AssertionError(f"the tabulator does not lead to {selector}")

    def told():
        return browser.find_element("id", "told").get_property("textContent")

    with serving(out) as (process, address):
        browser.get(address)
        press(browser, TAB)
        assert browser.switch_to.active_element.text == "Skip to the images"
        tab_to("[data-id]")
        press(browser, " ", DOWN, " ", "v", "by hand", ENTER)
        assert told() == "2 images moved to by hand"
        tab_to("[data-id]")
        press(browser, "d")
        assert browser.execute_script("return document.activeElement.matches('[data-id]')")
        press(browser, ENTER)
        assert browser.find_element("id", "detail").is_displayed()
        first = browser.find_element("id", "detail-name").text
        press(browser, "y")
        assert "moved to" in told()
        assert browser.find_element("id", "detail-name").text != first
        press(browser, ESCAPE)
        wait(browser, "document.activeElement.matches('[data-id]')")
        press(browser, "x")
        assert told() == "1 image set aside"
        press(browser, "z", control=True)
        assert told().startswith("Undone")
        press(browser, "d")
        assert shown(browser) == on_disk(out)
        browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
        press(browser, TAB)
        tab_to("#history summary")
        press(browser, ENTER)
        tab_to("#quit")
        press(browser, ENTER)
        assert process.wait(10) == 0
    browser.get("about:blank")
    browser.get_log("browser")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    package = pytest.importorskip("axe_core_python", reason="axe is not installed")
    script = Path(package.__file__).with_name("axe.min.js").read_text()
    feature = {"name": "prefers-color-scheme", "value": scheme}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    found = []

    def look(where):
        opened.execute_script(script)
        results = opened.execute_async_script("axe.run().then(arguments[0])")
        assert len(results["passes"]) > 10
        for violation in results["violations"]:
            if violation["impact"] in ("serious", "critical"):
                nodes = [node["html"][:80] for node in violation["nodes"]]
                found.append((where, violation["id"], nodes))

    look("start")
    opened.find_element("id", "unsure").click()
    look("doubtful")
    press(opened, ENTER)
    look("detail")
    press(opened, ESCAPE)
    wait(opened, "document.activeElement.matches('[data-id]')")
    press(opened, "v")
    look("choose")
    press(opened, ESCAPE)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert not found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_highlighted_choice_can_be_read(opened, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    focus_first_of(opened, "cluster_0")
    press(opened, "v")
    # A canvas blends the colors as the browser does, whatever the syntax they are written in.
    brightness = opened.execute_script("""
        const pen = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
        const paint = (color) => { pen.fillStyle = color; pen.fillRect(0, 0, 1, 1); };
        const color = (id, what) => getComputedStyle(document.querySelector(id))[what];
        const read = () => [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
        paint(color('#ask', 'backgroundColor'));
        paint(color('#choice-0', 'backgroundColor'));
        const paper = read();
        return [paper, ...['#choice-0 .name', '#choice-0 small'].map((id) => {
            paint(color(id, 'color'));
            return read();
        })];
    """)
    press(opened, ESCAPE)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    paper, *inks = [luminance(np.array(color) / 255) for color in brightness]
    for ink in inks:
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5  # WCAG AA


def luminance(color):
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_each_picture_and_the_map_arrive(opened):
    script = "[...document.querySelectorAll('#clusters img')].every((each) => each.naturalWidth)"
    wait(opened, script)
    opened.find_element("css selector", "#map summary").click()
    wait(opened, "points.length === 240", 30)


def test_a_page_learns_that_the_export_was_taken_back(browser, out):
    with serving(out) as (_, address):
        browser.get(address)
        undo_export(out)
        notice = browser.find_element("id", "gone")
        wait(browser, lambda _: notice.is_displayed())
        assert "does not answer" not in notice.text  # it does, and says what happened
        time.sleep(2.5)  # until the page has looked once more
        assert notice.is_displayed()
        browser.get("about:blank")
    browser.get_log("browser")


def test_a_page_that_another_program_kept_from_a_step_takes_nothing_back(browser, out):
    with serving(out) as (_, address):
        browser.get(address)
        focus_first_of(browser, "cluster_0")
        press(browser, "r", "cats", ENTER)
        with filelock.FileLock(out / ".resnet-kmeans.lock"):
            press(browser, "r", "dogs", ENTER)
            told = browser.find_element("id", "told").get_property("textContent")
            assert "Another process is writing" in told
        assert not browser.find_element("id", "interrupted").is_displayed()
        assert "cats" in names(browser)
        browser.get("about:blank")
    browser.get_log("browser")


@pytest.mark.parametrize("keys", [("c",), ("v", "cluster_0", ENTER)])
@pytest.mark.parametrize("who", ["another window", "another program"])
def test_a_cluster_that_was_seen_is_meant_whatever_it_is_called_now(browser, out, keys, who):
    with serving(out) as (_, address):
        browser.get(address)
        browser.execute_script("hasEnded = true")  # so that it does not look what has changed
        if who == "another program":
            rename_cluster(out, "cluster_0", "cats")
        else:
            rename = "request('steps', {names: [[0, 'cats']]}).then(arguments[0])"
            browser.execute_async_script(rename)
        focus_first_of(browser, "cluster_0" if keys == ("c",) else "cluster_1")
        press(browser, *keys)
        assert not (out / "cluster_0").exists()  # where one image would be alone
        browser.get("about:blank")
    browser.get_log("browser")


@pytest.mark.parametrize("way", ["stuck", "broken off"])
def test_an_upload_that_does_not_end_does_not_keep_the_album_open(out, way):
    with serving(out) as (process, address):
        own = address.partition("/?")[0]
        with urllib.request.urlopen(address) as page:
            cookie = page.headers["Set-Cookie"].split(";")[0]
        host = own.removeprefix("http://")
        head = f"Host: {host}\r\nOrigin: {own}\r\nCookie: {cookie}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        with socket.create_connection(("127.0.0.1", int(host.split(":")[1]))) as upload:
            upload.sendall(f"POST /steps HTTP/1.1\r\n{head}".encode())
            time.sleep(0.5)
            if way == "broken off":
                upload.close()
                time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == 0
