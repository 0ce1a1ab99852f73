"""A notebook as a page: prose with formulas, code that folds, outputs, and below what a cell saved its files and where
it came from."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert.exporters.html import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from reasvqa import paths
from reasvqa.companion.book.cleaning import clean, finish, is_bare, plain_warnings, without_bars
from reasvqa.companion.experiments import EXPERIMENTS
from reasvqa.companion.reproduce import options
from reasvqa.companion.saving import SAVED

_FOLDER = Path(__file__).parent
_FILES = {".pdf": "PDF", ".png": "PNG", ".csv": "CSV", ".tex": "LaTeX", ".json": "origin (JSON)"}
_LONG = 12  # lines: longer code is folded


class BookError(Exception):
    """What a page needs is not there, or is wrong."""


@dataclass(frozen=True)
class Saved:
    """A figure or table that a notebook saved: its name, the folder it lies in, and its provenance."""

    name: str
    folder: Path

    @cached_property
    def origin(self) -> dict[str, Any]:
        """Its provenance, of `saving.provenance`.

        Raises:
            BookError: it is not there any more.
        """
        path = self.folder / f"{self.name}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BookError(f"{path}: {error}; remove the executed copy of the notebook that saved it") from error

    @property
    def runs(self) -> str:
        """A digest of its runs' keys."""
        return _digest(self.origin["runs"])

    @property
    def files(self) -> dict[str, Path]:
        """What there is to download, by its name for a reader."""
        files = {label: self.folder / f"{self.name}{ending}" for ending, label in _FILES.items()}
        return {label: path for label, path in files.items() if path.is_file()}

    @property
    def alt(self) -> str:
        """The picture in words."""
        return self.origin.get("alt") or self.origin["caption"] or self.name


@dataclass
class Page:
    """A page: what it is called and about, the notebook it was made from, and what that saved.

    Attributes:
        name: the notebook's; the page is <name>.html.
        notebook: the executed copy; or, of a Markdown file, one cell.
        pictures: by the name of a figure its picture in the page, a data URI.
    """

    name: str
    notebook: NotebookNode
    saved: list[Saved] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self._first.splitlines()[0].lstrip("# ").strip()

    @property
    def about(self) -> str:
        """What one learns from it, in the notebook's own words."""
        found = re.search(r"\*\*You will learn\*\*\s+(.+?)(?=\n\s*\n|\Z)", self._first, re.DOTALL)
        text = " ".join(found[1].split()) if found else ""
        return text[:1].upper() + text[1:]

    @property
    def _first(self) -> str:
        return self.notebook.cells[0].source

    @property
    def is_notebook(self) -> bool:
        return any(cell.cell_type == "code" for cell in self.notebook.cells)

    @property
    def commit(self) -> str:
        return self.notebook.metadata.get("reasvqa", {}).get("commit", "")

    def command(self, scale: str) -> str:
        """What makes this notebook's figures and tables again."""
        usual = options("reproduce", None)
        given = self.notebook.metadata.get("papermill", {}).get("parameters", {})
        names = [name for name, what in EXPERIMENTS.items() if what.notebook == self.name]
        if names:
            command = f"python -m reasvqa.companion.reproduce --only {' '.join(names)}"
            if scale != usual.get_default("scale"):
                command += f" --scale {scale}"
            if list(given.get("seeds", [])) not in ([], list(usual.get_default("seeds"))):
                command += f" --seeds {' '.join(map(str, given['seeds']))}"
            return command
        defaults = {
            line.targets[0].id: ast.literal_eval(line.value)
            for cell in self.notebook.cells
            if "parameters" in cell.metadata.get("tags", [])
            for line in ast.parse(cell.source).body
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        }
        changed = {name: value for name, value in given.items() if value != defaults.get(name)}
        values = [
            f"-p {name} {json.dumps(str(value)) if isinstance(value, list) else value}"
            for name, value in changed.items()
        ]
        return " ".join([f"papermill notebooks/{self.name}.ipynb out.ipynb", *values])


def source_digest(notebook: NotebookNode) -> str:
    """A digest of a notebook's text and code, the same before and after it was executed."""
    cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    return _digest([[cell.cell_type, cell.source] for cell in cells])


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


# --- from notebook to HTML --------------------------------------------------------------------------------------------


