"""Which rule of a VM's own packet filter keeps it from an address, by ``iptables -S``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_STOPPING = {"DROP", "REJECT"}
_PASSING_ON = {"", "LOG", "NFLOG", "MARK", "CONNMARK"}  # the rules after it count as before
_JUMPS = {"-j", "-g"}
_TCP = {"tcp", "all", "6", "0"}
_SILENT_MATCHES = {"tcp", "multiport", "comment"}
_INTERFACES = {"eth0": True, "lo": False}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is known of the rules.

    :param rule: the one that stops the packets, as it is listed; mostly empty.
    :param unsure: whether there are rules that were not understood, or not followed.
    """

    rule: str = ""
    unsure: bool = False


def judge(listed: str, *, addresses: Collection[str], port: int) -> Verdict:
    """Return the first rule of the ``OUTPUT`` chain that stops packets to a TCP port.

    Chains that it leads to are not followed.

    :param listed: what ``iptables -S OUTPUT`` says.
    :param addresses: where the packets go to; one of them.

    >>> judge("-A OUTPUT -p tcp -m tcp --dport 1:9 -j DROP", addresses=["10.0.0.1"], port=5).rule
    '-A OUTPUT -p tcp -m tcp --dport 1:9 -j DROP'
    """
    unsure = False
    for line in listed.splitlines():
        words = _words(line)
        target = next((words[at + 1] for at, one in enumerate(words[:-1]) if one in _JUMPS), "")
        if words[:1] == ["-P"]:
            unsure = unsure or words[-1] != "ACCEPT"
        if words[:1] != ["-A"] or target in _PASSING_ON:
            continue
        matches = _matches(words[2:], addresses, port)
        if matches and target in _STOPPING:
            return Verdict(rule=line, unsure=unsure)
        if matches and target == "ACCEPT":
            return Verdict(unsure=unsure)
        unsure = unsure or matches is not False
    return Verdict(unsure=unsure)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quotation mark without its fellow
        return line.split()


def _matches(words: list[str], addresses: Collection[str], port: int) -> bool | None:
    """Return whether a rule is for such a packet, ``None`` when that cannot be told."""
    judged = [_holds(*each, addresses, port) for each in _options(words)]
    return False if False in judged else None if None in judged else True


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the conditions of a rule with their values; one that is denied as ``!``."""
    for at, word in enumerate(words):
        if word in _JUMPS:
            return
        if word.startswith("-"):
            denied = at > 0 and words[at - 1] == "!"
            yield "!" if denied else word, next(iter(words[at + 1 : at + 2]), "")


def _holds(option: str, value: str, addresses: Collection[str], port: int) -> bool | None:
    judges: dict[str, Callable[[], bool | None]] = {
        "-p": lambda: value in _TCP,
        "-m": lambda: value in _SILENT_MATCHES or None,
        "--comment": lambda: True,
        "-o": lambda: _INTERFACES.get(value),
        "-d": lambda: _leads_to(value, addresses),
        "--dport": lambda: _covers(value, port),
        "--dports": lambda: any(_covers(part, port) for part in value.split(",")),
    }
    try:
        return judges[option]() if option in judges else None
    except ValueError:
        return None


def _leads_to(network: str, addresses: Collection[str]) -> bool:
    """Return whether one of the addresses is in a network.

    :raises ValueError: it is none.
    """
    return any(ip_address(one) in ip_network(network, strict=False) for one in addresses)


def _covers(ports: str, port: int) -> bool:
    """Return whether a port is in a range such as ``1:9``.

    :raises ValueError: it is none.
    """
    first, _, last = ports.partition(":")
    return int(first) <= port <= int(last or first)
