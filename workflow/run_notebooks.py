"""Run notebooks through papermill, in order; keep the executed copy and the kernel's stderr.

python workflow/run_notebooks.py --output build/notebooks notebooks/0*.ipynb
python workflow/run_notebooks.py -f PARAMETERS.yaml --output build/openkbp notebooks/0*.ipynb

A copy gets the notebook's name when the notebook has run to its end. Until then, and for good when
it fails or is killed, the copy is NAME.unfinished.ipynb, with the cells that ran. Parameters that
no notebook of the folder has, or of another kind than theirs, are refused before anything runs.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from oarfuse import OarfuseError
from oarfuse.console import about_path, escape_what_cannot_be_shown
from oarfuse.extras import require
from oarfuse.files import same_file

Parameters = dict[str, Any]


def main() -> int:
    """Run the command line; return the exit code: 1 if a notebook failed."""
    escape_what_cannot_be_shown()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for executed copies")
    parser.add_argument("-f", "--parameters", type=Path, help="YAML file with parameters")
    parser.add_argument(
        "-p", dest="more", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    parser.add_argument(
        "--offer",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="as -p, for the notebooks that take it, which may be none",
    )
    options = parser.parse_args()
    declared = {notebook: declared_parameters(notebook) for notebook in options.notebooks}
    if options.output == Path():
        raise OarfuseError("What follows --output is empty: give the folder for executed copies.")
    more = words_given(options.more, "-p")
    given: Parameters = (read_parameters(options.parameters) if options.parameters else {}) | more
    check_parameters(given, declared)
    given = words_given(options.offer, "--offer") | given
    check_kinds(given, declared)
    check_output(options.output, options.notebooks)
    for name in more:
        if not any(name in known for known in declared.values()):
            print(f"None of these notebooks takes {name}: it is left out.", file=sys.stderr)
    for notebook in options.notebooks:
        began = time.monotonic()
        executed = options.output / notebook.name
        # One set of parameters serves all notebooks; each takes what it declares.
        own = {name: value for name, value in given.items() if name in declared[notebook]}
        failure = run(notebook, executed, own)
        if failure:
            print(failure, file=sys.stderr)
            return 1
        print(f"{notebook.name}: {time.monotonic() - began:.0f} s, {executed}", flush=True)
    return 0


def read_notebook(path: Path) -> dict[str, Any]:
    """Return a notebook's content, or say in one sentence what it is instead."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no JSON"
        raise OarfuseError(f"{path} cannot be read ({reason}): give a notebook.") from error
    if not _is_notebook(content):
        raise OarfuseError(
            f"{path} is no notebook of nbformat 4: give an .ipynb file that Jupyter has saved."
        )
    return content


def _is_notebook(content: Any) -> bool:
    """Whether what is used of a notebook is there; of the rest papermill tells."""
    whole = isinstance(content, dict) and content.get("nbformat") == 4
    return (
        whole
        and isinstance(content.get("metadata"), dict)
        and isinstance(content.get("cells"), list)
        and all(
            isinstance(cell, dict)
            and isinstance(cell.get("metadata"), dict)
            and isinstance(cell.get("source"), str | list)
            for cell in content["cells"]
        )
    )


def declared_parameters(path: Path) -> Parameters:
    """Return the names and defaults in a notebook's cell that is tagged ``parameters``."""
    found: Parameters = {}
    cells = [
        cell
        for cell in read_notebook(path)["cells"]
        if "parameters" in cell.get("metadata", {}).get("tags", [])
    ]
    if len(cells) > 1:  # what is given comes after the first one, and the next would undo it
        raise OarfuseError(f"{path} has {len(cells)} cells that are tagged parameters: keep one.")
    for cell in cells:
        try:
            for line in ast.parse("".join(cell["source"])).body:
                if isinstance(line, ast.Assign):
                    target, value = line.targets[0], line.value
                elif isinstance(line, ast.AnnAssign) and line.value is not None:
                    target, value = line.target, line.value
                else:
                    continue
                if isinstance(target, ast.Name):
                    found[target.id] = ast.literal_eval(value)
        except (SyntaxError, ValueError) as error:
            raise OarfuseError(
                f"{path} has parameters that are no plain values ({error}): mend that cell."
            ) from error
    return found


class _EachOnce(yaml.SafeLoader):
    """YAML in which a name that stands there twice is a mistake, as its standard has it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            raise yaml.constructor.ConstructorError(
                "in names with values", node.start_mark, "a name stands there twice"
            )
        return super().construct_mapping(node, deep)


def words_given(words: list[list[str]], option: str) -> Parameters:
    """Return the parameters of the command line, each of which may be given once."""
    given: Parameters = {}
    for name, value in words:
        if name in given:
            raise OarfuseError(f"{option} {name} is given twice: keep one.")
        given[name] = parse_yaml(value, f"{option} {name}")
    return given


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML, or say in one sentence where it is wrong."""
    try:
        return _EachOnce(text).get_single_data()
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise OarfuseError(f"{where} is no YAML ({reason}): mend it.") from error


