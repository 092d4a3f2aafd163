"""Addresses as people write them into files, also those that are none."""

from __future__ import annotations

from urllib.parse import urlsplit


def host_of(address: str) -> str:
    """Return the host of an address with a scheme, in lower case; empty when there is none.

    >>> host_of("http://Host:5000"), host_of("http://[::1"), host_of("host:5000")
    ('host', '', '')
    """
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
