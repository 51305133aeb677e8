"""Templates (SE1-SE3 of seeds) and content made on the server (BU1-BU4 of crdt/build.py)."""

from __future__ import annotations

import re
from typing import Any

import pycrdt
import pytest

from raffia.crdt.build import copy
from raffia.crdt.meta import read_meta
from raffia.crdt.update import read_update
from raffia.crdt.view import View, edit
from raffia.errors import MalformedError
from raffia.seeds import SCHEMA, SEEDS, Seed, first_update, seed_of
from raffia.types import EMPTY_UPDATE

BLOCKS = {"paragraph", "heading", "bulletListItem", "numberedListItem", "checkListItem"}
OLD, NEW = "/api/files/old/", "/api/files/new/"


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.id)
def test_se1_every_template_is_a_strict_update_that_says_what_it_is(seed: Seed) -> None:
    update = first_update(seed.kind, "Titel é", seed)
    assert len(read_update(update, limit=1 << 20).sections) == 1
    said = read_meta([update])
    assert (said.title, said.kind, said.schema) == ("Titel é", seed.kind, SCHEMA)


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed.kind == "document"], ids=lambda seed: seed.id)
def test_bu1_rich_text_is_as_the_editor_has_it(seed: Seed) -> None:
    xml = View(first_update(seed.kind, "", seed)).xml("document-store")
    assert xml.startswith("<blockGroup><blockContainer id=")
    ids = re.findall(r'<blockContainer id="([0-9a-f-]{36})">', xml)
    assert len(ids) == len(set(ids)) == xml.count("<blockContainer")
    assert set(re.findall(r"<(\w+)", xml)) <= BLOCKS | {"blockGroup", "blockContainer", "bold"}
    again = View(first_update(seed.kind, "", seed)).xml("document-store")
    assert not set(ids) & set(re.findall(r'id="([^"]+)"', again)), "two documents share ids of blocks"


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed.kind == "board"], ids=lambda seed: seed.id)
def test_bu2_a_board_keeps_elements_in_groups(seed: Seed) -> None:
    elements: dict[str, Any] = View(first_update(seed.kind, "", seed)).json()["elements"]
    assert elements
    indexes = [one["m"]["index"] for one in elements.values()]
    assert len(set(indexes)) == len(indexes)
    for name, groups in elements.items():
        assert {"g", "s", "m"} <= set(groups) <= {"g", "s", "t", "m"}
        assert ("t" in groups) == (groups["m"]["type"] == "text")
        container = groups["m"].get("containerId")
        if container is not None:
            assert {"type": "text", "id": name} in elements[container]["m"]["boundElements"]


def test_se3_templates_are_those_of_their_kind() -> None:
    assert seed_of(None, "board") is None
    for template, kind in (("nothing", "board"), ("meeting", "board"), ("kanban", "document")):
        with pytest.raises(MalformedError):
            seed_of(template, kind)


def test_bu3_bu4_a_copy_holds_nothing_deleted_and_has_files_of_its_own() -> None:
    def fill(doc: pycrdt.Doc[Any]) -> None:
        files = doc.get("files", type=pycrdt.Map)
        files["plain"] = {"url": f"{OLD}a.png", "mimeType": "image/png"}
        files["map"] = pycrdt.Map({"url": f"{OLD}b.png"})
        files["other"] = {"url": "https://example.com/c.png"}
        fragment = doc.get("document-store", type=pycrdt.XmlFragment)
        group = fragment.children.append(pycrdt.XmlElement("blockGroup"))
        image = group.children.append(pycrdt.XmlElement("image"))
        image.attributes["url"] = f"{OLD}d.png"
        text = doc.get("t", type=pycrdt.Text)
        text += "geheim bleibt"
        del text[0:7]

    made = edit(EMPTY_UPDATE, fill)
    copied = copy([made], {"title": "é (copy)"}, (OLD, NEW))
    assert b"geheim" not in copied
    found = View(copied).json()
    assert found["t"] == "bleibt"
    assert found["meta"] == {"title": "é (copy)"}
    assert {name: one["url"] for name, one in found["files"].items()} == {
        "plain": f"{NEW}a.png", "map": f"{NEW}b.png", "other": "https://example.com/c.png",
    }  # fmt: skip
    assert f'<image url="{NEW}d.png">' in found["document-store"]
    assert View(made).json()["files"]["plain"]["url"] == f"{OLD}a.png"
