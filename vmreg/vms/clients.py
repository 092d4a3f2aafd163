"""The TOML files of what pulls images besides dockerd: what each must say to use the mirror.

Everything here is pure: text in, text out. What is added as whole tables stands between two
comments, so that taking it out again gives back every byte of what was there.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vmreg.errors import VmregError
from vmreg.vms.addresses import host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

HUB = "docker.io"
BEGIN = "# vmreg: begin, the cache on this machine's host"
END = "# vmreg: end"
MADE = "# Written by vmreg, and removed by it: pulls of docker.io go through the cache.\n"

_BLOCK = re.compile(
    rf"^{re.escape(BEGIN)}\n.*?^{re.escape(END)}\n"
    # Where the last line was open, the block closed it and is open itself.
    rf"|\n{re.escape(BEGIN)}\n(?:(?!{re.escape(END)}).)*{re.escape(END)}\Z",
    re.MULTILINE | re.DOTALL,
)
# The first table of a host, with the comments right above it.
_HOST = re.compile(
    r"""(?:^[ \t]*#.*\n)*^[ \t]*\[[ \t]*(?:host|"host"|'host')[ \t]*[.\]]""", re.MULTILINE
)


def parse(text: str, path: str) -> dict[str, Any]:
    """Return what a TOML file says.

    :param path: names the file in the error.
    :raises VmregError: it is not TOML; the details say where.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise VmregError(
            brief=f"{path} in the VM is not valid TOML",
            details=str(error),
            resolution="Correct or remove it; nothing was changed.",
        ) from error


def hosts(text: str, path: str) -> tuple[str, ...]:
    """Return the hosts that a ``hosts.toml`` asks before the registry itself, in their order.

    :raises VmregError: it is not valid.

    >>> hosts('[host."http://a:1"]', "hosts.toml")
    ('http://a:1',)
    """
    return tuple(_table(parse(text, path), "host", path))


def with_host(text: str, path: str, *, mirror: str, ours: Collection[str]) -> str:
    """Return a ``hosts.toml`` that asks the mirror first and is otherwise as it was.

    :param ours: names of hosts; other addresses on them are this mirror's former ones.
    :raises VmregError: it is not valid, or of a form that cannot be added to.
    """
    if hosts(text, path)[:1] == (mirror,) and _is_asked(text, path, mirror):
        return text
    bare = without_hosts(text, path, ours={*ours, host_of(mirror)})
    block = f'{BEGIN}\n[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n{END}\n'
    first = _HOST.search(bare)
    added = bare[: first.start()] + block + bare[first.start() :] if first else _end(bare, block)
    if _unreadable(added) or hosts(added, path) != (mirror, *hosts(bare, path)):
        raise _rigid(path, f'[host."{mirror}"]')
    return added


def without_hosts(text: str, path: str, *, ours: Collection[str]) -> str:
    """Return a ``hosts.toml`` that asks none of our hosts and is otherwise as it was.

    :raises VmregError: it is not valid.
    """
    parse(text, path)
    bare = _BLOCK.sub("", text)
    former = [one for one in hosts(bare, path) if host_of(one) in ours]
    if not former:
        return bare

    def edit(document: Any) -> None:  # noqa: ANN401 - tomlkit has no type for a part of a document
        for one in former:
            del document["host"][one]

    return _edited(bare, path, edit)


def made_hosts(general: str) -> str:
    """Return a ``hosts.toml`` for the hub that says what the one for all registries says."""
    return f"{MADE}\n{general}"


def is_made(text: str | None) -> bool:
    """Return whether a file is all ours."""
    return text is not None and text.startswith(MADE)


def with_buildkit_mirror(
    text: str, path: str, *, address: str, plain: bool, ours: Collection[str]
) -> str:
    """Return a ``buildkitd.toml`` that pulls through the mirror first and is otherwise as it was.

    :param address: ``host:port``.
    :param plain: whether the mirror speaks http.
    :param ours: names of hosts; other addresses on them are this mirror's former ones.
    :raises VmregError: it is not valid, or of a form that cannot be added to.
    """
    if _is_first(parse(text, path), path, address=address, plain=plain, ours=ours):
        return text
    bare = without_buildkit_mirror(text, path, ours=ours)
    registries = _table(parse(bare, path), "registry", path)
    tables = ""
    if HUB in registries:
        changed = _with_listed(bare, path, address)
    else:
        changed, tables = bare, f'[registry."{HUB}"]\n  mirrors = ["{address}"]\n'
    if (
        address in registries
        and plain
        and _table(registries, address, path).get("http") is not True
    ):
        raise _rigid(path, f'[registry."{address}"] http = true')
    if address not in registries:
        # Also where it is the default: what stands in our block is known as ours later.
        tables += f'[registry."{address}"]\n  http = {str(plain).lower()}\n'
    added = _end(changed, f"{BEGIN}\n{tables}{END}\n") if tables else changed
    if _unreadable(added) or not _is_first(
        parse(added, path), path, address=address, plain=plain, ours=ours
    ):
        raise _rigid(path, f'[registry."{HUB}"] mirrors = ["{address}"]')
    return added


def without_buildkit_mirror(text: str, path: str, *, ours: Collection[str]) -> str:
    """Return a ``buildkitd.toml`` without any mirror on our hosts and otherwise as it was.

    :raises VmregError: it is not valid.
    """
    before = parse(text, path)
    bare = _BLOCK.sub("", text)
    added = set(_table(before, "registry", path)) - set(_table(parse(bare, path), "registry", path))
    listed = _listed(parse(bare, path), path)
    former = [one for one in listed if one in added or one.rpartition(":")[0] in ours]
    if not former:
        return bare

    def edit(document: Any) -> None:  # noqa: ANN401 - tomlkit has no type for a part of a document
        hub = document["registry"][HUB]
        for one in former:
            hub["mirrors"].remove(one)
        if not hub["mirrors"]:
            del hub["mirrors"]

    return _edited(bare, path, edit)


def podman(others: Mapping[str, str], *, mirror: str) -> str:
    """Return the drop-in that lets podman pull from the mirror first.

    A drop-in replaces what earlier files say of the same registry, so that it repeats that.

    :param others: path to text of the ``registries.conf`` files, in the order of their reading.
    :raises VmregError: one of them is not valid.
    """
    import tomlkit  # noqa: PLC0415 - only a VM with podman needs it

    settings: dict[str, Any] = {"prefix": HUB, "location": HUB}
    for path, text in others.items():
        for one in _tables(parse(text, path), "registry", path):
            if one.get("prefix", one.get("location")) == HUB:
                _tables(one, "mirror", path)
                settings = {"prefix": HUB, **one}
    address = urlsplit(mirror)
    first = {"location": address.netloc, "insecure": address.scheme == "http"}
    behind = [one for one in settings.pop("mirror", ()) if one.get("location") != address.netloc]
    settings["mirror"] = [first, *behind]
    return MADE + tomlkit.dumps({"registry": [settings]})


def _is_first(
    settings: Mapping[str, Any], path: str, *, address: str, plain: bool, ours: Collection[str]
) -> bool:
    """Return whether a ``buildkitd.toml`` has this mirror first and no former one of ours."""
    first, *rest = _listed(settings, path) or [""]
    former = [one for one in rest if one.rpartition(":")[0] in ours]
    spoken = _table(_table(settings, "registry", path), address, path)
    return first == address and not former and (not plain or spoken.get("http") is True)


def _with_listed(text: str, path: str, address: str) -> str:
    _listed(parse(text, path), path)

    def edit(document: Any) -> None:  # noqa: ANN401 - tomlkit has no type for a part of a document
        hub = document["registry"][HUB]
        if "mirrors" in hub:
            hub["mirrors"].insert(0, address)
        else:
            hub["mirrors"] = [address]

    return _edited(text, path, edit)


def _edited(text: str, path: str, edit: Callable[[Any], None]) -> str:
    """Return a TOML file after an edit that keeps its form."""
    import tomlkit  # noqa: PLC0415 - hardly ever needed

    try:
        document = tomlkit.parse(text)
        edit(document)
        return tomlkit.dumps(document)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _rigid(path, f"a simpler form ({error})") from error


def _is_asked(text: str, path: str, mirror: str) -> bool:
    """Return whether containerd asks a host of a ``hosts.toml`` for all that a pull needs."""
    listed = _table(_table(parse(text, path), "host", path), mirror, path).get("capabilities")
    # Without the key a host may do everything.
    return listed is None or (isinstance(listed, list) and "pull" in listed and "resolve" in listed)


def _listed(settings: Mapping[str, Any], path: str) -> list[str]:
    """Return the mirrors of the hub in a ``buildkitd.toml``."""
    hub = _table(_table(settings, "registry", path), HUB, path)
    mirrors = hub.get("mirrors", [])
    if not isinstance(mirrors, list) or not all(isinstance(one, str) for one in mirrors):
        raise _rigid(path, f'a list as mirrors of [registry."{HUB}"]')
    return mirrors


def _tables(settings: Mapping[str, Any], key: str, path: str) -> list[Mapping[str, Any]]:
    found = settings.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _rigid(path, f"[[{key}]] as tables")
    return found


def _table(settings: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    found = settings.get(key, {})
    if not isinstance(found, dict):
        raise _rigid(path, f"[{key}] as a table")
    return found


def _end(text: str, block: str) -> str:
    """Return a text with a block at its end; an open last line stays an open one."""
    return text + block if not text or text.endswith("\n") else f"{text}\n{block[:-1]}"


def _unreadable(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def _rigid(path: str, wanted: str) -> VmregError:
    return VmregError(
        brief=f"{path} in the VM has a form that nothing can be added to",
        details=f"it needs: {wanted}",
        resolution="Write it in there, or remove the file; nothing was changed.",
    )
