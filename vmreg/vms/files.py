"""Text files in a running VM, replaced whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from vmreg.vms.provider import Connection

REFUSED = 3
# Linux takes no argument of more than 128 KiB; what is added on the way is short.
LIMIT_BYTES = 120_000

# $1 is a program that judges a new file, or nothing; then a path and "=TEXT", or "-" for no file,
# for each file. All are written before the first is renamed, which is the only atomic way.
_REPLACE = """
set -e
check=$1
shift
tidy() { while [ $# -gt 0 ]; do rm -f "$1.vmreg-new"; shift 2; done; }
trap 'tidy "$@"' EXIT
stage() {
    new=$1.vmreg-new
    mkdir -p "${1%/*}"
    (umask 077 && : > "$new")
    if [ -e "$1" ]; then chown --reference="$1" "$new"; chmod --reference="$1" "$new"
    else chmod 644 "$new"; fi
    printf %s "${2#=}" > "$new"
    [ -z "$check" ] || sh -c "$check" sh "$new" || exit 3
    sync "$new"
}
all() {
    act=$1
    shift
    while [ $# -gt 0 ]; do "$act" "$1" "$2"; shift 2; done
}
write() { [ "$2" = - ] || stage "$1" "$2"; }
place() {
    if [ "$2" != - ]; then
        mv -fT "$1.vmreg-new" "$1"
        return
    fi
    rm -f "$1"
    # An empty folder can say something of its own: containerd's, for instance.
    rmdir "${1%/*}" 2> /dev/null || :
}
all write "$@"
all place "$@"
"""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file in a VM.

    :param path: where it really lies, behind any link.
    :param text: ``None`` when there is no such file.
    """

    path: str
    text: str | None


def check_size(*files: File) -> None:
    """Do nothing for files that :func:`replace` can write.

    :raises VmregError: one of them is too large.
    """
    for one in files:
        size = len((one.text or "").encode())
        if size > LIMIT_BYTES:
            raise VmregError(
                brief=f"{one.path} in the VM is too large: {size} bytes",
                details=f"at most {LIMIT_BYTES} bytes can be written",
                resolution="Make it shorter; nothing was changed.",
            )


def replace(vm: Connection, *files: File, check: str = "") -> str:
    """Put files in the place of what is there; return what ``check`` said against it, or nothing.

    Owner and mode are kept, folders are made, and a file without a text is removed, with its folder
    when nothing else is in it. When anything
    fails before the first rename, nothing has changed. A second call is harmless.

    :param check: a shell program that gets the path of each new file and refuses it by failing.
    :raises VmregError: a file cannot be written.
    """
    pairs = [(one.path, "-" if one.text is None else f"={one.text}") for one in files]
    done = vm.exec(["sh", "-c", _REPLACE, "sh", check, *(part for pair in pairs for part in pair)])
    if done.exit_code == REFUSED:
        return done.errors.strip() or done.output.strip() or "refused"
    if done.exit_code:
        paths = ", ".join(one.path for one in files)
        raise VmregError(
            brief=f"cannot write {paths} in the VM",
            details=done.errors.strip(),
            resolution="Make room there, or make them writable, and run the command again.",
        )
    return ""
