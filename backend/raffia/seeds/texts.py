"""Templates of rich text, in a shorthand that `raffia.crdt.build.make` turns into BlockNote's structure."""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import Any, Final

Block = dict[str, Any]


def _heading(text: str, level: int = 2) -> Block:
    return {"type": "heading", "props": {"level": level}, "text": text}


def _text(*runs: Any) -> Block:
    return {"type": "paragraph", "text": list(runs)}


def _bold(text: str) -> tuple[str, dict[str, Any]]:
    return text, {"bold": {}}


def _points(*texts: str) -> list[Block]:
    return [{"type": "bulletListItem", "text": text} for text in texts]


def _steps(*texts: str) -> list[Block]:
    return [{"type": "numberedListItem", "text": text} for text in texts]


def _tasks(*texts: str) -> list[Block]:
    return [{"type": "checkListItem", "props": {"checked": False}, "text": text} for text in texts]


_MEETING: Final = [
    _text(_bold("When: "), "date and time"),
    _text(_bold("Who: "), "names"),
    _heading("Agenda"),
    *_steps("What has happened since last time", "What needs a decision", "What comes next"),
    _heading("Notes"),
    _text(),
    _heading("Decisions"),
    *_points("What was decided, and why"),
    _heading("To do"),
    *_tasks("Who does what by when", "Send out these notes"),
]

_PLAN: Final = [
    _heading("What and why"),
    _text("One paragraph: what will be different when this is done, and for whom."),
    _heading("Out of scope"),
    *_points("What people may expect but will not get this time"),
    _heading("Steps"),
    *_tasks("The smallest thing worth showing", "What makes it good enough to use", "What makes it complete"),
    _heading("Risks"),
    *_points("What could go wrong, how we would notice, and what we would do"),
    _heading("Open questions"),
    *_points("Question – who knows the answer"),
]

_DECISION: Final = [
    _text(_bold("Status: "), "proposed"),
    _heading("Question"),
    _text("What needs to be decided, and by when."),
    _heading("Options"),
    _heading("First option", 3),
    *_points("What speaks for it", "What speaks against it"),
    _heading("Second option", 3),
    *_points("What speaks for it", "What speaks against it"),
    _heading("Decision"),
    _text("Which option was chosen, by whom, and why."),
    _heading("Consequences"),
    *_points("What becomes easier, and what becomes harder"),
]

_RETRO: Final = [
    _heading("What went well"),
    *_points("", ""),
    _heading("What did not"),
    *_points("", ""),
    _heading("What we try next"),
    *_tasks("", ""),
]

TEXTS: Final[list[tuple[str, str, str, str, dict[str, Any]]]] = [
    ("meeting", "document", "Meeting notes", "Agenda, notes, decisions and who does what.", {"blocks": _MEETING}),
    ("plan", "document", "Project plan", "What and why, steps, risks and open questions.", {"blocks": _PLAN}),
    ("decision", "document", "Decision", "A question, the options, and why one was chosen.", {"blocks": _DECISION}),
    (
        "retrospective",
        "document",
        "Retrospective",
        "What went well, what did not, and what to try.",
        {"blocks": _RETRO},
    ),
]
