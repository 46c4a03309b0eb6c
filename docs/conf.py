"""How Sphinx builds the site; ``make docs`` runs it, and a warning is an error."""

from __future__ import annotations

import os

# Importing the package for its docstrings needs no GPU and no file outside the build folder.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("BAYESCALE_COMPILATION_CACHE", "off")

import bayescale

project = "bayescale"
author = "The bayescale authors"
copyright = author
version = release = bayescale.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the numpydoc sections say what each argument is
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the class template lists them
numpydoc_class_members_toctree = False

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

html_theme = "pydata_sphinx_theme"
html_title = f"bayescale {release}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}
