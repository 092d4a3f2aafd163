"""The images that a project names, and what is wrong with how it names them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmreg.errors import ConfigError
from vmreg.manifests import host_platform
from vmreg.prewarm import reading
from vmreg.prewarm.sources import named_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "vm.yaml").write_text("{}\n")
    return tmp_path


def write(project: Path, name: str, content: str) -> None:
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(content)


def found(project: Path, name: str = "vm.yaml", **environment: str) -> list[str]:
    named = named_in(project / name, environment=environment)
    return [f"{one.where} {one.reference}" for one in named]


def faults(project: Path, name: str = "vm.yaml", **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        named_in(project / name, environment=environment)
    return [str(problem) for problem in caught.value.problems]


def test_vm_yaml_names_images_and_services(project: Path) -> None:
    content = """\
docker_registry: {enabled: true}
images:
  - node:20
  - ghcr.io/acme/tool:1
services:
  docker: {version: "28.5"}
  db:
    image: postgres:16
"""
    write(project, "vm.yaml", content)

    assert found(project) == [
        "vm.yaml:3 node:20",
        "vm.yaml:4 ghcr.io/acme/tool:1",
        "vm.yaml:8 postgres:16",
    ]


def test_an_empty_project_names_nothing(project: Path) -> None:
    assert found(project) == []


@pytest.mark.parametrize(
    "name", ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"]
)
def test_a_compose_file_beside_it_is_read(project: Path, name: str) -> None:
    write(project, name, "services:\n  web:\n    image: nginx:1\n")
    assert found(project) == [f"{name}:3 nginx:1"]
    assert found(project, name) == [f"{name}:3 nginx:1"]


def test_of_two_compose_files_the_one_that_compose_takes_counts(project: Path) -> None:
    write(project, "docker-compose.yml", "services: {a: {image: old:1}}")
    write(project, "compose.yaml", "services: {a: {image: new:1}}")
    assert found(project) == ["compose.yaml:1 new:1"]


def test_an_override_replaces_the_image_and_adds_services(project: Path) -> None:
    write(project, "compose.yaml", "services:\n  a: {image: a:1}\n  b: {image: b:1}\n")
    write(project, "compose.override.yml", "services:\n  a: {image: a:2}\n  c: {image: c:1}\n")
    assert found(project) == [
        "compose.override.yml:2 a:2",
        "compose.yaml:3 b:1",
        "compose.override.yml:3 c:1",
    ]


def test_variables_come_from_the_environment_before_dot_env(project: Path) -> None:
    write(project, ".env", "A=1\nB=2\n")
    write(
        project,
        "compose.yaml",
        'services: {x: {image: "x:$A-${B}-${C:-3}"}, y: {image: "y:${A:+set}"}}',
    )
    assert found(project, B="9") == ["compose.yaml:1 x:1-9-3", "compose.yaml:1 y:set"]


def test_anchors_and_merges_are_followed(project: Path) -> None:
    content = """\
x-base: &base
  image: nginx:1
services:
  a: *base
  b:
    <<: *base
    platform: linux/arm64
"""
    write(project, "compose.yaml", content)
    named = named_in(project / "vm.yaml", environment={})
    assert [(str(one.reference), str(one.platform)) for one in named] == [
        ("nginx:1", "None"),
        ("nginx:1", "linux/arm64"),
    ]


def test_what_is_built_is_followed_to_its_dockerfile(project: Path) -> None:
    content = """\
services:
  web:
    image: acme/web:${UNSET}
    build:
      context: web
      args: {V: 22}
  job:
    build:
      context: .
      dockerfile: job.Dockerfile
      args: [W=7, FROM_ENVIRONMENT]
  tool:
    build:
      dockerfile_inline: |
        FROM alpine:3
      additional_contexts:
        assets: docker-image://busybox:1
  far:
    build: https://example.com/repository.git
