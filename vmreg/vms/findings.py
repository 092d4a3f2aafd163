"""What an examination of a VM found: one line, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

_LONGEST = 400

Status = Literal["ok", "fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check.

    :param id: stable, such as ``mirror-port``.
    :param status: ``skip`` when it could not be asked, or follows from another finding.
    :param summary: what was found, on one line.
    :param remedy: a command or an edit; empty where there is nothing to do.
    """

    id: str
    status: Status
    summary: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings on one VM, in the order in which the checks are made."""

    vm: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong, and a pull was seen to come through the cache."""
        return self.findings[-1].status == "ok" and all(
            one.status != "fail" for one in self.findings
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        findings = [asdict(one) for one in self.findings]
        return {"vm": self.vm, "healthy": self.healthy, "findings": findings}


def ok(check: str, summary: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(id=check, status="ok", summary=one_line(summary))


def fail(check: str, summary: str, remedy: str) -> Finding:
    """Return the finding that something is wrong."""
    return Finding(id=check, status="fail", summary=one_line(summary), remedy=one_line(remedy))


def skip(check: str, reason: str) -> Finding:
    """Return the finding that a check could not be made, or would say nothing new."""
    return Finding(id=check, status="skip", summary=one_line(reason))


def one_line(text: str) -> str:
    """Return a text on one line; of a long one the middle is left out: causes come last.

    What cannot be printed becomes a question mark: a VM must not write to a terminal as it likes.

    >>> one_line(" a  b "), one_line(chr(27) + "[2J" + chr(0xD800))
    ('a b', '?[2J?')
    """
    spaced = " ".join(text.split())
    joined = "".join(one if one.isprintable() else "?" for one in spaced)
    if len(joined) <= _LONGEST:
        return joined
    return f"{joined[: _LONGEST // 2]} … {joined[-_LONGEST // 2 :]}"
