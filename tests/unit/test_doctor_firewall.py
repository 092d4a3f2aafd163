"""Which rules of a packet filter are taken for the cause, and which are only pointed at."""

from __future__ import annotations

import pytest

from vmreg.vms.firewall import Verdict, judge

HOST = "172.17.0.1"


def verdict(*rules: str) -> Verdict:
    return judge("\n".join(("-P OUTPUT ACCEPT", *rules)), addresses=[HOST], port=5000)


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -j DROP",
        "-A OUTPUT -p tcp -j REJECT --reject-with tcp-reset",
        "-A OUTPUT -p tcp -m tcp --dport 5000 -j DROP",
        "-A OUTPUT -p tcp -m tcp --dport 4000:6000 -j DROP",
        "-A OUTPUT -p tcp -m multiport --dports 80,4999:5001 -j DROP",
        f"-A OUTPUT -d {HOST}/32 -j REJECT --reject-with icmp-port-unreachable",
        "-A OUTPUT -d 172.16.0.0/12 -o eth0 -p tcp -j DROP",
        '-A OUTPUT -m comment --comment "no way out" -j DROP',
    ],
)
def test_a_rule_that_stops_the_way_is_named(rule: str) -> None:
    assert verdict(rule) == Verdict(rule=rule)
    assert verdict("-A OUTPUT -p udp -j ACCEPT", "-A OUTPUT -j LOG", rule).rule == rule
    assert verdict(f"-A OUTPUT -d {HOST}/32 -j ACCEPT", rule) == Verdict()


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -p udp -j DROP",
        "-A OUTPUT -p tcp -m tcp --dport 5001:6000 -j DROP",
        "-A OUTPUT -p tcp -m multiport --dports 80,443 -j DROP",
        "-A OUTPUT -d 10.0.0.0/8 -j REJECT",
        "-A OUTPUT -o lo -j DROP",
        "-A OUTPUT -d 10.0.0.0/8 -m state --state NEW -j DROP",
    ],
)
def test_a_rule_for_something_else_is_none(rule: str) -> None:
    assert verdict(rule) == Verdict()


@pytest.mark.parametrize(
    "rule",
    [
        "-P OUTPUT DROP",
        "-A OUTPUT -j ours",
        f"-A OUTPUT ! -d {HOST}/32 -j DROP",
        "-A OUTPUT -m owner --uid-owner 0 -j REJECT",
        "-A OUTPUT -o eth1 -j DROP",
        "-A OUTPUT -p tcp -m tcp --dport what -j DROP",
        '-A OUTPUT -m comment --comment "one -m owner -j DROP',
    ],
)
def test_a_rule_that_is_not_understood_is_pointed_at(rule: str) -> None:
    assert verdict(rule) == Verdict(unsure=True)
