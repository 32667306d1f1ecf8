"""The report in a browser: it loads without requests, filters, maps and enlarges."""

import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import write_report
from tests.report_page import HOSTILE, cluster_hostile

pytestmark = pytest.mark.slow

SHIFT, CONTROL, ENTER, ESCAPE = "\ue008", "\ue009", "\ue007", "\ue00c"
HOME, END, LEFT, UP, RIGHT, DOWN = "\ue011", "\ue010", "\ue012", "\ue013", "\ue014", "\ue015"
# Image `id` in the middle of the window, in the document.
BRING = """
const { section, i } = findImage(arguments[0]);
scrollTo(0, section.top + Math.floor(i / columns) * cell - innerHeight / 2);
paint(true);
return tiles.get(arguments[0]);
"""


class Hands:
    """A browser with a page, and hands."""

    def __init__(self, browser):
        self.browser = browser

    def open(self, page):
        # Not by way of about:blank: Chromium's driver then waits for ever now and then.
        self.browser.get(page.as_uri())
        return self

    def run(self, expression, *arguments):
        return self.browser.execute_script(f"return {expression}", *arguments)

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def text(self, selector):
        """The text of an element, without the places where it may break."""
        return self.find(selector).text.replace("\u200b", "")

    def said(self):
        return self.run("document.getElementById('told').textContent")

    def focused(self):
        """The name of the image in focus."""
        return self.browser.switch_to.active_element.get_attribute("title")

    def image(self, name):
        """The image whose name ends so, once it is in view."""
        known = self.run("base.name.findIndex((each) => each.endsWith(arguments[0]))", name)
        assert known >= 0, name
        return self.browser.execute_script(BRING, self.run(f"base.id[{known}]"))

    def act(self):
        from selenium.webdriver import ActionChains

        return ActionChains(self.browser)

    def click(self, *names, holding="", on=""):
        """Click images, or a part of them, holding a key."""
        for name in names:
            image = self.image(name)
            action = self.act().key_down(holding) if holding else self.act()
            # The circle is there for a mouse that is over the image.
            action.move_to_element(image)
            action.click(image.find_element("css selector", on) if on else image)
            (action.key_up(holding) if holding else action).perform()

    def press(self, keys, *holding):
        action = self.act()
        for key in holding:
            action.key_down(key)
        action.send_keys(keys)
        for key in holding:
            action.key_up(key)
        action.perform()

    def push(self, selector):
        button = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def type_into(self, name, text):
        field = self.browser.find_element("id", name)
        field.clear()
        field.send_keys(text)

    def tap(self, x, y):
        """Tap a place of the window."""
        from selenium.webdriver.common.action_chains import ActionBuilder
        from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        finger = ActionBuilder(self.browser, mouse=PointerInput(POINTER_TOUCH, "finger"))
        finger.pointer_action.move_to_location(round(x), round(y)).pointer_down().pointer_up()
        finger.perform()

    def names(self, section):
        """The names of the images of a section, by its id."""
        return [tile.get_attribute("title") for tile in self.all(f"#{section} li[data-id]")]

    def wait(self, condition):
        """Wait until a condition holds, a function of the browser."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 5).until(condition)


@pytest.fixture(scope="module")
def clusterer(pictures, stand_in, tmp_path_factory):
    return cluster_hostile(pictures, tmp_path_factory.mktemp("report") / "photos", stand_in)


@pytest.fixture(scope="module")
def page(clusterer, tmp_path_factory):
    return write_report(clusterer, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def opened(browser, page):
    return Hands(browser).open(page)


def count_shown(hands):
    return hands.run("order.length")


def test_the_page_loads_without_errors_or_requests(browser, page):
    browser.get_log("browser")
    browser.get_log("performance")
    hands = Hands(browser).open(page)
    time.sleep(0.3)
    entries = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in entries if "requestWillBeSent" in e["method"]]
    assert [url for url in sent if not url.startswith("data:")] == [page.as_uri()]
    assert browser.get_log("browser") == []
    assert hands.text("h1").startswith("26 images in 5 clusters")
    assert count_shown(hands) == 26


def test_a_hostile_name_stays_text_in_the_browser(opened):
    assert {i.get_attribute("src")[:5] for i in opened.all("img")} == {"data:"}
    assert opened.all("b") == []
    opened.type_into("filter", "<img SRC=x")
    assert count_shown(opened) == 1
    opened.click(".png")
    assert opened.text("#detail-name") == f"{HOSTILE}.png"


def test_images_enter_the_document_as_they_come_into_view(browser, tmp_path):
    images = [np.full((4, 4, 3), i % 256, dtype=np.uint8) for i in range(900)]
    hands = Hands(browser).open(write_report([0] * 900, tmp_path / "r.html", images=images))
    assert 20 < len(hands.all("li[data-id]")) < 400
    (first,) = hands.all("[aria-posinset='1']")
    hands.run("arguments[0].focus()", first)
    hands.press(END)
    last = hands.wait(lambda _: hands.all("[aria-posinset='900']"))
    assert last[0].is_displayed()
    # What has the focus stays in the document, and the keyboard goes on from there.
    assert 20 < len(hands.all("li[data-id]")) < 400
    hands.press(RIGHT)
    assert hands.browser.switch_to.active_element.get_attribute("aria-posinset") == "2"


def test_the_filter_shows_matching_images_and_a_link_of_a_cluster_shows_all(opened):
    opened.type_into("filter", "LUE_")
    assert count_shown(opened) == 4
    assert opened.text("#count") == "4 shown"
    assert all(section.find_elements("tag name", "li") for section in opened.all(".cluster"))
    opened.type_into("filter", "no such name")
    assert opened.text("#none") == "No name matches."
    opened.push("#index a[data-label='3']")
    assert count_shown(opened) == 26
    assert not opened.find("#none").is_displayed()
    section = opened.browser.switch_to.active_element
    assert section.get_attribute("id") == "cluster-3"
    assert section.find_element("tag name", "h2").is_displayed()


def test_only_doubtful_images_can_be_shown_the_worst_first_by_what_they_might_be(browser, tmp_path):
    images = [np.full((4, 4, 3), i, dtype=np.uint8) for i in range(60)]
    doubts = np.zeros(60)
    doubts[[3, 5, 40]] = 0.7, 0.9, 0.6
    page = write_report(
        np.repeat([0, 1, 2], 20),
        tmp_path / "r.html",
        images=images,
        doubts=doubts,
        suggestions=np.repeat([1, 2, 0], 20),
    )
    hands = Hands(browser).open(page)
    assert hands.text("#unsure-count") == "(3)"
    assert len(hands.all(".unsure")) == 3
    assert "2 doubtful" in hands.text("#cluster-0 .facts")
    hands.find("#unsure").click()
    assert hands.run("order") == [5, 3, 40]
    titles = [heading.text.replace("\u200b", "") for heading in hands.all(".cluster h2")]
    assert titles == ["Do these belong in cluster_1?", "Does this belong in cluster_0?"]
    assert hands.text("#rather-0 .caption") == "in cluster_2"
    assert hands.browser.switch_to.active_element == hands.all("li[data-id]")[0]
    hands.press("d")
    assert count_shown(hands) == 60
    hands.press("d")
    hands.push("#index a[data-label='1']")
    assert count_shown(hands) == 60


def test_the_slider_sets_the_size(opened):
    opened.find("#size").send_keys(END)
    large = opened.find("li[data-id]").size["height"]
    opened.find("#size").send_keys(HOME)
    small = opened.find("li[data-id]").size["height"]
    # Images are as wide as they must be to fill the row.
    assert 320 <= large < 640
    assert 48 <= small < 96


def map_point(hands, index):
    """Where a point of the map is in the window, with the id of its image."""
    hands.browser.execute_script("$('map').open = true")
    hands.wait(lambda _: hands.run("points.length && $('drawing').hidden"))
    hands.browser.execute_script("$('canvas').scrollIntoView({block: 'center'})")
    place = (
        "const box = $('canvas').getBoundingClientRect(), [x, y] = placeOf(points[arguments[0]])"
    )
    return hands.browser.execute_script(
        f"{place}; return [box.x + x, box.y + y, points[arguments[0]][2]]", index
    )


def test_a_point_of_the_map_shows_its_image_and_goes_there(opened):
    x, y, image = map_point(opened, 7)
    name, label = opened.run(
        f"[base.name[positionOf({image})], clusterAt(positionOf({image})).label]"
    )
    canvas = opened.run("$('canvas').getBoundingClientRect().toJSON()")
    # From the middle of the element, as selenium counts.
    offset = x - canvas["x"] - canvas["width"] / 2, y - canvas["y"] - canvas["height"] / 2
    opened.act().move_to_element_with_offset(opened.find("#canvas"), *offset).perform()
    assert opened.find("#tip").is_displayed()
    assert opened.find("#tip").text == f"{name} · cluster_{label}"
    assert opened.find("#tip img").get_property("naturalWidth") > 0
    opened.act().click().perform()
    assert opened.focused() == name
    assert not opened.find("#detail").is_displayed()


def test_the_first_tap_shows_the_image_and_the_second_goes_there(opened):
    x, y, image = map_point(opened, 9)
    name = opened.run(f"base.name[positionOf({image})]")
    for second in (False, True):
        opened.tap(x, y)
        assert opened.find("#tip").is_displayed() != second
        assert (opened.focused() == name) == second


def test_the_map_works_from_the_keyboard(opened):
    map_point(opened, 0)
    opened.run("$('canvas').focus()")
    opened.press(RIGHT)  # to the first point
    for key, axis, sign in ((RIGHT, 0, 1), (UP, 1, 1), (LEFT, 0, -1), (DOWN, 1, -1)):
        before = opened.run("current")
        opened.press(key)
        assert sign * (opened.run("current")[axis] - before[axis]) > 0
    said = opened.run("$('said').textContent")
    name = re.fullmatch(r"(.+) · cluster_\d", said)[1]
    opened.press(ENTER)
    assert opened.focused() == name


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "missing"])
def test_a_large_image_is_the_original_or_else_the_thumbnail(browser, tmp_path, is_there):
    Image.new("RGB", (1200, 900), "green").save(tmp_path / "large.png")
    page = write_report([0], tmp_path / "r.html", images=[tmp_path / "large.png"])
    if not is_there:
        (tmp_path / "large.png").unlink()
    browser.get_log("browser")
    hands = Hands(browser).open(page)
    hands.click("large.png")
    if is_there:
        hands.wait(lambda _: hands.find("#large").get_property("naturalWidth") == 1200)
        assert hands.find("#large").size["width"] > 700
        assert (
            hands.find("#detail-link").get_attribute("href") == page.with_name("large.png").as_uri()
        )
    else:
        time.sleep(0.2)
        assert hands.find("#large").get_property("naturalWidth") == 299
    assert len(browser.get_log("browser")) == (not is_there)  # of the file


def test_a_large_image_can_be_stepped_and_closed(opened):
    opened.run("focusImage(order[3])")
    first = opened.focused()
    opened.press(RIGHT + RIGHT + LEFT + LEFT)
    assert opened.focused() == first
    opened.press(ENTER)
    assert opened.find("#detail").is_displayed()
    assert opened.run("$('detail-name').textContent") == first
    opened.press(RIGHT)
    opened.find("#next").click()
    second = opened.run("$('detail-name').textContent")
    assert second == opened.run("base.name[positionOf(order[5])]")
    opened.press(ESCAPE)
    # A dialog tells that it is closed a moment later.
    opened.wait(lambda _: opened.focused() == second)
    assert not opened.find("#detail").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark(browser, page, scheme):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        hands = Hands(browser).open(page)
        assert hands.run("document.documentElement.scrollWidth") == 390
        paper = hands.run("getComputedStyle(document.body).backgroundColor")
        bright = sum(map(int, re.findall(r"\d+", paper))) > 3 * 128
        assert bright == (scheme == "light")
        hands.image(".png").click()
        for part in hands.all("#detail button, #large"):
            box = part.rect
            assert not part.is_displayed() or (box["x"] >= 0 and box["x"] + box["width"] <= 390)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_sampled_page_says_so_and_has_its_map(browser, tmp_path):
    images = [np.full((4, 4, 3), i % 256, dtype=np.uint8) for i in range(1200)]
    page = write_report(
        [0] * 1200,
        tmp_path / "r.html",
        images=images,
        features=np.random.default_rng(0).random((1200, 2)),
        projection="pca",
    )
    hands = Hands(browser).open(page)
    assert hands.text("h1") == "1,200 images in 1 cluster"
    assert "This page shows 1,000 of them" in hands.text("header")
    assert hands.text("#cluster-0 .facts") == "1,200 images · 1,000 shown"
    hands.wait(lambda _: not hands.find("#drawing").is_displayed())


def test_noise_is_in_no_cluster(browser, tmp_path):
    images = [np.zeros((4, 4, 3), np.uint8)] * 3
    hands = Hands(browser).open(write_report([0, 0, -1], tmp_path / "r.html", images=images))
    assert hands.text("h1") == "2 images in 1 cluster"
    hands.run("focusImage(2)")
    hands.press(ENTER)
    assert hands.text("#detail-own strong") == "In noise"
    assert not hands.find("#detail-other").is_displayed()


def test_a_page_without_an_export_corrects_nothing_and_says_so(opened):
    assert [each for each in opened.all("[data-act]") if each.is_displayed()] == []
    opened.click(".png", on="img", holding=CONTROL)
    assert opened.find("#detail").is_displayed()
    assert not opened.find("#detail [data-act]").is_displayed()
    opened.press("x" + ESCAPE)
    opened.wait(lambda _: not opened.find("#detail").is_displayed())
    opened.press(" xvarm")
    assert not opened.find("#ask").is_displayed()
    assert not opened.find("#bar").is_displayed()
    assert opened.run("log") == []
    opened.push("#made summary")
    assert "written without an export" in opened.text("#made")
