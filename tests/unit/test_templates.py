from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vmreg import templates
from vmreg.errors import HostError, VmregError

if TYPE_CHECKING:
    from pathlib import Path


def test_plain_text_is_not_escaped_and_html_is(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf.j2").write_text("{{ value }}\n")
    (tmp_path / "page.html.j2").write_text("{{ value }}\n")
    assert templates.render_from(tmp_path, "nginx.conf.j2", value='<"&>') == '<"&>\n'
    assert templates.render_from(tmp_path, "page.html.j2", value="<&>") == "&lt;&amp;&gt;\n"


def test_blocks_leave_no_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "list.j2").write_text(
        "{% for n in names %}\n  {% if n %}\n{{ n }};\n  {% endif %}\n{% endfor %}\nend\n"
    )
    assert templates.render_from(tmp_path, "list.j2", names=["a", "", "b"]) == "a;\nb;\nend\n"


def test_a_missing_value_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("{{ known }} {{ forgotten }}")
    with pytest.raises(VmregError, match="'forgotten' is undefined"):
        templates.render_from(tmp_path, "x.j2", known=1)


def test_a_missing_template_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(VmregError, match=r"no template absent\.j2 in"):
        templates.render_from(tmp_path, "absent.j2")


def test_a_malformed_template_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("{% if %}")
    with pytest.raises(VmregError, match=r"template x\.j2 could not be rendered"):
        templates.render_from(tmp_path, "x.j2")


def test_the_package_wins_over_the_checkout(tmp_path: Path) -> None:
    package = tmp_path / "vmreg"
    package.mkdir()
    with pytest.raises(HostError):
        templates.directory(package)
    (tmp_path / "configs").mkdir()
    assert templates.directory(package) == tmp_path / "configs"
    (package / "configs").mkdir()
    assert templates.directory(package) == package / "configs"


def test_render_finds_the_templates_of_this_checkout() -> None:
    assert (templates.directory() / "report.html.j2").is_file()
