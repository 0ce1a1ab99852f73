"""Sphinx's configuration of the book. `reasvqa book` builds it from the root of the checkout."""

from pathlib import Path

project = "ReasVQA"
root_doc = "README"
include_patterns = ["README.md", "data/README.md", "notebooks/*"]
exclude_patterns = [".*", "data/*/*", "figures", "reasvqa", "tests", "notebooks/.*", "notebooks/README.md"]
extensions = ["myst_nb", "sphinx-mathjax-offline"]
html_theme = "sphinx_book_theme"
html_title = "ReasVQA, a reproducible companion"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system
html_show_search_summary = False  # the browser would fetch pages for it, which it may not do from a disk
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # would be fetched from the network
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
# Markdown links to files that are not pages become plain text.
suppress_warnings = ["myst.xref_missing", "myst.header"]

PARTS = {
    "0": "The method, step by step",
    "1": "The paper's tables",
    "2": "The paper's figures",
    "3": "The claims, and beyond",
    "4": "Speed",
    "5": "Your own data and models",
    "9": "The miniature; LAVIS",
    "": "More to read",
}
# Wide tables and outputs scroll inside their box; code within a sentence breaks at the end of a line.
STYLE = """<style>
.cell_output, .bd-article table { overflow-x: auto; }
.bd-article table { display: block; }
code.literal .pre { white-space: normal; overflow-wrap: anywhere; }
</style>"""


def setup(app):
    """Append the contents to the front page and the style to every page."""
    pages = {"data/README": ""}  # by the part that its number names
    for path in sorted(Path(app.srcdir, "notebooks").glob("[!R]*.[im]*")):
        pages[f"notebooks/{path.stem}"] = path.stem[0] if path.stem[0] in PARTS else ""
    contents = ""
    for number, part in PARTS.items():
        names = "\n".join(name for name, its_number in pages.items() if its_number == number)
        contents += f"\n```{{toctree}}\n:hidden:\n:caption: {part}\n\n{names}\n```\n"

    def add_contents(app, page, source):
        source[0] += contents if page == root_doc else ""

    def add_style(app, page, template, context, tree):
        context["metatags"] = context.get("metatags", "") + STYLE

    app.connect("source-read", add_contents)
    app.connect("html-page-context", add_style)
