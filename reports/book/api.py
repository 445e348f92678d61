"""The API reference: a page a module, from the docstrings."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.util.nodes import make_refnode

import oarfuse

# Of a package's `__all__` the page of each name's own module tells, so that it is there once.
AUTODOC: dict[str, Any] = {"members": True, "ignore-module-all": True}


def module_names() -> list[str]:
    """Return the dotted names of the package and its public modules."""
    found = [found.name for found in pkgutil.walk_packages(oarfuse.__path__, "oarfuse.")]
    return ["oarfuse", *(name for name in sorted(found) if "._" not in name)]


def write_reference(folder: Path) -> None:
    """Write ``index.rst`` and a page for each public module into a folder of Sphinx's sources."""
    folder.mkdir(parents=True)
    names = module_names()
    for name in names:
        children = [other for other in names if other.rpartition(".")[0] == name]
        (folder / f"{name}.rst").write_text(_page(name, children), encoding="utf-8")


def _page(name: str, children: list[str]) -> str:
    module = importlib.import_module(name)
    lines = [_heading(name), f".. automodule:: {name}", ""]
    if children:
        lines += [
            *_offered(module),
            ".. rubric:: Modules",
            "",
            ".. toctree::",
            "   :maxdepth: 1",
            "",
        ]
        lines += [f"   {child} <{child}>" for child in children] + [""]
    return "\n".join(lines)


def _heading(name: str) -> str:
    return f"{name}\n{'=' * len(name)}\n"


def _offered(module: ModuleType) -> list[str]:
    """List the names that a package offers, many of which it imports only when they are used."""
    rows = []
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        home = getattr(thing, "__module__", None)
        named = inspect.isclass(thing) or inspect.isfunction(thing)
        if not named or home == module.__name__:
            continue
        summary = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
        rows += [f"   * - :py:obj:`{name} <{home}.{thing.__qualname__}>`", f"     - {summary}"]
    if not rows:
        return []
    head = [".. rubric:: What it offers", "", ".. list-table::", "   :widths: 30 70", ""]
    return [*head, *rows, ""]


def connect(app: Any) -> None:
    """Let Sphinx find the names in the docstrings."""
    app.connect("missing-reference", _find)
    app.connect("autodoc-process-signature", _readable)


def _readable(
    app: Any, kind: str, name: str, thing: object, options: Any, signature: str | None, gives: Any
) -> tuple[str, Any] | None:
    """Write a data class's default so that Sphinx can read the signature, and shorten its types."""
    return (signature.replace("<factory>", "..."), gives) if signature else None


def _find(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Link a name that a package only offers, or a short one that one thing alone has.

    Names of other packages stay as they are. A dotted name of this package that nothing has stays
    missing, which Sphinx reports.
    """
    if node.get("refdomain") != "py":
        return None
    objects = env.get_domain("py").objects
    target = node["reftarget"].removesuffix("()")
    found = [name for name in objects if name.endswith(f".{target}")]
    if "." not in target:  # `spec` is a parameter, not somebody's attribute of that name
        found = [name for name in found if _stands_alone(objects[name], name, node)]
    if target.startswith("oarfuse."):
        package, _, name = target.rpartition(".")
        try:
            thing = getattr(importlib.import_module(package), name)
        except (ImportError, AttributeError):
            return None
        found = [f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"]
    if len(found) != 1 or found[0] not in objects:
        return contnode
    entry = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode)


def _stands_alone(entry: Any, name: str, node: Any) -> bool:
    """Tell whether a bare name may mean this entry: a module only among its neighbours."""
    if entry.objtype == "module":
        here = str(node.get("py:module"))
        return name.rpartition(".")[0] in {here, here.rpartition(".")[0]}
    return entry.objtype in {"class", "exception", "function"}
