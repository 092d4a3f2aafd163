from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vmreg.errors import HostError, VmregError
from vmreg.process import TAIL_LINES, Completed, run
from vmreg.waiting import until


def test_both_streams_and_the_status_come_back() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert done == Completed(exit_code=3, output="out\n", errors="err\n")


def test_standard_input_is_what_is_given_or_empty() -> None:
    assert run(["cat"], stdin=b"given").output == "given"
    assert run(["cat"]).output == ""


def test_bytes_that_are_no_text_do_not_fail() -> None:
    assert run(["printf", r"\377"]).output == "\N{REPLACEMENT CHARACTER}"


def test_the_environment_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "seen")
    assert run(["printenv", "OUTER"]).output == "seen\n"
    inner = run(["/usr/bin/env"], environment={"INNER": "1"})
    assert inner.output == "INNER=1\n"


def test_nothing_passes_through_a_shell() -> None:
    assert run(["echo", "$HOME; exit 1", "*"]).output == "$HOME; exit 1 *\n"


def test_a_failure_carries_the_last_lines() -> None:
    with pytest.raises(VmregError) as caught:
        run(["sh", "-c", "seq 1000 >&2; exit 7"])
    assert caught.value.brief == "sh exited with 7"
    assert caught.value.details.splitlines() == [str(n) for n in range(1001 - TAIL_LINES, 1001)]


def test_a_failure_that_wrote_to_standard_output_carries_that() -> None:
    with pytest.raises(VmregError) as caught:
        run(["sh", "-c", "echo said here; exit 1"])
    assert caught.value.details == "said here"


def test_a_missing_program_is_a_fault_of_the_host() -> None:
    with pytest.raises(HostError, match="no-such-program is not installed"):
        run(["no-such-program"])


def test_a_program_that_may_not_be_run_is_a_fault_of_the_host(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(HostError, match="may not be run"):
        run([str(program)])


def test_the_deadline_ends_children_too_and_tells_what_was_said(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = f"echo before; sleep 1000 & echo $! >{note}; wait"
    with pytest.raises(VmregError, match=r"sh did not end within 0\.3 s") as caught:
        run(["sh", "-c", script], timeout_s=0.3)
    assert caught.value.details == "before"
    _wait_for_end(int(note.read_text()))


def test_an_interrupt_ends_the_program(tmp_path: Path) -> None:
    note = tmp_path / "child"

    def interrupt() -> None:
        until(lambda: (note.exists() and note.read_text()) or None, what="a child", timeout_s=10)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", f"echo $$ >{note}; exec sleep 1000"])
    _wait_for_end(int(note.read_text()))


def test_one_that_ignores_the_kind_signal_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vmreg.process.GRACE_S", 0.3)
    note = tmp_path / "stubborn"
    script = f"trap '' TERM; echo $$ >{note}; while :; do sleep 0.1; done"
    with pytest.raises(VmregError, match="did not end"):
        run(["sh", "-c", script], timeout_s=0.3)
    _wait_for_end(int(note.read_text()))


def _wait_for_end(pid: int) -> None:
    def ended() -> bool | None:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return True if state == "Z" else None

    until(ended, what=f"the end of process {pid}", timeout_s=10)


@pytest.mark.parametrize(("ending", "code"), [("exit 0", 143), ("exit 7", 7)])
def test_a_signal_is_passed_on_and_never_taken_for_success(ending: str, code: int) -> None:
    inner = f"trap '{ending}' TERM; echo ready; while :; do sleep 0.05; done"
    call = f"attached(['sh', '-c', {inner!r}])"
    script = f"import sys; from vmreg.process import attached; sys.exit({call})"
    program = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    program.terminate()
    assert program.wait(timeout=20) == code
    program.stdout.close()
