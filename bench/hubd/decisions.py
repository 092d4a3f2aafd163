"""The hub's rules: who may read what, what counts, where blobs are, and how faults show."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from bench.hubd import answers
from bench.hubd.answers import API_VERSION, JSON, Answer, Request
from bench.hubd.content import LAYOUT, blob_path
from bench.hubd.options import AUTH_HOST, CDN_HOST, FOREIGN_HOST, Fault, Options
from bench.hubd.profiles import PRIVATE_REPOSITORY
from bench.hubd.signing import Signer, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.hubd.store import Place, Store

SERVICE = "registry.docker.io"
WINDOW_S = 21_600
RETRY_AFTER_S = 60
ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags)/(?P<reference>[^/]+)")
BLOBS = f"/registry-v2/{LAYOUT}/"
BLOB = re.compile(rf"{re.escape(BLOBS)}blobs/sha256/[0-9a-f]{{2}}/(?P<hex>[0-9a-f]{{64}})/data")
TOO_MANY = "You have reached your pull rate limit."


class Quota:
    """Counts manifest requests per account or address."""

    def __init__(self, limit: int) -> None:
        """Allow ``limit`` requests to each, never refilled."""
        self.limit = limit
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}

    def remaining(self, who: str) -> int:
        """Return what is left."""
        with self._lock:
            return self.limit - self._used.get(who, 0)

    def spend(self, who: str) -> bool:
        """Take one, and return whether there was one to take."""
        with self._lock:
            used = self._used.get(who, 0)
            self._used[who] = min(self.limit, used + 1)
            return used < self.limit


class Decider:
    """Turns requests into answers.

    :param fault: returns the fault that is on at the moment.
    """

    def __init__(self, options: Options, store: Store, fault: Callable[[], Fault]) -> None:
        """Answer from ``store``; tokens and addresses are good for this object's life."""
        self._options = options
        self._store = store
        self._fault = fault
        self._signer = Signer()
        self._quota = Quota(options.quota)
        self._redirects = 0

    def decide(self, request: Request) -> Answer:
        """Return the answer to a request."""
        fault = self._fault()
        if fault is Fault.SERVER_ERROR:
            return answers.plain_error(503, "service unavailable")
        if request.role == "auth":
            return self._token(request)
        if request.role == "registry":
            return self._registry(request, fault)
        if request.path == "/token":
            return Answer(headers=JSON, body=json.dumps({"token": "worthless"}).encode())
        return self._cdn(request, fault)

    def _token(self, request: Request) -> Answer:
        if request.method not in {"GET", "HEAD"}:
            return answers.plain_error(405, "only GET is served here")
        account = self._account(request.authorization)
        if account is None:
            refusal = json.dumps({"details": "incorrect username or password"})
            return Answer(status=401, headers=JSON, body=refusal.encode())
        now, lifetime_s = int(time.time()), self._options.token_lifetime_s
        token = self._signer.token(
            Token(
                account=account,
                repositories=tuple(self._granted(request.query, account)),
                expires_s=now + lifetime_s,
            )
        )
        told = {
            "token": token,
            "access_token": token,
            "expires_in": lifetime_s,
            "issued_at": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return Answer(headers=JSON, body=json.dumps(told).encode())

    def _account(self, authorization: str) -> str | None:
        """Return the user name, empty for nobody in particular, ``None`` for a wrong password."""
        if not authorization:
            return ""
        pair = f"{self._options.username}:{self._options.password}".encode()
        known = f"Basic {base64.b64encode(pair).decode()}"
        return self._options.username if authorization == known else None

    def _granted(self, query: str, account: str) -> list[str]:
        scopes = [
            scope.split(":")
            for value in parse_qs(query).get("scope", ())
            for scope in value.split()
        ]
        return [
            scope[1]
            for scope in scopes
            if len(scope) == len(("repository", "name", "actions"))
            and scope[0] == "repository"
            and "pull" in scope[2].split(",")
            and self._store.has_repository(scope[1])
            and (account or scope[1] != PRIVATE_REPOSITORY)
        ]

    def _registry(self, request: Request, fault: Fault) -> Answer:
        if request.method not in {"GET", "HEAD"}:
            return answers.registry_error(405, "UNSUPPORTED", "the hub is read-only here")
        scheme, _, text = request.authorization.partition(" ")
        token = self._signer.read_token(text) if scheme.lower() == "bearer" else None
        error = "invalid_token" if text and not token else ""
        route = ROUTE.fullmatch(request.path)
        if route is not None:
            return self._named(request, route, token, fault, error)
        if request.path.rstrip("/") != "/v2":
            return answers.registry_error(404, "NOT_FOUND", "there is nothing here")
        if token is None:
            return _challenge(fault, error=error)
        return Answer(headers={**JSON, **API_VERSION}, body=b"{}")

    def _named(
        self,
        request: Request,
        route: re.Match[str],
        token: Token | None,
        fault: Fault,
        error: str,
    ) -> Answer:
        name, kind, reference = route.group("name", "kind", "reference")
        if token is None or name not in token.repositories:
            scope = f"repository:{name}:pull"
            denied = "insufficient_scope" if token else ""
            return _challenge(fault, scope=scope, error=error or denied)
        if kind == "blobs":
            return self._redirect(name, reference, fault)
        if kind == "tags":
            return answers.hand_over(f"/_registry{request.path}", {})
        return self._manifest(request, token, self._store.manifest(name, reference), fault)

    def _redirect(self, name: str, digest: str, fault: Fault) -> Answer:
        if not self._store.has_blob(name, digest):
            return answers.registry_error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        path = f"/registry-v2/{LAYOUT / blob_path(digest)}"
        base = f"https://{CDN_HOST}"
        if fault is Fault.BAD_REDIRECT:
            self._redirects += 1
            base = f"http://{CDN_HOST}" if self._redirects % 2 else f"https://{FOREIGN_HOST}"
        query = self._signer.query(path, lifetime_s=self._options.url_lifetime_s)
        return Answer(status=307, headers={**API_VERSION, "Location": f"{base}{path}?{query}"})

    def _manifest(
        self, request: Request, token: Token, place: Place | None, fault: Fault
    ) -> Answer:
        if fault is Fault.STALL:
            return Answer(hang=True)
        if place is None:
            return answers.registry_error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        who = token.account or request.client
        counts = request.method == "GET" and fault is not Fault.RATE_LIMIT
        allowed = fault is not Fault.RATE_LIMIT and (not counts or self._quota.spend(who))
        headers = self._limits(who, exhausted=not allowed)
        if not allowed:
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            return answers.registry_error(429, "TOOMANYREQUESTS", TOO_MANY, {**headers, **retry})
        if fault is Fault.WRONG_DIGEST:
            return self._altered(place, headers)
        return answers.hand_over(
            f"/_registry/v2/{place.repository}/manifests/{place.reference}",
            {**headers, "X-Counted": "1" if counts else ""},
        )

    def _limits(self, who: str, *, exhausted: bool) -> dict[str, str]:
        left = 0 if exhausted else self._quota.remaining(who)
        return {
            "ratelimit-limit": f"{self._quota.limit};w={WINDOW_S}",
            "ratelimit-remaining": f"{left};w={WINDOW_S}",
            "docker-ratelimit-source": who,
        }

    def _altered(self, place: Place, headers: dict[str, str]) -> Answer:
        """Return a manifest of the right length and digest header with one digit changed."""
        digest, media_type, body = self._store.manifest_body(place)
        at = body.rindex(b"sha256:") + len(b"sha256:")
        digit = b"0" if body[at : at + 1] != b"0" else b"1"
        told = {"Content-Type": media_type, "Docker-Content-Digest": digest}
        return Answer(
            headers={**API_VERSION, **headers, **told}, body=body[:at] + digit + body[at + 1 :]
        )

    def _cdn(self, request: Request, fault: Fault) -> Answer:
        if request.method not in {"GET", "HEAD"}:
            return answers.plain_error(405, "only GET and HEAD are served here")
        blob = BLOB.fullmatch(request.path)
        if blob is None or not self._signer.allows(request.path, request.query):
            return answers.plain_error(403, "the address is not signed, or no longer valid")
        if fault is Fault.STALL and request.method == "HEAD":
            return Answer(hang=True)
        kind = {"Content-Type": "application/octet-stream"}
        if fault in {Fault.STALL, Fault.TRUNCATE, Fault.WRONG_DIGEST} and request.method == "GET":
            file = self._store.blob(f"sha256:{blob.group('hex')}")
            return Answer(headers=kind, spoiled=file, fault=fault)
        return answers.hand_over(f"/_{request.path.removeprefix(BLOBS)}", kind)


def _challenge(fault: Fault, *, scope: str = "", error: str = "") -> Answer:
    """Return the 401 that sends a client to the token endpoint, or to a thief."""
    host = FOREIGN_HOST if fault is Fault.HOSTILE_REALM else AUTH_HOST
    parts = {"realm": f"https://{host}/token", "service": SERVICE, "scope": scope, "error": error}
    fields = ",".join(f'{key}="{value}"' for key, value in parts.items() if value)
    answer = answers.registry_error(401, "UNAUTHORIZED", "authentication required")
    return replace(answer, headers={**answer.headers, "WWW-Authenticate": f"Bearer {fields}"})