class _Prose(IPythonRenderer):
    """The project's own Markdown: its formulas become MathML, which every browser sets without help."""

    def block_math(self, body: str) -> str:
        return _formula(body, "block")

    def inline_math(self, body: str) -> str:
        return _formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return _formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


def _formula(latex: str, display: str) -> str:
    try:
        math = convert(latex.strip(), display=display)
    except Exception as error:  # of many kinds
        raise BookError(f"the formula {latex.strip()!r} cannot be read: {type(error).__name__} {error}") from error
    if unknown := re.search(r">(\\\w+)", math):
        raise BookError(f"the formula {latex.strip()!r} has a command that cannot be set: {unknown[1]}")
    return f'<span class="formula" tabindex="0">{math}</span>' if display == "block" else math


class _Exporter(HTMLExporter):
    """nbconvert's, with our template: no prompt, no script, nothing from anywhere else."""

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        """Formulas are set in prose; in outputs a dollar is a dollar, and what is unsafe is left out."""
        if context["cell"].cell_type == "markdown":
            return MarkdownWithMath(_Prose(escape=False, exclude_anchor_links=True)).render(source)
        return clean(MarkdownWithMath(IPythonRenderer(escape=False, exclude_anchor_links=True)).render(source))


def exporter() -> HTMLExporter:
    """What makes pages, and the index, of templates."""
    kinds = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain"]
    made = _Exporter(
        config=Config({"NbConvertBase": {"display_data_priority": kinds}}),
        template_name="template",
        template_file="page.html.j2",
        extra_template_basedirs=[str(_FOLDER)],
    )
    made.register_filter("clean", clean)
    return made


def style_sheet() -> str:
    """The look of all pages, light and dark."""
    light, dark = (
        "\n".join(
            line
            for line in HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight").splitlines()
            if line.startswith(".highlight .")
        )
        for style in ("default", "github-dark")
    )
    css = (_FOLDER / "template" / "style.css").read_text(encoding="utf-8")
    return f"{css}\n{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def prepare(name: str, notebook: NotebookNode, figures: Path) -> Page:
    """Takes out of an executed notebook what nobody reads (progress bars, names of objects), and finds what its cells
    saved and which pictures they show: a figure or table stands below what is shown next. Changes the notebook.

    figures: where what it saved lies.

    Raises:
        BookError: a cell has failed.
    """
    page = Page(name, notebook)
    prose = page.title
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            prose = _last_sentence(cell.source) or prose
        if cell.cell_type != "code":
            continue
        waiting: list[Saved] = []  # saved, and not shown yet
        outputs = []
        for output in cell.outputs:
            if SAVED in output.get("data", {}):
                saved = Saved(output.data[SAVED]["name"], figures)
                if saved not in page.saved + waiting:
                    waiting.append(saved)
                continue
            if (shown := _readable(output)) is None:
                continue
            outputs.append(shown)
            if shown.output_type == "error":
                raise BookError(f"{name}: a cell has failed; execute the notebook again")
            if shown.output_type == "stream":
                continue
            drawn = next((saved for saved in waiting if "PNG" in saved.files), None)
            for kind in (kind for kind in shown.data if kind.startswith("image/")):
                looks = shown.metadata.get(kind, {})
                words = looks.get("alt") or (drawn.alt if drawn else f"Picture: {prose}")
                shown.metadata[kind] = {**looks, "alt": words}
                if drawn and kind == "image/png":
                    page.pictures[drawn.name] = f"data:image/png;base64,{shown.data[kind].strip()}"
            shown.metadata["below"] = waiting
            page.saved += waiting
            waiting = []
        page.saved += waiting
        cell.outputs = outputs
        cell.metadata["book"] = {"below": waiting, "fold": _fold(cell)}
    return page


def _readable(output: NotebookNode) -> NotebookNode | None:
    """An output without what only a terminal or a live notebook can show; None if nothing is left."""
    if output.output_type == "stream":
        output.text = _placeless(plain_warnings(without_bars(output.text) + "\n").strip("\n"))
        return output if output.text else None
    if output.output_type == "error":
        return output
    kept = {
        kind: _placeless(value) if kind.startswith("text/") else value
        for kind, value in output.data.items()
        if not kind.startswith("application/")
    }
    if "application/vnd.jupyter.widget-view+json" in output.data or is_bare(kept.get("text/plain", "")):
        kept.pop("text/plain", None)
    output.data = kept
    return output if kept else None


