"""How the site is built from the repository: ``make docs``.

The sources are the repository's Markdown files where they lie, so that a link from one to another is the same link on
the site and in the repository.
"""

from __future__ import annotations

import builtins
import tomllib
from pathlib import Path
from pydoc import locate
from shutil import copyfile
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

import lucid

CONTENTS = tomllib.loads(Path(__file__).with_name("contents.toml").read_text("utf-8"))

PUBLIC = {"AbstractTensor": "lucid.Tensor"}
"""What users meet where a type says what it is inside."""

COURSE = "docs/course/"
LESSON = "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python}\n---\n"

project = "Lucid"
author = "The Lucid authors"
copyright = author
version = release = lucid.__version__
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "benchmarks/results/*.md", "tests/suite/table.md"]
nitpicky = True

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_output_stderr = "remove"
myst_heading_anchors = 4
add_module_names = False
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_param = False
napoleon_use_rtype = False

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["front"]  # leads from the root to the first page
html_title = "Lucid"
html_show_sphinx = False
html_copy_source = False


def list_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """They stand here rather than on the pages, which are read in the repository too."""
    for title, pages in CONTENTS.get(page, {}).items():
        hidden = ":hidden:\n" if page == root_doc else ""
        below = "\n".join(name if name.endswith(">") else f"/{name}" for name in pages)
        source[0] += f"\n```{{toctree}}\n:glob:\n{hidden}:caption: {title}\n\n{below}\n```\n"


def make_lesson(app: Sphinx, page: str, source: list[str]) -> None:
    """The pages of the course are notebooks: their blocks of Python are cells, which the build runs."""
    if page.startswith(COURSE):
        source[0] = LESSON + source[0].replace("```python\n", "```{code-cell}\n")


def offer_notebook(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    """Below the title of a lesson."""
    if page.startswith(COURSE):
        link = f'<p><a href="{Path(page).name}.ipynb" download>This lesson as a notebook</a></p>'
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{link}", 1)


def copy_notebooks(app: Sphinx, failure: Exception | None) -> None:
    """MyST-NB leaves them beside the site, as they were run."""
    if failure is None:
        for path in (app.outdir.parent / "jupyter_execute" / COURSE).glob("*.ipynb"):
            copyfile(path, app.outdir / COURSE / path.name)


def of_a_type(wanted: pending_xref) -> bool:
    """Whether it stands in a signature; what an author has written as a link says whether to warn."""
    return wanted.get("refdomain") == "py" and "refwarn" not in wanted


def leave_builtins(app: Sphinx, tree: nodes.document) -> None:
    """A ``bool`` in a signature is Python's, and not ``lucid.bool``."""
    for wanted in list(tree.findall(pending_xref)):
        if of_a_type(wanted) and hasattr(builtins, wanted["reftarget"]):
            wanted.replace_self(wanted.children)


def find_public(app: Sphinx, env: BuildEnvironment, wanted: pending_xref, shown: nodes.Node) -> nodes.Node | None:
    """Docstrings and types name a thing by its own name or by its home, pages by its public one.

    What no page describes is shown as it is; a docstring that names what does not exist is an error of the build.
    """
    if wanted.get("refdomain") != "py":
        return None
    python = env.domains.python_domain
    target, last = wanted["reftarget"], wanted["reftarget"].rpartition(".")[2]
    name = PUBLIC.get(last) or next((name for name in python.objects if name.rpartition(".")[2] == last), None)
    if name in python.objects:
        place = python.objects[name]
        return make_refnode(app.builder, wanted["refdoc"], place.docname, place.node_id, [shown])
    homes = ("", f"{wanted.get('py:module')}.", f"{wanted.get('py:module')}.{wanted.get('py:class')}.")
    return shown if of_a_type(wanted) or any(locate(home + target) is not None for home in homes) else None


def keep_colons(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """What stands before a colon is no type: those of properties stand in their signatures."""
    if what == "property" and ":" in lines[0]:
        lines[0] = f": {lines[0]}"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", list_contents)
    app.connect("source-read", make_lesson)
    app.connect("html-page-context", offer_notebook)
    app.connect("build-finished", copy_notebooks)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # napoleon is asked at 500
    app.connect("doctree-read", leave_builtins)
    app.connect("missing-reference", find_public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
