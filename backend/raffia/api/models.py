"""Request and response bodies of the REST API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from raffia.types import DOCUMENT_ID, MAX_DOCUMENT_ID, MAX_TITLE, MAX_USER

Kind = Literal["text", "document", "board"]
Can = Literal["read", "comment", "edit", "admin"]


def _plain(text: str) -> str:
    text = text.strip()
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("a title must not contain line breaks or control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a title must be valid UTF-8") from None
    return text


Title = Annotated[str, Field(max_length=MAX_TITLE), AfterValidator(_plain)]


class Taken(BaseModel):
    """Base of request bodies: unknown fields and values of the wrong type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Document(BaseModel):
    """A document as the listing shows it."""

    id: str
    title: str = Field(description="Its title, or its id if it has none.")
    kind: str | None = Field(description="`text`, `document` or `board`; null if another editor created it.")
    created_ms: int = Field(description="Unix time in milliseconds.")
    updated_ms: int = Field(description="Unix time of the last edit, in milliseconds.")
    updated_by: str | None = Field(description="The user who made the last edit; null if unknown.")
    size_bytes: int
    deleted_ms: int | None = Field(description="Unix time of its deletion, in milliseconds; null if it is not deleted.")
    can: Can = Field(description="Your level of access.")


class DocumentPage(BaseModel):
    """One page of a listing."""

    documents: list[Document]
    total: int = Field(description="Number of matches among the documents that were examined.")
    following: str | None = Field(description="Pass it as `after` to get the next page; null on the last page.")


class NewDocument(Taken):
    """A document to create."""

    kind: Kind = "document"
    title: Title = ""
    template: str | None = Field(None, max_length=64, description="Id of a template of this kind.")
    folder: str | None = Field(
        None,
        max_length=200,
        description="Prefix of its id, such as `team`; by default where you may write.",
        json_schema_extra={"pattern": f"^({DOCUMENT_ID.pattern}/?)?$"},
    )


class Rename(Taken):
    """A new title."""

    title: Title


class Template(BaseModel):
    """Initial content for new documents."""

    id: str
    kind: Kind
    title: str
    description: str


class NewLink(Taken):
    """A link to create."""

    can: Literal["read", "edit"]


class Link(BaseModel):
    """A share link."""

    id: str
    can: Literal["read", "edit"]
    url: str = Field(description="URL of the page, with the token in its fragment; without a token in open mode.")
    created_ms: int


class NewRevocation(Taken):
    """What to revoke: exactly one of these."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    user: str | None = Field(
        None, min_length=1, max_length=MAX_USER, description="Revoke everything issued to this user until now."
    )
    token: str | None = Field(None, min_length=1, max_length=MAX_USER, description="Revoke the token with this `jti`.")
    links: str | None = Field(
        None, min_length=1, max_length=MAX_DOCUMENT_ID, description="Revoke all links to this document."
    )


class Revocation(BaseModel):
    """What was revoked."""

    kind: Literal["user", "token", "links"]
    subject: str
    ended: int = Field(description="Number of live sessions that ended on the replica that answers.")


class Limits(BaseModel):
    """Limits of the server."""

    max_file_bytes: int


class Config(BaseModel):
    """What a page needs to know about its server."""

    auth: Literal["open", "token"]
    limits: Limits
    version: str
    uploads: bool = Field(description="Whether files can be uploaded.")
    schema_: int = Field(alias="schema", description="Schema version of the documents that this server creates.")


class Uploaded(BaseModel):
    """An uploaded file."""

    url: str
    mime_type: str
    size_bytes: int
    width: int
    height: int
