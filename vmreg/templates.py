"""Templates to text: an unknown name in a template is an error, never an empty string."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg.errors import HostError, VmregError

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE = Path(__file__).resolve().parent


def directory(package: Path = PACKAGE) -> Path:
    """Return the folder of the templates: inside the installed package, else in the checkout.

    :param package: the folder of the ``vmreg`` package.
    :raises HostError: neither place has one, so the installation is incomplete.
    """
    for candidate in (package / "configs", package.parent / "configs"):
        if candidate.is_dir():
            return candidate
    raise HostError(
        brief=f"no templates beside {package}",
        details="looked for a folder named configs in the package and next to it",
        resolution="Install vmreg again, or run it from a complete checkout.",
    )


def render(name: str, /, **values: object) -> str:
    """Return the text of the template ``name`` filled with ``values``.

    HTML templates (``.html.j2``) escape what is put into them; all others are plain text. The
    same values always give the same text, and a second call is harmless.

    :param name: file name within the folder of the templates, such as ``nginx.conf.j2``.
    :param values: what the template may use; a name that it uses and that is missing is an error.
    :raises VmregError: there is no such template, it is malformed, or it uses an unknown name.
    """
    return render_from(directory(), name, **values)


def render_from(folder: Path, name: str, /, **values: object) -> str:
    """Return the text of a template in ``folder``; otherwise as :func:`render`.

    :raises VmregError: there is no such template, it is malformed, or it uses an unknown name.
    """
    from jinja2 import TemplateError, TemplateNotFound  # noqa: PLC0415 - slow, and few need it

    try:
        return _environment(folder).get_template(name).render(**values)
    except TemplateNotFound as error:
        raise VmregError(brief=f"no template {error.name} in {folder}") from error
    except TemplateError as error:
        raise VmregError(
            brief=f"template {name} could not be rendered", details=str(error)
        ) from error


@cache
def _environment(folder: Path) -> Environment:
    from jinja2 import (  # noqa: PLC0415 - as above
        Environment,
        FileSystemLoader,
        StrictUndefined,
        select_autoescape,
    )

    made = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["yaml"] = _yaml_string
    return made


def _yaml_string(text: str) -> str:
    """Return a YAML scalar in ASCII; JSON's escapes of rare characters are not YAML's."""
    import yaml  # noqa: PLC0415 - as above

    return yaml.safe_dump(text, default_style='"', width=sys.maxsize).strip()