def read_parameters(path: Path) -> Parameters:
    """Read a YAML file of parameters; an empty one has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not in UTF-8"
        raise OarfuseError(f"{path} cannot be read ({reason}): give a YAML file.") from error
    content = parse_yaml(text, str(path))
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise OarfuseError(f"{path} is no list of names with values: write lines `name: value`.")
    return content


def check_parameters(given: Parameters, declared: dict[Path, Parameters]) -> None:
    """Refuse names that no notebook of these folders has.

    Notebooks beside the given ones count, because one YAML file serves all of a folder.
    """
    known: set[str] = set().union(*declared.values())
    for folder in {notebook.parent for notebook in declared}:
        for path in folder.glob("*.ipynb"):
            try:
                known |= declared_parameters(path).keys()
            except OarfuseError:
                continue  # not asked for
    for name in given.keys() - known:
        raise OarfuseError(
            f"No notebook takes the parameter {name!r}: choose among {', '.join(sorted(known))}."
        )


def check_kinds(given: Parameters, declared: dict[Path, Parameters]) -> None:
    """Refuse values of another kind than a notebook's own."""
    for notebook, defaults in declared.items():
        for name in given.keys() & defaults.keys():
            if not _is_like(given[name], defaults[name], name):
                raise OarfuseError(
                    f"{name} is {given[name]!r} ({type(given[name]).__name__}), but {notebook} "
                    f"takes {_kind(defaults[name])}: give one (in -p, a text that YAML takes for "
                    "something else stands in quotes within quotes)."
                )


def _is_like(value: Any, default: Any, name: str) -> bool:
    if default is None:  # of the course's notebooks: a path, or none
        path = name == "source" or name.endswith(("_dir", "_file", "_path", "_folder"))
        return value is None or not path or isinstance(value, str)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and math.isfinite(value)
    if isinstance(default, list) and isinstance(value, list) and default:
        return all(_is_like(item, default[0], name) for item in value)
    return isinstance(value, type(default))


def _kind(default: Any) -> str:
    words = {
        str: "a text",
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        list: "a list of the same kind",
        dict: "names with values",
    }
    return words.get(type(default), "a text, or none")


def check_output(output: Path, notebooks: list[Path]) -> None:
    """Make the folder of the copies; refuse one in which a copy would replace what is no copy."""
    names: dict[str, Path] = {}
    for notebook in notebooks:
        other = names.setdefault(notebook.name.casefold(), notebook)
        if other is not notebook:
            raise OarfuseError(
                f"{other} and {notebook} have one name, so that one copy would replace the other: "
                "run them into different folders."
            )
    for notebook in notebooks:
        copy = output / notebook.name
        for path in (copy, copy.with_suffix(".unfinished.ipynb")):
            if any(same_file(path, source) for source in notebooks):
                raise OarfuseError(
                    f"{path} is the notebook itself: choose another output folder for the copies."
                )
            if _is_foreign(path):
                raise OarfuseError(
                    f"{path} is there already and no executed copy: choose another output folder."
                )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OarfuseError(
            f"{output} cannot be made ({error.strerror}): choose another output folder."
        ) from error
    if not os.access(output, os.W_OK):
        raise OarfuseError(f"{output} cannot be written: choose another output folder.")


def _is_foreign(path: Path) -> bool:
    """Whether a notebook is there that papermill did not write; it marks its own."""
    if not path.exists():
        return False
    try:
        return "papermill" not in read_notebook(path).get("metadata", {})
    except OarfuseError:
        return path.is_dir()  # else a copy that an interruption cut off


def run(notebook: Path, executed: Path, given: Parameters) -> str | None:
    """Run one notebook; return what went wrong, if something did."""
    require("Running notebooks", "notebooks", "papermill")
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    from oarfuse.course.static import keep_pictures

    unfinished = executed.with_suffix(".unfinished.ipynb")
    named = "name" in read_notebook(notebook).get("metadata", {}).get("kernelspec", {})
    kernel = {} if named else {"kernel_name": "python3", "language": "python"}
    with open(executed.with_suffix(".stderr.txt"), "w", encoding="utf-8") as stderr:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(unfinished),
                parameters=given,
                cwd=str(notebook.parent),
                progress_bar=False,
                stderr_file=stderr,
                **kernel,
            )
        except papermill.PapermillExecutionError as error:
            return (
                f"{notebook.name}: failed in cell {error.exec_count} ({error.ename}: "
                f"{error.evalue}); see {unfinished}."
            )
        except DeadKernelError:
            return (
                f"{notebook.name}: its kernel died, perhaps for lack of memory; see {unfinished} "
                f"and {executed.with_suffix('.stderr.txt')}."
            )
        except NoSuchKernel as error:
            return f"{notebook.name}: there is no kernel {error.name!r}; install ipykernel."
    keep_pictures(unfinished)  # nobody's kernel runs where these copies are read
    os.replace(unfinished, executed)
    return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OarfuseError, OSError) as error:
        said = about_path(error) if isinstance(error, OSError) else error
        print(f"run_notebooks: error: {said}", file=sys.stderr)
        sys.exit(2)
