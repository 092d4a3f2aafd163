"""All tasks of the installed package, for the ``vm`` command."""

from __future__ import annotations

from invoke.collection import Collection

from vmreg.cli import registry, vm

ns = Collection(vm.ns, registry.ns)
