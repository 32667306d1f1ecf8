"""The report in a browser: it loads without requests, filters, maps and enlarges."""

import copy
import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import write_report
from tests.report_page import HOSTILE, cluster_hostile

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clusterer(pictures, stand_in, tmp_path_factory):
    return cluster_hostile(pictures, tmp_path_factory.mktemp("report") / "photos", stand_in)


@pytest.fixture(scope="module")
def page(clusterer, tmp_path_factory):
    return write_report(clusterer, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def opened(browser, page):
    browser.get(page.as_uri())
    return browser


def count_shown(browser):
    script = "return document.querySelectorAll('.grid li[data-name]:not([hidden])').length"
    return browser.execute_script(script)


def type_into(browser, name, text):
    field = browser.find_element("id", name)
    field.clear()
    field.send_keys(text)


def point_at(browser, index):
    """Move the mouse over the point of the map with this index; return its label."""
    from selenium.webdriver import ActionChains

    canvas = browser.find_element("css selector", "#map canvas")
    browser.execute_script("canvas.scrollIntoView({block: 'center'})")
    x, y, label = browser.execute_script(
        f"const p = points[{index}]; return [...place(p), p.label]"
    )
    # From the middle of the element, as selenium counts.
    size = browser.execute_script("return canvas.clientWidth")
    action = ActionChains(browser).move_to_element_with_offset(canvas, x - size / 2, y - size / 2)
    return action, label


def test_the_page_loads_without_errors_or_requests(browser, page):
    browser.get_log("performance")
    browser.get(page.as_uri())
    time.sleep(0.3)
    entries = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in entries if "requestWillBeSent" in e["method"]]
    assert [url for url in sent if not url.startswith("data:")] == [page.as_uri()]
    assert browser.get_log("browser") == []
    assert count_shown(browser) == 26


def test_a_hostile_name_stays_text_in_the_browser(opened):
    images = "return [...document.images].map((i) => i.getAttribute('src').slice(0, 5))"
    assert set(opened.execute_script(images)) == {"data:"}
    assert opened.execute_script("return document.querySelectorAll('b').length") == 0
    type_into(opened, "filter", "<img SRC=x")
    assert count_shown(opened) == 1
    opened.find_element("css selector", ".grid li:not([hidden]) a").click()
    assert opened.find_element("id", "detail-name").text == f"{HOSTILE}.png"


def test_the_filter_shows_matching_images(opened):
    type_into(opened, "filter", "BLUE")
    assert count_shown(opened) == 4
    assert opened.find_element("id", "count").text == "4 of 26 shown"
    sections = opened.find_elements("css selector", ".cluster:not([hidden])")
    assert all(section.find_elements("css selector", "li:not([hidden])") for section in sections)
    type_into(opened, "filter", "no such name")
    assert opened.find_element("id", "none").is_displayed()


def test_only_uncertain_images_can_be_shown(browser, clusterer, tmp_path):
    wrong = copy.copy(clusterer)
    wrong.labels_ = clusterer.labels_.copy()
    wrong.labels_[0] = (wrong.labels_[0] + 1) % 5  # nearer to the images of another cluster
    browser.get(write_report(wrong, tmp_path / "report.html").as_uri())
    n_uncertain = len(browser.find_elements("css selector", ".unsure"))
    assert 0 < n_uncertain < 26
    browser.find_element("id", "unsure").click()
    assert count_shown(browser) == n_uncertain


def test_the_slider_sets_the_size(opened):
    image = opened.find_element("css selector", ".grid img")
    opened.find_element("id", "size").send_keys("\ue010")  # End
    assert image.size["height"] == 224
    opened.find_element("id", "size").send_keys("\ue011")  # Home
    assert image.size["height"] == 48


def test_a_point_of_the_map_shows_its_image_and_goes_to_its_cluster(opened):
    action, label = point_at(opened, 7)
    action.perform()
    tip = opened.find_element("id", "tip")
    assert tip.is_displayed()
    assert f"cluster_{label}" in tip.text
    assert tip.find_element("tag name", "img").get_property("naturalWidth") > 0
    action.click().perform()
    assert opened.current_url.endswith(f"#cluster-{label}")
    assert opened.switch_to.active_element.get_attribute("id") == f"cluster-{label}"


