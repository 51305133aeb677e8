"""The OpenAPI schema says what there is, and nothing that is sent makes the server fail."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.images import IMAGES
from tests.unit.api.rest import rest

from raffia.journal.sqlite.journal import SqliteJournal
from raffia.types import MAX_DOCUMENT_ID, MAX_TITLE

ROUTES = {
    ("GET", "/api/config"), ("GET", "/api/templates"),
    ("GET", "/api/documents"), ("POST", "/api/documents"),
    ("GET", "/api/documents/{document}"), ("PATCH", "/api/documents/{document}"),
    ("DELETE", "/api/documents/{document}"),
    ("POST", "/api/documents/{document}/restore"), ("POST", "/api/documents/{document}/duplicate"),
    ("GET", "/api/documents/{document}/links"), ("POST", "/api/documents/{document}/links"),
    ("DELETE", "/api/documents/{document}/links"),
    ("POST", "/api/documents/{document}/files"), ("GET", "/api/files/{document}/{file}"), ("POST", "/api/revocations"),
}  # fmt: skip


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(references(inner) for inner in value))
    return set()


async def test_the_schema_names_every_route_its_models_and_its_refusals(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        schema = (await here.client.get("/openapi.json")).json()
    there = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    assert there >= ROUTES
    for reference in references(schema):
        at: Any = schema
        for part in reference.removeprefix("#/").split("/"):
            assert part in at, reference
            at = at[part]
    for method, path in ROUTES:
        route = schema["paths"][path][method.lower()]
        good = next(status for status in route["responses"] if status.startswith("2"))
        if good != "204":
            assert route["responses"][good]["content"], path
        for status in ("400", "401", "403", "503"):
            model = route["responses"][status]["content"]["application/json"]["schema"]["$ref"]
            assert model.endswith("/ErrorAnswer")
        assert "422" not in route["responses"]
        if method in {"POST", "PATCH"} and not path.endswith(("/restore", "/duplicate")):
            assert route["requestBody"]["content"], path


async def test_the_schema_says_what_is_taken(tmp_path: Path) -> None:
    """What fits the schema's patterns is not refused for its form, and what does not fit is refused."""
    async with rest(data=tmp_path) as here:
        schema = (await here.client.get("/openapi.json")).json()
        (parameter,) = schema["paths"]["/api/documents/{document}"]["get"]["parameters"]
        assert parameter["schema"]["maxLength"] == MAX_DOCUMENT_ID
        for name, is_taken in {"a": True, "team:1@x.y-z_": True, "-a": False, "a b": False, "é": False}.items():
            assert bool(re.search(parameter["schema"]["pattern"], name)) is is_taken
            await here("GET", f"/documents/{quote(name)}", 403 if is_taken else 400)
        body = schema["paths"]["/api/documents"]["post"]["requestBody"]
        assert body["required"] is False
        await here("POST", "/documents", 201)
        folder = body["content"]["application/json"]["schema"]["properties"]["folder"]
        for name, is_taken in {"team": True, "team/": True, "a/b": True, "": True, "/a": False, "a//b": False}.items():
            assert bool(re.search(folder["pattern"], name)) is is_taken, name
            await here("POST", "/documents", 201 if is_taken else 400, json={"folder": name})
        revocation = schema["paths"]["/api/revocations"]["post"]["requestBody"]
        assert revocation["required"] is True
        assert revocation["content"]["application/json"]["schema"]["maxProperties"] == 1
        assert schema["paths"]["/api/config"]["get"]["security"] == [{"token": []}, {}]
        assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        assert set(schema["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain"}


async def test_answers_are_what_the_schema_says(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        schema = (await here.client.get("/openapi.json")).json()["components"]["schemas"]
        made = await here("POST", "/documents", 201, json={"kind": "board"})
        path = f"/documents/{made['id']}"
        answers = {
            "Document": made,
            "DocumentPage": await here("GET", "/documents"),
            "Config": await here("GET", "/config"),
            "Template": (await here("GET", "/templates"))[0],
            "Link": await here("POST", f"{path}/links", 201, json={"can": "read"}),
            "Uploaded": await here("POST", f"{path}/files", 201, content=IMAGES["png"]()),
            "ErrorAnswer": await here("GET", "/documents/nobody", 403),
        }
        for model, answer in answers.items():
            assert set(answer) == set(schema[model]["properties"]), model
            assert set(schema[model]["required"]) == set(answer), model


NAMES = st.one_of(
    st.sampled_from(["a", "a%2Fb", "nobody", "..", "%2e%2e", "a%00b", "%ff", "%", "a/b", "*", "links"]),
    st.text(max_size=40).map(lambda text: re.sub(r"[\r\n\x00#?]", "", text)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=MAX_TITLE + 5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["title", "kind", "can", "x"]), inner),
    max_leaves=6,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "title": st.text(max_size=20) | JSON,
        "kind": st.sampled_from(["document", "board", "text"]) | JSON,
        "template": st.sampled_from(["meeting", "kanban"]) | JSON,
        "folder": st.sampled_from(["team", "a/b", "../x", ""]) | JSON,
        "can": st.sampled_from(["read", "edit"]) | JSON,
    },
)
BODIES = st.one_of(
    FIELDS.map(json.dumps).map(str.encode),
    JSON.map(json.dumps).map(str.encode),
    st.binary(max_size=200),
    st.sampled_from([made(5, 5) for made in IMAGES.values()]),
    st.just(b'{"title": "\\ud800"}'),
    st.just(b"[" * 5000),
)
QUERIES = st.dictionaries(
    st.sampled_from(["search", "kind", "after", "limit", "deleted", "order", "token"]), st.text(max_size=30), max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    on_disk=st.booleans(),
    calls=st.lists(
        st.tuples(
            st.sampled_from(sorted(ROUTES)), NAMES, NAMES, BODIES, QUERIES,
            st.sampled_from([{}, {"content-length": "-5"}, {"authorization": "Bearer x"}, {"content-type": "x/y"}]),
        ),
        min_size=1,
        max_size=6,
    )
)  # fmt: skip
async def test_random_calls_never_make_it_fail(
    tmp_path_factory: pytest.TempPathFactory, on_disk: bool, calls: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("random")
    async with rest(data=folder, journal=SqliteJournal(folder) if on_disk else None) as here:
        real = (await here("POST", "/documents", 201, json={"kind": "board"}))["id"]
        for (method, path), name, file, body, query, headers in calls:
            where = path.replace("{document}", real if name == "a" else name).replace("{file}", file)
            try:
                request = here.client.build_request(method, where, params=query, content=body, headers=headers)
            except Exception:
                continue  # httpx itself does not send it
            if not request.url.path.startswith("/api/"):
                continue  # httpx has resolved `..`
            answer = await here.client.send(request)
            assert answer.status_code < 500, (method, where, body, answer.text)
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"reason", "message"}, (method, where, answer.text)