"""
    write(project, "compose.yaml", content)
    write(project, "web/Dockerfile", "ARG V=20\nFROM node:$V\n")
    write(
        project,
        "job.Dockerfile",
        "ARG W\nARG FROM_ENVIRONMENT\nFROM python:$W-$FROM_ENVIRONMENT\n",
    )
    assert found(project, FROM_ENVIRONMENT="slim") == [
        "compose.yaml:13 busybox:1",
        "web/Dockerfile:2 node:22",
        "job.Dockerfile:3 python:7-slim",
        "compose.yaml:13 alpine:3",
    ]


def test_an_override_adds_to_a_build(project: Path) -> None:
    write(project, "compose.yaml", "services: {a: {build: {context: a, args: {V: 1}}}}")
    write(project, "compose.override.yaml", "services: {a: {build: {args: {W: 2}}}}")
    write(project, "a/Dockerfile", "ARG V\nARG W\nFROM node:$V.$W\n")
    assert found(project) == ["a/Dockerfile:3 node:1.2"]


def test_what_is_built_here_is_not_pulled(project: Path) -> None:
    write(project, "compose.yaml", "services: {a: {build: a, image: 'acme/base:1'}}")
    write(project, "a/Dockerfile", "FROM node:20\n")
    write(project, "Dockerfile", "FROM acme/base:1\nCOPY --from=nginx:1 / /\n")
    assert found(project) == ["a/Dockerfile:1 node:20", "Dockerfile:2 nginx:1"]


def test_dockerfiles_beside_it_are_read(project: Path) -> None:
    for name in ("Dockerfile", "Dockerfile.dev", "job.Dockerfile"):
        write(project, name, f"FROM {name.lower().replace('.', '-')}:1\n")
    write(project, "Dockerfile.dockerignore", "FROM ignored\n")
    write(project, "dockerfile.txt", "FROM ignored\n")
    assert found(project) == [
        "Dockerfile:1 dockerfile:1",
        "Dockerfile.dev:1 dockerfile-dev:1",
        "job.Dockerfile:1 job-dockerfile:1",
    ]
    assert found(project, "Dockerfile.dev") == ["Dockerfile.dev:1 dockerfile-dev:1"]


def test_a_build_platform_is_this_hosts(project: Path) -> None:
    write(project, "Dockerfile", "FROM --platform=$BUILDPLATFORM a\nFROM b\n")
    first, second = named_in(project / "vm.yaml", environment={})
    assert (first.platform, second.platform) == (host_platform(), None)


def test_every_fault_is_told_with_its_place_and_remedy(project: Path) -> None:
    write(project, "vm.yaml", "images: [Node, node:20]\nservices: [x]\n")
    write(
        project,
        "compose.yaml",
        "services:\n  a:\n    image: a:${TAG}\n  b:\n    build: nowhere\n"
        "  c:\n    image: c\n    platform: riscv\n",
    )
    write(project, "x.override.yml", "services: [\n")
    write(project, "Dockerfile", "\nFROM $BASE\n")

    told = faults(project)

    assert [line.split(" ")[0].rstrip(":") for line in told] == [
        "vm.yaml:1",
        "vm.yaml:2",
        "x.override.yml:2",
        "compose.yaml:3",
        "compose.yaml:7",
        "nowhere/Dockerfile",
        "Dockerfile:2",
    ]
    assert told[0] == (
        "vm.yaml:1: images[0] = Node: is not the name of an image; write a name such as node:20"
    )
    assert "needs TAG, which is not set" in told[3]
    assert "${NAME:-default}" in told[3]
    assert "'riscv' is not a platform" in told[4]
    assert "needs BASE" in told[6]


def test_a_list_of_images_has_to_be_one(project: Path) -> None:
    write(project, "vm.yaml", "images: node\n")
    assert faults(project) == [
        "vm.yaml:1: images = node: is not a list; write [node:20, postgres:16]"
    ]


def test_a_compose_file_of_another_shape_is_a_fault(project: Path) -> None:
    write(project, "compose.yaml", "[1, 2]\n")
    assert faults(project) == [
        "compose.yaml: does not hold keys and values; begin it with services:"
    ]


def test_a_file_that_is_missing_is_a_fault(project: Path) -> None:
    assert faults(project, "other.yaml") == [
        "other.yaml: is not a file; correct its name, or make it one"
    ]


def test_a_file_that_is_too_large_deep_or_strange_is_a_fault(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "vm.yaml", "a: " + "[" * 20_000)
    assert "nests too deep" in faults(project)[0]
    (project / "vm.yaml").write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in faults(project)[0]
    write(project, "vm.yaml", "#" * 101)
    monkeypatch.setattr(reading, "LARGEST_BYTES", 100)
    assert "is larger than 100 bytes" in faults(project)[0]


def test_a_pipe_is_not_waited_for(project: Path) -> None:
    (project / "vm.yaml").unlink()
    os.mkfifo(project / "vm.yaml")
    assert "is not a file" in faults(project)[0]


def test_a_service_may_have_a_number_for_a_name(project: Path) -> None:
    write(project, "compose.yaml", "services: {1: {image: a}, 2: {build: {args: {3: 4}}}}")
    write(project, "Dockerfile", "FROM b\n")
    assert found(project) == ["compose.yaml:1 a:latest", "Dockerfile:1 b:latest"]


def test_a_name_steers_no_terminal(project: Path) -> None:
    write(project, "compose.yaml", 'services: {a: {build: "\\e[2J\\0"}, b: {image: "\\e[2J"}}')
    told = faults(project)
    assert len(told) == 2
    assert all(line.isprintable() for line in told)


KEYS = (
    *("services", "images", "image", "build", "context", "dockerfile", "dockerfile_inline"),
    *("args", "additional_contexts", "platform", "a", "b"),
)
LEAVES = st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=6)
TEXTS = st.sampled_from(["node:20", "$A", "${B:-x}", ".", "FROM a\nCOPY --from=$X b c"])
TREES = st.recursive(
    LEAVES | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)
SERVICES = st.fixed_dictionaries({"services": st.dictionaries(st.sampled_from("ab"), TREES)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(first=SERVICES | TREES, second=SERVICES | TREES)
def test_any_files_are_read_or_refused(project: Path, first: object, second: object) -> None:
    write(project, "vm.yaml", json.dumps(second))
    write(project, "compose.yaml", json.dumps(first))
    write(project, "compose.override.yaml", json.dumps(second))
    try:
        named_in(project / "vm.yaml", environment={"A": "1"})
    except ConfigError:
        return
