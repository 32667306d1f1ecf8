"""The report: what it sums up, what it writes, how it behaves in a browser."""

import copy
import html
import json
import os
import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.cluster import DBSCAN

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, write_report
from resnet_kmeans.report.clusters import MAX_SHOWN
from resnet_kmeans.report.estimator_results import read_clusterer
from resnet_kmeans.report.page import render
from resnet_kmeans.report.projection import project
from resnet_kmeans.report.summary import MAX_MAPPED, summarize
from resnet_kmeans.report.thumbnails import MAX_THUMBNAIL_BYTES, make_thumbnail

HOSTILE = "<IMG src=x onerror=alert(1)>"


def grey(value):
    return np.full((20, 30, 3), value, dtype=np.uint8)


def line(*values):
    return np.array(values, dtype=np.float32)[:, None]


# --- The summary


def test_the_most_typical_images_come_first():
    summary = summarize(list("abcdef"), [0, 0, 0, 1, 1, 1], features=line(1, 3, 2.2, 9, 12, 12.1))
    assert [cluster.shown for cluster in summary.clusters] == [[2, 1, 0], [4, 5, 3]]


def test_given_distances_decide_what_is_typical():
    summary = summarize(list("abc"), [4, 4, 4], distances=[3, 1, 2])
    assert summary.clusters[0].shown == [1, 2, 0]
    assert (summary.clusters[0].label, summary.clusters[0].size) == (4, 3)


def test_an_image_nearer_to_another_cluster_is_uncertain():
    labels = [0, 0, 1, 1, 2, 2, 2]
    summary = summarize(list("abcdefg"), labels, features=line(0, 1, 10, 11, 30, 31, 11.5))
    assert summary.uncertain.tolist() == [False] * 6 + [True]
    assert summary.rivals.tolist() == [1, 1, 0, 0, 1, 1, 1]
    assert [cluster.n_uncertain for cluster in summary.clusters] == [0, 0, 1]
    assert summary.clusters[0].mean_silhouette > 0.8 > summary.mean_silhouette


def test_without_features_there_are_no_silhouettes_and_no_map():
    summary = summarize(list("ab"), [0, 1])
    assert summary.mean_silhouette is summary.clusters[0].mean_silhouette is None
    assert len(summary.mapped) == 0
    assert not summary.uncertain.any()


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-1, -1, -1], [-1, -1, 7]])
def test_a_clustering_without_silhouettes_can_be_summarised(labels):
    summary = summarize(list("abc"), labels, features=np.eye(3, dtype=np.float32))
    assert summary.mean_silhouette is None
    assert summary.n_clustered == sum(label >= 0 for label in labels)


def test_unreadable_images_are_listed_with_their_reasons():
    features = np.array([[1.0], [np.nan], [2.0], [9.0]])
    paths = ["p/a.jpg", "p/b\n.jpg", "p/c.jpg", "p/d.jpg"]
    reasons = {"p/b\n.jpg": "the file is empty"}
    summary = summarize(paths, [0, -1, 0, 1], features=features, reasons=reasons)
    assert summary.unreadable == {"b\\n.jpg": "the file is empty"}
    assert summary.mapped.tolist() == [0, 2, 3]
    assert summary.folder == os.path.abspath("p")


def test_names_are_relative_to_the_common_folder():
    summary = summarize(["out/0/a.jpg", "out/1/b.jpg", "in/c.jpg"], [0, 1, -1])
    assert summary.names == ["0/a.jpg", "1/b.jpg", os.path.abspath("in/c.jpg")]
    assert summary.folder == os.path.abspath("out")


def test_clusters_of_equal_names_are_merged():
    names = ["cats", "dogs", "cats"]
    summary = summarize(list("abcd"), [0, 1, 2, 2], names=names, features=line(1, 9, 2, 2.2))
    clusters = [(cluster.label, cluster.name, cluster.size) for cluster in summary.clusters]
    assert clusters == [(0, "cats", 3), (1, "dogs", 1)]
    assert summary.labels.tolist() == [0, 1, 0, 0]
    assert summary.n_clusters == 2


def test_names_can_be_given_for_some_labels():
    summary = summarize(list("abc"), [0, 1, 7], names={1: "dogs\n"})
    assert [c.name for c in summary.clusters] == ["cluster_0", "dogs\\n", "cluster_7"]


def test_noise_and_images_set_aside_are_shown_but_not_counted_as_clusters():
    features = line(0, 0.1, 5, 5.1, 90, 3)
    summary = summarize(list("abcdef"), [0, 0, 1, 1, -3, -2], features=features)
    assert [c.name for c in summary.clusters] == ["cluster_0", "cluster_1", "noise", "_set_aside"]
    assert (summary.n_clusters, summary.n_clustered, summary.unreadable) == (2, 4, {})
    assert summary.mapped.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isnan(summary.silhouettes).tolist() == [False] * 4 + [True] * 2
    text = render(summary)
    assert "4 images in 2 clusters" in text
    assert '<a href="#cluster--2">1 image labelled noise</a>' in text
    assert '<a href="#cluster--3">1 image set aside</a>' in text


