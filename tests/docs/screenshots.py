"""Draw the README's images from the report of the drawn sample: the top of the page, and one of its figures.

make run-pipeline
python -m tests.docs.screenshots --root out
"""

import argparse
import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.support.markdown import ROOT

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOLDER = ROOT / "docs" / "images"
WIDTH, HEIGHT, SCALE = 1000, 900, 1.5
COLOURS = 128  # of the palette, by which the files stay small
FIGURE = "figure.curve >> nth=0"  # accuracy on the accepted images


def draw(page_file: Path, folder: Path) -> None:
    """Open the report without a network, and write `report.png` and `coverage.png`."""
    browser_file = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser_file is None:
        raise SystemExit(f"none of {', '.join(CHROMIUM)} is on the PATH: install one")
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        options: dict[str, Any] = {"viewport": {"width": WIDTH, "height": HEIGHT}, "color_scheme": "light"}
        page = browser.new_page(device_scale_factor=SCALE, **options)
        page.goto(page_file.resolve().as_uri())
        save(page.screenshot(), folder / "report.png")
        save(page.locator(FIGURE).screenshot(), folder / "coverage.png")
        browser.close()


def save(encoded: bytes, path: Path) -> None:
    """Write a screenshot with few colours."""
    with Image.open(io.BytesIO(encoded)) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main() -> None:
    """Draw the images of a root's report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="out", help="the root of the sample run")
    parser.add_argument("--dataset", default="house_numbers", help="whose report is drawn")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the images")
    arguments = parser.parse_args()
    page_file = Path(arguments.root, "report", arguments.dataset, "index.html")
    if not page_file.exists():
        raise SystemExit(f"there is no {page_file}: run make run-pipeline first")
    draw(page_file, arguments.output)


if __name__ == "__main__":
    main()
