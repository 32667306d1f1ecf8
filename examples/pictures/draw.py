"""Draws the pictures of the project's README: a contact sheet, and the report in a browser.

    python examples/pictures/draw.py --weights W

from crops of two photos that scikit-learn ships, both CC BY 2.0: china.jpg by danielbuechele
(flickr.com/photos/danielbuechele/6061409035) and flower.jpg by vultilion
(flickr.com/photos/vultilion/6056698931). Needs matplotlib, selenium and chromium.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from sklearn.datasets import load_sample_image

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, write_report
from resnet_kmeans.cli.pictures import draw_pictures
from resnet_kmeans.display import ContactSheetDisplay

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


def photograph(page, scheme):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    browser.execute_script("document.querySelector('header .soft').textContent = 'photos/'")
    browser.save_screenshot(page.with_suffix(".png"))
    browser.quit()
    picture = Image.open(page.with_suffix(".png")).convert("RGB")
    picture.save(HERE / f"report_{scheme}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--preprocess", default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "photos")
        draw_pictures(folder, n_each=6)
        cut_crops(folder)
        featurizer = ResNetFeaturizer(weights=args.weights, preprocess=args.preprocess)
        clusterer = ImageFolderClusterer(10, featurizer=featurizer, random_state=11).fit(folder)
        sheet = ContactSheetDisplay.from_estimator(clusterer)
        sheet.figure_.savefig(Path(place, "sheet.png"), dpi=90)
        Image.open(Path(place, "sheet.png")).convert("RGB").save(
            HERE / "contact_sheet.jpg", quality=82, optimize=True
        )
        page = write_report(clusterer, Path(place, "report.html"))
        for scheme in ("light", "dark"):
            photograph(page, scheme)
