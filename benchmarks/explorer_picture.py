"""README's picture of the explorer: `python benchmarks/explorer_picture.py docs/explorer.png`.

It needs chromium, and `pip install -e '.[all,browser]'`.
"""

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from manual_bp.cli.main import main

SIZE = {"width": 1280, "height": 930}
SHOWN = 6  # of the ten steps of training that the page shows
MOMENT = "∂C/∂W¹"


def picture(target: Path) -> None:
    """Make the page of digits, go to a step, and keep what is seen in few colours."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = Path(folder, "page.html")
        if code := main(["explore", "--out", str(page_file), "--quiet"]):
            sys.exit(code)
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(page_file.as_uri())
        page.locator("#step").fill(str(SHOWN))
        page.locator("#moments button", has_text=MOMENT).click()
        page.locator(".columns").evaluate("columns => columns.scrollIntoView()")
        seen = Image.open(BytesIO(page.screenshot()))
        browser.close()
    seen.quantize(200, Image.Quantize.FASTOCTREE).save(target, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("explorer_picture.py: expected the name of a .png to write")
    picture(Path(sys.argv[1]))