def test_the_first_tap_shows_the_image_and_the_second_goes_to_its_cluster(opened):
    from selenium.webdriver.common.action_chains import ActionBuilder
    from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    opened.execute_script("canvas.scrollIntoView({block: 'center'})")
    script = (
        "const box = canvas.getBoundingClientRect(), [x, y] = place(points[9]);"
        "return [Math.round(box.x + x), Math.round(box.y + y)]"
    )
    x, y = opened.execute_script(script)
    for second in (False, True):
        finger = ActionBuilder(opened, mouse=PointerInput(POINTER_TOUCH, "finger"))
        finger.pointer_action.move_to_location(x, y).pointer_down().pointer_up()
        finger.perform()
        assert opened.find_element("id", "tip").is_displayed() != second
        assert ("#cluster-" in opened.current_url) == second


def test_the_map_works_from_the_keyboard(opened):
    canvas = opened.find_element("css selector", "#map canvas")
    opened.execute_script("arguments[0].focus()", canvas)
    canvas.send_keys("\ue014\ue014\ue013")  # right, right, up
    said = opened.execute_script("return document.getElementById('said').textContent")
    label = re.search(r", cluster_(\d)$", said)[1]
    canvas.send_keys("\ue007")  # Enter
    assert opened.current_url.endswith(f"#cluster-{label}")


def test_a_large_image_is_the_original(browser, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    Image.new("RGB", (1200, 900), "green").save(tmp_path / "large.png")
    page = write_report([0], tmp_path / "r.html", images=[tmp_path / "large.png"])
    browser.get(page.as_uri())
    browser.find_element("css selector", ".grid a").click()
    image = browser.find_element("css selector", "#detail img")
    WebDriverWait(browser, 5).until(lambda _: image.get_property("naturalWidth") == 1200)
    assert image.size["width"] > 700
    assert browser.get_log("browser") == []


def test_a_large_image_is_the_thumbnail_if_the_original_is_missing(browser, tmp_path):
    Image.new("RGB", (1200, 900), "green").save(tmp_path / "large.png")
    page = write_report([0], tmp_path / "r.html", images=[tmp_path / "large.png"])
    (tmp_path / "large.png").unlink()
    browser.get(page.as_uri())
    browser.find_element("css selector", ".grid a").click()
    time.sleep(0.2)
    image = browser.find_element("css selector", "#detail img")
    assert image.get_property("naturalWidth") == 299
    browser.get_log("browser")  # of the file that is not there


def test_the_filter_of_a_sampled_page_says_that_it_searches_the_images_shown(browser, tmp_path):
    images = [np.full((4, 4, 3), i % 256, dtype=np.uint8) for i in range(1200)]
    page = write_report([0] * 1200, tmp_path / "r.html", images=images)
    browser.get(page.as_uri())
    field = browser.find_element("id", "filter")
    assert field.get_attribute("placeholder") == "Filter the 1,000 shown by name"
    assert browser.find_element("id", "count").text == "1,000 shown, of 1,200 images"
    type_into(browser, "filter", "no such name")
    none = browser.find_element("id", "none").text
    assert none.startswith("None of the 1,000 images shown has a matching name; the 200 others")


def test_a_large_image_can_be_stepped_and_closed(opened):
    from selenium.webdriver.support.ui import WebDriverWait

    first, second, *_ = opened.find_elements("css selector", ".grid a")
    opened.execute_script("arguments[0].focus()", first)
    first.send_keys("\ue007")
    assert opened.find_element("id", "detail").is_displayed()
    name = opened.find_element("id", "detail-name").text
    opened.switch_to.active_element.send_keys("\ue014")
    assert opened.find_element("id", "detail-name").text != name
    link = opened.find_element("id", "detail-link").get_attribute("href")
    assert link == second.get_attribute("href")
    opened.switch_to.active_element.send_keys("\ue00c")  # Escape
    # A dialog tells that it is closed a moment later.
    WebDriverWait(opened, 5).until(lambda browser: browser.switch_to.active_element == second)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark(browser, page, scheme):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", paper))) > 3 * 128
    assert bright == (scheme == "light")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
