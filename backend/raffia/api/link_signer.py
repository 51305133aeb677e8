"""The tokens of share links.

Rules (tests quote these ids):
    LI2  A link is a token for one document, with the claims `lnk` and `jti` but no user. It is in the URL's fragment,
         which browsers do not send to any server.
    LI4  A link is valid for `LINK_S`, or for `auth_max_lifetime_s` if that is set. In the latter case every response
         contains a newly issued token, because the limit counts from `iat` as well.
    LI6  Making a link needs a signing key; without one the error says what to set.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from raffia.auth.claims import ClaimRules
from raffia.auth.keys import KeySet, read_key_file
from raffia.auth.tokens import claim_rules, make_token
from raffia.errors import NotConfiguredError
from raffia.journal import Links
from raffia.settings import Settings
from raffia.types import DocumentId

LINK_S = 10 * 365 * 86400
LinkAccess = Literal["read", "edit"]


class LinkSigner:
    """Makes the tokens of share links.

    Args:
        settings: the key file, and the rules that tokens are checked against.

    Raises:
        SettingsError: the key file cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules: ClaimRules = claim_rules(settings)
        self._keys: KeySet | None = None
        if settings.auth_key_file is not None:
            keys = read_key_file(settings.auth_key_file)
            self._keys = keys if keys.signer() is not None else None

    def token(self, document: DocumentId, can: LinkAccess, links: Links, created_ms: int, now_s: float) -> str:
        """The token of a link (LI2).

        Args:
            document: the document it opens.
            can: what it allows.
            links: the document's links, for their generation.
            created_ms: when the link was made, in Unix milliseconds.
            now_s: Unix time in seconds.

        Raises:
            NotConfiguredError: there is no signing key (LI6).
        """
        if self._keys is None:
            raise NotConfiguredError(
                "share links need a signing key: set --auth-key-file (RAFFIA_AUTH_KEY_FILE) to a secret or a "
                "private key (see `raffia new-key`)"
            )
        rules = self._rules
        made = f"{document}\n{links.generation}\n{can}\n{created_ms}"
        issued_ms, expires_s = created_ms, created_ms // 1000 + LINK_S
        if rules.max_lifetime_s is not None:
            issued_ms = max(created_ms, int(now_s * 1000))
            expires_s = min(expires_s, int(issued_ms / 1000 + rules.max_lifetime_s))
        claims: dict[str, Any] = {
            rules.claim: {document: can},
            "lnk": link_id(can, links),
            "jti": hashlib.sha256(made.encode()).hexdigest()[:32],
            "iat": issued_ms / 1000,
            "exp": expires_s,
        }
        if rules.audiences:
            claims["aud"] = rules.audiences[0]
        if rules.issuer is not None:
            claims["iss"] = rules.issuer
        return make_token(claims, self._keys, rules, now_s, self._settings.max_token_bytes)


def link_id(can: LinkAccess, links: Links) -> str:
    """The id of a link; links made after a reset have new ids."""
    return f"{can}-{links.generation}"
