"""Bearer tokens and signed blob addresses, both checked with a key of this process alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a bearer token says.

    :param account: the user, or empty for an anonymous one.
    :param repositories: those it may pull.
    :param expires_s: seconds since the epoch.
    """

    account: str
    repositories: tuple[str, ...]
    expires_s: int


class Signer:
    """Makes and checks tokens and addresses."""

    def __init__(self) -> None:
        """Draw a fresh key, so that nothing outlives the hub."""
        self._key = secrets.token_bytes(32)

    def token(self, token: Token) -> str:
        """Return a token in the form of a JWT."""
        head = _encode(json.dumps({"typ": "JWT", "alg": "HS256"}).encode())
        claims = {"sub": token.account, "pull": token.repositories, "exp": token.expires_s}
        text = f"{head}.{_encode(json.dumps(claims).encode())}"
        return f"{text}.{self._sign(text)}"

    def read_token(self, text: str) -> Token | None:
        """Return what a token says, or ``None`` when it is forged, mangled or expired."""
        signed, _, signature = text.rpartition(".")
        if not hmac.compare_digest(self._sign(signed).encode(), signature.encode()):
            return None
        claims = json.loads(_decode(signed.partition(".")[2]))
        if claims["exp"] < time.time():
            return None
        return Token(
            account=claims["sub"],
            repositories=tuple(claims["pull"]),
            expires_s=claims["exp"],
        )

    def query(self, path: str, *, lifetime_s: int) -> str:
        """Return the query that makes ``path`` valid for ``lifetime_s`` seconds."""
        expires = int(time.time()) + lifetime_s
        return f"verify={expires}-{self._sign(f'{expires}{path}')}"

    def allows(self, path: str, query: str) -> bool:
        """Return whether a query was made for this path and has not expired."""
        expires, dash, signature = query.removeprefix("verify=").partition("-")
        if not (dash and expires.isdecimal() and int(expires) >= time.time()):
            return False
        wanted = self._sign(f"{expires}{path}")
        return hmac.compare_digest(wanted.encode(), signature.encode())

    def _sign(self, text: str) -> str:
        return _encode(hmac.digest(self._key, text.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
