"""Draws the pictures of the project's README: a contact sheet, the report in a browser, and the
report while it is corrected.

    python examples/pictures/draw.py --backbone efficientnet_lite0

from crops of two photos that scikit-learn ships, both CC BY 2.0: china.jpg by danielbuechele
(flickr.com/photos/danielbuechele/6061409035) and flower.jpg by vultilion
(flickr.com/photos/vultilion/6056698931). Needs matplotlib, selenium and chromium.
"""

import argparse
import io
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from sklearn.datasets import load_sample_image

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, export_clusters, write_report
from resnet_kmeans.cli import main
from resnet_kmeans.display import ContactSheetDisplay
from resnet_kmeans.sample_pictures import draw_pictures

HERE = Path(__file__).parent
SIZE = (1280, 1240)  # pixels of the screenshot


def cut_crops(folder, n_each=60):
    random = np.random.default_rng(0)
    for name in ("china.jpg", "flower.jpg"):
        photo = Image.fromarray(load_sample_image(name))
        for number in range(n_each):
            width, height = random.integers(110, 190, 2)
            left = random.integers(0, photo.width - width)
            top = random.integers(0, photo.height - height)
            crop = photo.crop((left, top, left + width, top + height))
            crop.save(folder / f"{Path(name).stem}_{number}.png")


@contextmanager
def opened(page, scheme):
    """Open a page in a browser of light or dark colours."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    features = [feature, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    browser.execute_script("document.querySelector('header .soft').textContent = 'photos/'")
    yield browser
    browser.quit()


def photograph(browser, name):
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture.save(HERE / f"{name}.jpg", quality=82, optimize=True)


def correct(browser):
    """Rename a cluster of flowers, merge another into it, move two images, select three."""

    def press(keys):
        ActionChains(browser).send_keys(keys).perform()

    def click(selector, number=0):
        element = browser.find_elements("css selector", selector)[number]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def largest(word):
        """Return the labels of the two clusters with most images of such a name."""
        names = f".grid li[data-name*='{word}']"
        sections = browser.find_elements("css selector", f".cluster:has({names})")
        sections.sort(key=lambda section: -len(section.find_elements("css selector", names)))
        return [section.get_attribute("id").removeprefix("cluster-") for section in sections[:2]]

    (flowers, petals), (temple, sky) = largest("flower_"), largest("china_")
    click("#correct")
    click(f"#cluster-{flowers} [data-act=rename]")
    press("flowers" + Keys.ENTER)
    click(f"#cluster-{petals} [data-act=merge]")
    click(f"#ask-groups button[data-group='{flowers}']")
    for number in (0, 1):
        click(f"#cluster-{sky} .grid a", number)
    press(temple)  # its digit
    for number in (0, 2, 3):
        click(f"#cluster-{temple} .grid a", number)
    browser.execute_script("document.querySelector('#changes').open = true")
    browser.execute_script(f"document.querySelector('#cluster-{temple}').scrollIntoView()")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--preprocess", default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "photos")
        draw_pictures(folder, n_each=6)
        cut_crops(folder)
        featurizer = ResNetFeaturizer(
            weights=args.weights, backbone=args.backbone, preprocess=args.preprocess
        )
        clusterer = ImageFolderClusterer(10, featurizer=featurizer, random_state=11).fit(folder)
        sheet = ContactSheetDisplay.from_estimator(clusterer)
        sheet.figure_.savefig(Path(place, "sheet.png"), dpi=90)
        Image.open(Path(place, "sheet.png")).convert("RGB").save(
            HERE / "contact_sheet.jpg", quality=82, optimize=True
        )
        page = write_report(clusterer, Path(place, "report.html"))
        for scheme in ("light", "dark"):
            with opened(page, scheme) as browser:
                photograph(browser, f"report_{scheme}")
        out = Path(place, "clusters")
        export_clusters(clusterer.image_paths_, clusterer.labels_, out)
        main(["report", str(out)])
        with opened(out / "report.html", "light") as browser:
            correct(browser)
            photograph(browser, "report_correcting")
