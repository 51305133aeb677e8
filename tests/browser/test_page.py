"""The built-in page, as people meet it: two browsers, a server that goes and comes back, and a status that is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.chromium import Chromium, Tab
from tests.support.server import WeftServer

TEXT = "document.getElementById('text')"
STATUS = "document.getElementById('status').textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WeftServer]:
    with WeftServer(tmp_path / "data") as running:
        yield running


def open_page(browser: Chromium, server: WeftServer, query: str = "") -> Tab:
    tab = browser.open(f"{server.http}/{query}")
    tab.until(f"{TEXT} && !{TEXT}.disabled && {STATUS} === 'Saved'")
    tab.run(f"{TEXT}.focus()")
    return tab


def text_of(tab: Tab) -> str:
    return str(tab.run(f"{TEXT}.value"))


def shows(tab: Tab, text: str) -> None:
    tab.until(f"{TEXT}.value === {text!r}" if text.isascii() else f"{TEXT}.value === `{text}`")


def test_two_people_write_one_text_and_it_survives_a_restart(browser: Chromium, server: WeftServer) -> None:
    ana, ben = open_page(browser, server), open_page(browser, server)
    ana.type("Grüße 😀")
    shows(ben, "Grüße 😀")
    ben.run(f"{TEXT}.setSelectionRange(0, 0)")
    ben.type("Viele ")
    shows(ana, "Viele Grüße 😀")
    ana.until(f"{STATUS} === 'Saved'")
    ben.until(f"{STATUS} === 'Saved'")
    # Ana's caret stayed behind her own words though Ben wrote before them.
    assert ana.run(f"{TEXT}.selectionStart") == len("Viele Grüße ") + 2
    for tab in (ana, ben):
        tab.until("document.querySelectorAll('#people li').length === 2")
    server.restart()
    shows(open_page(browser, server), "Viele Grüße 😀")


def test_the_status_is_true_while_the_server_is_away(browser: Chromium, server: WeftServer) -> None:
    ana = open_page(browser, server)
    ana.type("a")
    ana.until(f"{STATUS} === 'Saved'")
    server.kill()
    ana.until(f"{STATUS} === 'Reconnecting…'")
    ana.type("é😀")
    ana.until(f"{STATUS} === 'Not saved – offline'")
    assert text_of(ana) == "aé😀"
    server.start()
    ana.until(f"{STATUS} === 'Saved'", 40)
    shows(open_page(browser, server), "aé😀")


def test_half_an_emoji_is_never_shared(browser: Chromium, server: WeftServer) -> None:
    ana, ben = open_page(browser, server), open_page(browser, server)
    ana.type("😀😃")  # the same high surrogate
    shows(ben, "😀😃")
    ana.run(f"{TEXT}.setSelectionRange(2, 2)")
    ana.press("Backspace")
    shows(ben, "😃")
    ana.type("😄")
    shows(ben, "😄😃")


def test_undo_takes_back_ones_own_words_only(browser: Chromium, server: WeftServer) -> None:
    ana, ben = open_page(browser, server), open_page(browser, server)
    ana.type("mine ")
    shows(ben, "mine ")
    ben.run(f"{TEXT}.setSelectionRange(5, 5)")
    ben.type("yours")
    shows(ana, "mine yours")
    ana.press("z", modifiers=2)
    shows(ana, "yours")
    shows(ben, "yours")
    ana.press("z", modifiers=2 | 8)
    shows(ben, "mine yours")


def test_an_input_method_keeps_what_others_write_meanwhile(browser: Chromium, server: WeftServer) -> None:
    ana, ben = open_page(browser, server), open_page(browser, server)
    ana.type("x")
    shows(ben, "x")
    ana.call("Input.imeSetComposition", text="か", selectionStart=1, selectionEnd=1)
    assert text_of(ana) == "xか"
    ben.run(f"{TEXT}.setSelectionRange(0, 0)")
    ben.type("B")
    ben.until(f"{STATUS} === 'Saved'")
    ana.type("感")
    shows(ana, "Bx感")
    shows(ben, "Bx感")


def test_the_page_asks_no_other_host_and_has_no_errors(browser: Chromium, server: WeftServer) -> None:
    tab = open_page(browser, server, "?document=team/notes")
    tab.type("é")
    tab.until(f"{STATUS} === 'Saved'")
    hosts = {urlsplit(url).netloc for url in tab.requests}
    assert hosts == {f"127.0.0.1:{server.port}"}
    assert any(url.endswith("/sync") for url in tab.requests)
    assert list(tab.problems) == []
    assert tab.run("document.title") == "team/notes"


def test_a_document_that_cannot_be_opened_is_no_empty_editor(browser: Chromium, server: WeftServer) -> None:
    tab = browser.open(f"{server.http}/?document=-not-a-name-")
    tab.until("!document.getElementById('notice').hidden")
    assert tab.run(f"{TEXT}.disabled")
    assert "cannot be opened" in tab.run("document.getElementById('notice').textContent")


def test_a_name_is_shown_to_others_as_text(browser: Chromium, server: WeftServer) -> None:
    ana, ben = open_page(browser, server), open_page(browser, server)
    name = "<b>Zoë</b>"
    ana.run(f"(i => {{ i.value = '{name}'; i.dispatchEvent(new Event('change')) }})(document.getElementById('name'))")
    ben.until(f"[...document.querySelectorAll('#people li')].some(row => row.textContent === '{name}')")
    assert ben.run("document.querySelectorAll('#people b').length") == 0