def _placeless(text: str) -> str:
    """A text without where this checkout, its data and this Python lie on the machine that executed it."""
    places = {paths.data(): "data", paths.CHECKOUT: ".", Path(sys.prefix): "python", Path.home(): "~"}
    for place, name in places.items():
        if place and len(place.parts) > 1:
            text = text.replace(str(place), name)
    return text


def _last_sentence(markdown: str) -> str:
    """The end of a piece of prose, as plain text: what a picture below it shows."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", plain) if part.strip()]
    if not paragraphs:
        return ""
    return re.split(r"(?<=[.!?])\s", re.sub(r"[*`$]|^#+\s*", "", paragraphs[-1]))[-1].rstrip(":")


def _fold(cell: NotebookNode) -> dict[str, Any]:
    """How a cell's code is folded: its heading, and whether it is open at first."""
    tags, lines = cell.metadata.get("tags", []), len(cell.source.splitlines())
    if "parameters" in tags:
        return {"title": "Parameters", "open": True}
    if "injected-parameters" in tags:
        return {"title": "Parameters of this copy", "open": True}
    hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    imports = cell.source.startswith(("import ", "from "))
    title = f"{'Imports' if imports else 'Code'}, {lines} line{'s' if lines > 1 else ''}"
    return {"title": title, "open": lines <= _LONG and not imports and not hidden}


def origin(saved: Saved, page: Page, scale: str, folder: Path) -> str:
    """What stands below a saved figure or table, as HTML: its caption, files, settings, seeds, runs, the command that
    makes it again, the commit."""
    record, name = saved.origin, escape(saved.name)
    links = " ".join(
        f'<a href="{escape(Path(os.path.relpath(path, folder)).as_posix())}">{label}</a>'
        for label, path in saved.files.items()
    )
    settings = "; ".join(
        f"{setting.replace('_', ' ')} {' or '.join(map(str, values))}" for setting, values in record["settings"].items()
    )
    runs = "".join(f"<li>{escape(run)}</li>" for run in record["runs"])
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    rows = {
        "Made again by": f"<code>{escape(page.command(scale))}</code>",
        "Commit": escape(page.commit),
        "Settings": escape(settings),
        "Seeds": ", ".join(map(str, record["seeds"])),
        f"Runs ({len(record['runs'])})": f'<ul class="keys" tabindex="0">{runs}</ul>' if runs else "",
        "Versions": escape(versions),
    }
    facts = "".join(f"<dt>{what}</dt><dd>{value}</dd>" for what, value in rows.items() if value)
    return (
        f'<div class="origin" id="{name}" role="group" aria-label="Files and origin of {name}" '
        f'data-saved="{name}" data-runs="{saved.runs}">'
        f'<p class="caption">{escape(record["caption"])}</p><p class="files"><span>Download</span> {links}</p>'
        f"<details><summary>How it was made</summary><dl>{facts}</dl></details></div>"
    )


def render(made: HTMLExporter, page: Page, names: Collection[str], scale: str, folder: Path, **around: Any) -> str:
    """The page as HTML. around: what the template needs to know of the book."""
    below = {s.name: origin(s, page, scale, folder) for s in page.saved}
    try:
        inside, _ = made.from_notebook_node(page.notebook, {"below": below})
    except BookError as error:
        raise BookError(f"{page.name}: {error}") from error
    inside, sections = finish(inside, names, paths.notebooks(), folder)
    return made.environment.get_template("frame.html.j2").render(
        page=page, command=page.command(scale), inside=inside, sections=sections, **around
    )


def contents(pages: Sequence[Page]) -> dict[str, list[Page]]:
    """The pages by the parts of the book, which the notebooks' numbers name."""
    parts = {
        "0": "The method, step by step",
        "1": "The paper's tables",
        "2": "The paper's figures",
        "3": "The claims, and beyond",
        "4": "Speed",
        "5": "Your own data",
        "9": "How the miniature was made; LAVIS",
    }
    found: dict[str, list[Page]] = {}
    for page in pages:
        found.setdefault(parts.get(page.name[0], "More to read"), []).append(page)
    return found