def test_a_pandas_series_of_paths_is_indexed_by_position():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    paths = pandas.Series(["p/a.jpg", "p/b.jpg"], index=[7, 8])
    assert summarize(paths, [0, -1]).names == ["a.jpg", "b.jpg"]


def test_above_a_thousand_images_each_cluster_shows_a_sample():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [2800, 180, 20])
    features = random.normal(size=(3000, 4)) + 3 * labels[:, None]
    summary = summarize([f"{i}" for i in range(3000)], labels, features=features, projection="pca")
    shown = [len(cluster.shown) for cluster in summary.clusters]
    assert shown == [800, 180, 20]
    assert sum(shown) <= MAX_SHOWN
    assert [cluster.n_typical for cluster in summary.clusters] == [600, 180, 20]
    large = summary.clusters[0].shown
    hidden = np.setdiff1d(np.arange(2800), large)
    assert summary.silhouettes[large[600:]].max() <= summary.silhouettes[hidden].min()
    assert len(summary.mapped) == MAX_MAPPED
    assert set(large) <= set(summary.mapped.tolist())
    assert "1,000 of 3,000 images are shown" in " ".join(render(summary).split())


@pytest.mark.parametrize(
    "given",
    [
        {"labels": [0, 1]},
        {"labels": [0.5, 1.5, 2.5]},
        {"labels": [0, 1, 2], "features": np.ones((2, 4))},
        {"labels": [0, 1, 2], "distances": [1]},
    ],
)
def test_different_lengths_raise_an_error(given):
    with pytest.raises(ValueError, match=r"Expected equal numbers of .* got \[.*Nothing was comp"):
        summarize(list("abc"), **given)


