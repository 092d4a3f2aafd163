"""What is done to the container's network: the bandwidth cap and the firewall's faults."""

from __future__ import annotations

from pathlib import Path

from bench.hubd.options import Fault
from vmreg.process import run

INTERFACES = Path("/sys/class/net")
# The cap is on bodies; a full frame of 1514 bytes carries 1448 of them.
FRAME_OVERHEAD = 1514 / 1448
# A full segmentation offload unit has to pass at once.
BURST_BYTES = 65_536
BURST_S = 0.005
# Long enough to drop nothing: a handshake that is lost costs its client a second.
QUEUE_BYTES = 16 << 20
VERDICTS = {Fault.BLACKHOLE: ("drop",), Fault.REFUSE: ("reject", "with", "tcp", "reset")}


def cap(bytes_s: int) -> None:
    """Limit what all connections together send, in body bytes per second; 0 lifts the limit."""
    for interface in sorted(path.name for path in INTERFACES.iterdir() if path.name != "lo"):
        if bytes_s:
            run(["tc", "qdisc", "replace", "dev", interface, "root", *_bucket(bytes_s)])
        else:
            run(["tc", "qdisc", "del", "dev", interface, "root"], check=False)


def _bucket(bytes_s: int) -> list[str]:
    rate = round(bytes_s * FRAME_OVERHEAD)
    burst = max(BURST_BYTES, round(rate * BURST_S))
    return ["tbf", "rate", f"{rate * 8}bit", "burst", str(burst), "limit", str(QUEUE_BYTES)]


def firewall(fault: Fault) -> None:
    """Drop or reset what comes in for a fault that asks for it, else let everything pass."""
    run(["nft", "add", "table", "inet", "hub"])
    run(["nft", "delete", "table", "inet", "hub"])
    if fault not in VERDICTS:
        return
    run(["nft", "add", "table", "inet", "hub"])
    hook = "{ type filter hook input priority 0 ; }"
    run(["nft", f"add chain inet hub incoming {hook}"])
    rule = " ".join(("tcp dport { 80, 443 }", *VERDICTS[fault]))
    run(["nft", f"add rule inet hub incoming {rule}"])
