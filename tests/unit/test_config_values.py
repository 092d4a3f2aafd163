"""Each fault of a single value once, by equality with the whole problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config_faults import faults, user_fault

if TYPE_CHECKING:
    from pathlib import Path

SIZE = "write a size with its unit, such as 50GB or 512MiB"
DURATION = "write a number and one of s, m, h, d, w, such as 30d"
PORT = "write a number from 1 to 65535"
URL = "write https:// and a host, such as https://registry-1.docker.io"
NEEDS_NONE = 'write https://, a host and a path, or "" for an upstream that needs no token'
ADDRESSES = "write addresses of this host, such as [127.0.0.1, 172.17.0.1]"
HOSTS = "write host names such as cdn.example.com or *.example.com"
REPOSITORIES = "write names such as library/node or library/*"
IMAGE = "write an image reference such as registry:2, or leave it empty"
INSTANCE = "write lower-case letters, digits and hyphens, 41 at most"
NETWORK = "write the name of a Docker network, or leave it empty"
SERVICE = "write the service that the registry's challenge names, such as registry.docker.io"
ELSEWHERE = "name a file in credentials.password_file, or a credentials.password_command"
ARGV = "write a list: [pass, show, docker-hub]"

VALUES = [
    ("enabled: yes", "enabled", "yes", "is not true or false", "write true or false"),
    ("enabled: 1", "enabled", "1", "is not true or false", "write true or false"),
    ("port: 0", "port", "0", "is not a port", PORT),
    ("port: 65536", "port", "65536", "is not a port", PORT),
    ('port: "5000"', "port", "5000", "is not a port", PORT),
    ("port: true", "port", "true", "is not a port", PORT),
    ("port: {a: 1}", "port", "{'a': 1}", "is not a port", PORT),
    ("max_size: 50", "max_size", "50", "has no unit", SIZE),
    ("max_size: 0GB", "max_size", "0GB", "is no room at all", SIZE),
    ("max_size: [1GB]", "max_size", "[1GB]", "is not a size", SIZE),
    ("max_size: 5 cows", "max_size", "5 cows", "'cows' is not a unit of size", SIZE),
    ("gc_policy: 30", "gc_policy", "30", "has no unit", DURATION),
    ("gc_policy: 0d", "gc_policy", "0d", "is no time at all", DURATION),
    ("gc_policy: true", "gc_policy", "true", "is not a duration", DURATION),
    ("gc_policy: 2001-01-01", "gc_policy", "2001-01-01", "is not a duration", DURATION),
    (
        "bind: [0.0.0.0]",
        "bind",
        "[0.0.0.0]",
        "would let in every network that this host is on",
        "name the addresses that VMs reach, or leave it empty",
    ),
    (
        "bind: [8.8.8.8]",
        "bind",
        "[8.8.8.8]",
        "holds 8.8.8.8, which is not a private address",
        "name loopback or private addresses only",
    ),
    (
        "bind: [localhost]",
        "bind",
        "[localhost]",
        "holds localhost, which is not an IPv4 address",
        ADDRESSES,
    ),
    (
        "bind: 127.0.0.1",
        "bind",
        "127.0.0.1",
        "is not a list of texts",
        "write a list, such as [one, two]",
    ),
    ("instance: My_Cache", "instance", "My_Cache", "cannot begin a container's name", INSTANCE),
    ("instance: 5", "instance", "5", "is not a text", INSTANCE),
    (
        "repositories: [Library/*]",
        "repositories",
        "[Library/*]",
        "holds 'Library/*', which is not a repository pattern",
        REPOSITORIES,
    ),
    (
        "images: {proxy: 'a b'}",
        "images.proxy",
        "a b",
        "is not an image reference",
        IMAGE,
    ),
    (
        "upstream: {network: 'a b'}",
        "upstream.network",
        "a b",
        "is not a network's name",
        NETWORK,
    ),
    (
        "upstream: {token_service: ''}",
        "upstream.token_service",
        '""',
        "is not a token service",
        SERVICE,
    ),
    (
        "upstream: {redirect_hosts: ['a.*.b']}",
        "upstream.redirect_hosts",
        "[a.*.b]",
        "holds 'a.*.b', which is not a host name",
        HOSTS,
    ),
    (
        "upstream: {url: 'docker.io'}",
        "upstream.url",
        "docker.io",
        "is not the URL of a registry",
        URL,
    ),
    (
        "upstream: {url: 'https://a.b/c'}",
        "upstream.url",
        "https://a.b/c",
        "has a path, but a registry is always at the root",
        URL,
    ),
    (
        "upstream: {url: 'https://a.b:70000'}",
        "upstream.url",
        "https://a.b:70000",
        "has a port that does not exist",
        URL,
    ),
    (
        "upstream: {url: 'https://me:secret@a.b'}",
        "upstream.url",
        "https://*****@a.b",
        "has a user name in it",
        "use docker_registry.credentials in your own configuration",
    ),
    (
        "upstream: {token_url: 'https://a.b/t?x=1'}",
        "upstream.token_url",
        "https://a.b/t?x=1",
        "is not the URL of a registry",
        NEEDS_NONE,
    ),
    (
        "upstream: {ca_file: 5}",
        "upstream.ca_file",
        "5",
        "is not a text",
        "write the path of a file",
    ),
    (
        r'upstream: {ca_file: "a\0b"}',
        "upstream.ca_file",
        r"a\x00b",
        "holds a character that cannot be passed on",
        "write the path of a file",
    ),
    ("upstream: 5", "upstream", "5", "is not a mapping", "write keys below it"),
    ("prot: 5", "prot", "5", "is not a key", "did you mean port?"),
    ("url: x", "url", "x", "is not a key", "did you mean upstream.url?"),
    ("zzz: x", "zzz", "x", "is not a key", "remove it"),
    ("port:", "port", '""', "has no value", "write a value or remove the key"),
    (
        "credentials: {password: hunter2}",
        "credentials.password",
        "*****",
        "is not a key",
        ELSEWHERE,
    ),
    (
        "credentials: {user: me}",
        "credentials.user",
        "*****",
        "is not a key",
        "did you mean credentials.username?",
    ),
    ("credentials: {zzz: me}", "credentials.zzz", "*****", "is not a key", "remove it"),
    (
        "credentials: {password_command: pass hub}",
        "credentials.password_command",
        "*****",
        "is not a list of texts",
        ARGV,
    ),
    (
        "credentials: {password_command: []}",
        "credentials.password_command",
        "*****",
        "names no program",
        ARGV,
    ),
    (
        "credentials: {username: 'a b'}",
        "credentials.username",
        "a b",
        "is not a user name",
        "write the account's name as the upstream knows it",
    ),
]


@pytest.mark.parametrize(("line", "expected"), [(line, rest) for line, *rest in VALUES])
def test_values(tmp_path: Path, line: str, expected: list[str]) -> None:
    path, value, message, remedy = expected
    found = faults(tmp_path, user=f"docker_registry:\n  {line}\n")
    assert found == (user_fault(path, value, message, remedy),)