@pytest.mark.parametrize("n_rows", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("n_columns", [1, 2, 8])
def test_a_map_can_be_made_of_any_number_of_rows(n_rows, n_columns):
    rows = np.random.default_rng(0).normal(size=(n_rows, n_columns)).astype(np.float32)
    points, _ = project(rows)
    assert points.shape == (n_rows, 2)
    assert points.min() >= 0
    assert points.max() <= 1


def test_a_map_keeps_groups_apart():
    rows = np.random.default_rng(0).normal(size=(60, 8)) + 20 * (np.arange(60) % 2)[:, None]
    for projection in ("auto", "pca", "tsne"):
        points, words = project(rows.astype(np.float32), projection)
        gap = np.linalg.norm(points[::2].mean(axis=0) - points[1::2].mean(axis=0))
        assert gap > 0.3, words


def test_an_unknown_projection_raises_an_error():
    with pytest.raises(ValueError, match=r"Expected projection to be .* got 'lda'. Nothing was"):
        project(np.eye(20), "lda")


# --- The page


@pytest.fixture(scope="module")
def clusterer(pictures, tiny_network, tmp_path_factory):
    """A fitted clusterer on drawn pictures, one of them broken, one of them hostile."""
    folder = tmp_path_factory.mktemp("report") / "photos"
    shutil.copytree(pictures, folder)
    (folder / "broken.jpg").write_bytes(b"")
    shutil.copy(folder / "red_rings_0.png", folder / f"{HOSTILE}.png")
    (folder / "<").mkdir()  # its name and the next one's make an end of script
    shutil.copy(folder / "red_rings_1.png", folder / "</script><b>\n\udcff\u202e.png")
    featurizer = ResNetFeaturizer(weights=tiny_network, input_shape=(32, 32), preprocess="caffe")
    with pytest.warns(UserWarning, match="broken.jpg"):
        return ImageFolderClusterer(5, featurizer=featurizer, random_state=0).fit(folder)


@pytest.fixture(scope="module")
def page(clusterer, tmp_path_factory):
    return write_report(clusterer, tmp_path_factory.mktemp("page") / "report.html")


def test_a_page_shows_all_results_of_a_clusterer(page, clusterer):
    text = page.read_text()
    assert "26 images in 5 clusters" in text
    for label, size in enumerate(np.bincount(clusterer.labels_[clusterer.labels_ >= 0])):
        entry = rf'"name">cluster_{label}</span></strong><small><span class="size">{size} image'
        assert re.search(entry, text)
    assert "<dt>broken.jpg</dt><dd>the file is empty</dd>" in text
    assert clusterer.pipeline_["featurizer"].fingerprint_ in text
    assert "<dt>Clusters</dt><dd>5</dd>" in text
    assert "<dt>Seed</dt><dd>0</dd>" in text
    assert "KMeans(n_clusters=5, n_init=10, random_state=0)" in text
    assert "scikit-learn 1." in text
    assert text.count("data:image/jpeg;base64,") == 26


def test_a_page_makes_no_requests(page):
    text = page.read_text()
    loaded = re.findall(r'<(?!a\b)[^>]*\b(?:src|href|poster|srcset)="([^"]*)"', text)
    assert len(loaded) > 26
    assert [address for address in loaded if not address.startswith("data:")] == []
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", text)
    assert "http:" not in text
    assert "https:" not in text


def test_file_names_are_escaped_everywhere(page):
    text = page.read_text()
    assert HOSTILE not in text
    assert html.escape(HOSTILE, quote=False) in text
    assert "</script><b>" not in text
    points = json.loads(re.search(r'id="points"[^>]*>(.*?)</script>', text, re.S)[1])
    assert r"</script><b>\n\udcff\u202e.png" in [point[4] for point in points]


def test_links_are_relative_to_the_page(page):
    links = re.findall(r'<a id="image-\d+" href="([^"]+)"', page.read_text())
    assert len(links) == 26
    assert all(link.startswith("../report0/photos/") for link in links)
    assert any(link.endswith("/%3CIMG%20src%3Dx%20onerror%3Dalert%281%29%3E.png") for link in links)


def test_labels_alone_make_a_page(tmp_path):
    page = write_report([0, 0, 1], tmp_path / "r.html", images=[grey(0), grey(9), grey(200)])
    text = page.read_text()
    assert "3 images in 2 clusters" in text
    assert "X[2]" in text
    assert "<canvas" not in text
    assert "silhouette 0" not in text


def test_a_missing_image_is_shown_by_name(tmp_path, photo):
    page = write_report([0, 1], tmp_path / "r.html", images=[photo, photo.with_name("gone.jpg")])
    assert '<span class="missing">gone.jpg</span>' in page.read_text()


def test_given_facts_are_shown(tmp_path):
    page = write_report([0], tmp_path / "r.html", images=[grey(0)], facts={"Seed": 7})
    assert "<dt>Seed</dt><dd>7</dd>" in page.read_text()


def test_an_older_report_is_replaced_but_no_other_file(tmp_path):
    page = tmp_path / "r.html"
    for n_images in (1, 2):
        write_report([0] * n_images, page, images=[grey(0)] * n_images)
    assert "2 images in 1 cluster<" in page.read_text()
    assert os.listdir(tmp_path) == ["r.html"]
    page.write_text("my own page")
    with pytest.raises(FileExistsError, match=r"Expected a new file .* Nothing was written"):
        write_report([0], page, images=[grey(0)])
    assert page.read_text() == "my own page"


def test_noise_of_a_scikit_learn_clusterer_is_shown_as_noise(tmp_path):
    features = np.array([[0.0], [0.1], [5.0], [5.1], [99.0]])
    clusterer = DBSCAN(eps=1, min_samples=2).fit(features)
    assert clusterer.labels_.tolist() == [0, 0, 1, 1, -1]
    paths = [f"{i}.png" for i in range(5)]
    write_report(clusterer, tmp_path / "report.html", images=paths, features=features)
    text = (tmp_path / "report.html").read_text()
    assert "1 image labelled noise" in text
    assert "reason unknown" not in text


def test_labels_without_images_raise_an_error(tmp_path):
    with pytest.raises(ValueError, match="Expected `images` with the labels"):
        write_report([0, 1], tmp_path / "r.html")


def test_a_clusterer_without_labels_raises_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"ImageFolderClusterer without labels_: .* Nothing was"):
        write_report(ImageFolderClusterer(), tmp_path / "r.html")
    assert os.listdir(tmp_path) == []


def test_features_of_a_clusterer_are_the_rows_it_clustered(clusterer):
    known = read_clusterer(clusterer)
    readable = clusterer.labels_ >= 0
    centers = clusterer.cluster_centers_[clusterer.labels_[readable]]
    gaps = np.linalg.norm(known["features"][readable] - centers, axis=1)
    np.testing.assert_allclose(gaps, clusterer.distances_[readable], rtol=1e-4)
    assert np.isnan(known["features"][~readable]).all()


def test_a_thousand_thumbnails_of_noise_stay_under_20_mb():
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    thumbnail = make_thumbnail(noise)
    assert len(thumbnail.uri) < MAX_THUMBNAIL_BYTES * 4 / 3 + 40
    assert 1000 * len(thumbnail.uri) < 19.5e6


def test_a_thumbnail_shows_the_whole_image():
    assert make_thumbnail(Image.new("RGB", (4000, 1000)))[1:] == (320, 80)
    assert make_thumbnail(Image.new("RGB", (20, 10)))[1:] == (20, 10)
    assert make_thumbnail(b"no image") is None


def test_damaged_metadata_does_not_warn(tmp_path):
    path = tmp_path / "photo.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01"
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    page = write_report([0], tmp_path / "r.html", images=[path])
    assert page.read_text().count("data:image/jpeg") == 1


# --- The page in a browser


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
    assert none == "No name of the 1,000 images shown matches; the 200 others are not on this page."


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
