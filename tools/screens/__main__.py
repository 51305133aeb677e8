"""`make screenshots`: pictures of every page and state of the app, into docs/screenshots.

A rerun changes only pictures that look different. To take fewer: the names of parts (home, document, board),
DEVICE=phone or desktop, ONLY=share,menu for pictures with these words in their names.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from playwright.async_api import async_playwright, expect
from tests.browser.conftest import FLAGS
from tests.browser.people import DEADLINE_S

from tools.screens import board, document, home
from tools.screens.stage import OUT, Album, Stage, about_of

PARTS = {"home": home.take, "document": document.take, "board": board.take}


async def run(parts: list[str]) -> Album:
    album = Album()
    expect.set_options(timeout=DEADLINE_S * 1000)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, chromium_sandbox=False, args=[*FLAGS, "--font-render-hinting=none"]
        )
        for phone in (False, True):
            for part in parts:
                if os.environ.get("DEVICE", "phone" if phone else "desktop") != ("phone" if phone else "desktop"):
                    continue
                began = time.monotonic()
                async with Stage(browser, album, phone=phone) as stage:
                    await PARTS[part](stage)
                print(f"{part}, {'phone' if phone else 'desktop'}: {time.monotonic() - began:.0f} s", flush=True)
        await browser.close()
    return album


def index(out: Path) -> str:
    """docs/screenshots/README.md: each state once, with its pictures."""
    rows: dict[str, list[str]] = {}
    for path in sorted(out.glob("*.png")):
        rows.setdefault(about_of(path), []).append(path.name)
    head = (
        "# Screenshots of the app\n\n`make screenshots` takes them from the running app with sample content, "
        "and generates this page.\n\n"
        "| state | desktop | phone |\n|---|---|---|\n"
    )

    def links(files: list[str], *, phone: bool) -> str:
        chosen = [file for file in files if ("-phone" in file) is phone]
        return ", ".join(f"[{'dark' if file.endswith('-dark.png') else 'light'}]({file})" for file in chosen)

    return head + "".join(
        f"| {about} | {links(files, phone=False)} | {links(files, phone=True)} |\n" for about, files in rows.items()
    )


def main() -> None:
    fonts = subprocess.run(["fc-list", ":lang=und-zsye"], capture_output=True, text=True, check=False).stdout
    if "Emoji" not in fonts:
        raise SystemExit("the pictures show emoji: install fonts-noto-color-emoji")
    parts = [part for part in sys.argv[1:] if part in PARTS] or list(PARTS)
    OUT.mkdir(exist_ok=True)
    album = asyncio.run(run(parts))
    if "ONLY" not in os.environ and "DEVICE" not in os.environ and len(parts) == len(PARTS):
        for path in OUT.glob("*.png"):
            if path.name not in album.taken:
                path.unlink()
    (OUT / "README.md").write_text(index(OUT))
    size = sum(path.stat().st_size for path in OUT.glob("*.png"))
    print(f"{len(album.taken)} pictures taken, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
