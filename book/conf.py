"""Sphinx's settings for the book; `python -m reports.book` lays out the sources and runs it.

Nothing is executed and nothing is fetched: pages show the notebooks' committed outputs, and MathJax
lies in the site.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

import oarfuse
from reports.book.api import AUTODOC, connect
from reports.book.links import COLAB, repository

project = "oarfuse"
author = "oarfuse contributors"
copyright = author
release = version = oarfuse.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_static", "extra"]

# Pages and notebooks
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # committed notebooks hold no widget
# A table or the slice browser has a plain text as well; the browser gets the HTML.
nb_merge_streams = True
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
bibtex_bibfiles = ["papers.bib"]
bibtex_default_style = "unsrt"
bibtex_reference_style = "author_year"

# The API
autodoc_default_options = AUTODOC
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_inherit_docstrings = False  # of a layer's `forward`, PyTorch tells
add_module_names = False
default_role = "py:obj"  # `name` in a docstring is a link where the name is known
python_use_unqualified_type_names = True

# Warnings are errors: a link to a page, heading, paper or name that is gone stops the build.
nitpicky = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # none is shown but HTML, pictures and text

# Formulas without the network: the MathJax 2 that Jupyter packs for its servers.
mathjax_path = "mathjax/MathJax.js?config=TeX-AMS-MML_HTMLorMML-full"
mathjax2_config = {
    "messageStyle": "none",
    "showMathMenu": False,
    "HTML-CSS": {"availableFonts": [], "preferredFont": None, "webFont": "STIX-Web", "scale": 92},
    "tex2jax": {"inlineMath": [["\\(", "\\)"]], "displayMath": [["\\[", "\\]"]]},
}

html_theme = "sphinx_book_theme"
html_title = "oarfuse"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_extra_path = ["extra"]  # the slides
html_css_files = ["book.css"]
html_js_files = ["ledger.js"]
html_copy_source = True
html_show_sphinx = False
html_theme_options = {
    "navbar_persistent": [],  # the sidebar has the search
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": False,
    "collapse_navbar": True,  # nearly half of the time would go into unfolding it on every page
    "use_download_button": True,
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
if address := repository():  # buttons that would lead nowhere stay away
    html_theme_options |= {
        "repository_url": address,
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {"colab_url": COLAB},
    }


def keep_formulas(app: Sphinx, doctree: nodes.document) -> None:
    """Leave displayed formulas as they are: in what Sphinx puts around one, no \\tag may stand."""
    for block in doctree.findall(nodes.math_block):
        block["no-wrap"] = True
        block[:] = [nodes.Text(f"\\[{block.astext()}\\]")]


def setup(app: Sphinx) -> None:
    """Sphinx calls this when it starts."""
    connect(app)
    app.connect("doctree-read", keep_formulas)
