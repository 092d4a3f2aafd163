"""Which hosts a dockerd reaches without its proxy: the rules of Go's HTTP client."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080}


def goes_around(no_proxy: str, host: str, port: int) -> bool:
    """Return whether a name is reached directly; names are never looked up for this.

    :param no_proxy: names, or ``*``, parted by commas. A name covers the names below it too, one
        with a leading dot only these, and one with a port only that port.

    >>> goes_around("localhost,.internal", "host.docker.internal", 5000)
    True
    >>> goes_around("host.docker.internal:80", "host.docker.internal", 5000)
    False
    """
    return any(_covers(entry.strip().lower(), host, port) for entry in no_proxy.split(","))


def address_of(proxy: str) -> tuple[str, int] | None:
    """Return the host and port of a proxy's address, or ``None`` when it is none.

    >>> address_of("http://10.0.0.1:3128"), address_of("proxy"), address_of("http://[::1")
    (('10.0.0.1', 3128), ('proxy', 80), None)
    """
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (host, port) if host and port else None


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal():
        if number.lstrip("0") != str(port):
            return False
        entry = name
    entry = entry.removeprefix("*")
    if not entry:
        return False
    return host.endswith(entry) if entry.startswith(".") else f".{host}".endswith(f".{entry}")
