"""What REST takes and gives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from raffia.types import MAX_DOCUMENT_ID, MAX_TITLE, MAX_USER

Kind = Literal["text", "document", "board"]
Can = Literal["read", "comment", "edit", "admin"]


def _plain(text: str) -> str:
    text = text.strip()
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("a title has no line breaks and control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a title is UTF-8") from None
    return text


Title = Annotated[str, Field(max_length=MAX_TITLE), AfterValidator(_plain)]


class Taken(BaseModel):
    """What comes from outside: no unknown fields, no guessed types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Document(BaseModel):
    """A document as the listing shows it."""

    id: str
    title: str = Field(description="Its title; its id when it has none.")
    kind: str | None = Field(description="`text`, `document` or `board`; null for what another editor made.")
    created_ms: int = Field(description="Unix time in milliseconds.")
    updated_ms: int = Field(description="Of the last edit.")
    updated_by: str | None = Field(description="Who made it; null for nobody known.")
    size_bytes: int
    deleted_ms: int | None = Field(description="When it was deleted; null while it lives.")
    can: Can = Field(description="What you may do with it.")


class DocumentPage(BaseModel):
    """One page of a listing."""

    documents: list[Document]
    total: int = Field(description="How many match, among those that were looked at.")
    following: str | None = Field(description="Pass it as `after` for the next page; null: this is the last.")


class NewDocument(Taken):
    """A document to be made."""

    kind: Kind = "document"
    title: Title = ""
    template: str | None = Field(None, max_length=64, description="Id of a template of this kind.")
    folder: str | None = Field(
        None, max_length=200, description="What its id begins with, such as `team`; unless said, where you may write."
    )


class Rename(Taken):
    """A new title."""

    title: Title


class Template(BaseModel):
    """What a new document can begin with."""

    id: str
    kind: Kind
    title: str
    description: str


class NewLink(Taken):
    """A link to be made."""

    can: Literal["read", "edit"]


class Link(BaseModel):
    """A share link."""

    id: str
    can: Literal["read", "edit"]
    url: str = Field(description="Of the page, with the token in its fragment; in open mode without one.")
    created_ms: int


class NewRevocation(Taken):
    """What to revoke; exactly one."""

    user: str | None = Field(None, min_length=1, max_length=MAX_USER, description="Everything issued to this user.")
    token: str | None = Field(None, min_length=1, max_length=MAX_USER, description="The token of this `jti`.")
    links: str | None = Field(None, min_length=1, max_length=MAX_DOCUMENT_ID, description="All links to this document.")


class Revocation(BaseModel):
    """What was revoked."""

    kind: Literal["user", "token", "links"]
    subject: str
    ended: int = Field(description="Live sessions that ended on the replica that was asked.")


class Limits(BaseModel):
    """What the server takes."""

    max_file_bytes: int


class Config(BaseModel):
    """What a page has to know of its server."""

    auth: Literal["open", "token"]
    limits: Limits
    version: str
    uploads: bool = Field(description="Whether files can be uploaded.")
    schema_: int = Field(alias="schema", description="Schema of the documents that this server makes.")


class Uploaded(BaseModel):
    """A file that was taken."""

    url: str
    mime_type: str
    size_bytes: int
    width: int
    height: int
