"""All pages together: the index, the book on disk, and whether it is still the book of these notebooks and runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from bs4 import BeautifulSoup

from reasvqa import paths
from reasvqa.companion import paper, results, tables
from reasvqa.companion.book.cleaning import finish
from reasvqa.companion.book.pages import (
    BookError,
    Page,
    Saved,
    contents,
    exporter,
    prepare,
    render,
    source_digest,
    style_sheet,
)
from reasvqa.companion.experiments import EXPERIMENTS, SEEDS, all_settings
from reasvqa.config import REAL
from reasvqa.evaluation import signed
from reasvqa.students import fingerprint

LIMIT = 20 << 20  # bytes


def write(copies: dict[str, Path], scale: str, output: Path | None = None, seeds: Sequence[int] = SEEDS) -> Path:
    """Writes the book: a page for each executed notebook and for each Markdown file beside the notebooks, and an index.

    The same copies make the same bytes. The book that was there is replaced when the new one is complete.

    Args:
        copies: by the notebook's name its executed copy.
        output: the folder; default: `paths.book(scale)`. Its links to files of figures and tables are relative.

    Returns:
        The index page's path.

    Raises:
        BookError: a copy holds an error, something that it saved is gone, or the book is larger than `LIMIT`.
    """
    folder = (output or paths.book(scale)).resolve()
    figures = paths.figures(scale)
    found = [prepare(name, nbformat.read(path, 4), figures) for name, path in sorted(copies.items())]
    digests = {page.name: source_digest(page.notebook) for page in found}
    for path in sorted(paths.notebooks().glob("*.md")):
        if path.stem != "README":  # the index takes its place
            text = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(path.read_text(encoding="utf-8"))])
            digests[path.stem] = source_digest(text)
            found.append(Page(path.stem, text))
    made, names = exporter(), [page.name for page in found]
    around: dict[str, Any] = {
        "parts": contents(found),
        "style": style_sheet(),
        "scale": scale,
        "scale_label": _plain(scale),
    }
    files = {}
    for page, before, after in zip(found, [None, *found], [*found[1:], None], strict=False):
        source = paths.notebooks() / f"{page.name}{'.ipynb' if page.is_notebook else '.md'}"
        files[f"{page.name}.html"] = render(
            made,
            page,
            names,
            folder=folder,
            before=before,
            after=after,
            source=Path(os.path.relpath(source, folder)).as_posix(),
            digest=digests[page.name],
            settings=settings_digest(page.name, scale, seeds),
            **around,
        )
    inside = made.environment.get_template("index.html.j2").render(**_index(found, scale), **around, names=names)
    inside, sections = finish(inside, names, paths.notebooks(), folder)
    frame = made.environment.get_template("frame.html.j2")
    files["index.html"] = frame.render(inside=inside, sections=sections, after=found[0] if found else None, **around)
    size = {name: len(text.encode()) for name, text in files.items()}
    if sum(size.values()) > LIMIT:
        largest = max(size, key=lambda name: size[name])
        raise BookError(
            f"the book takes {sum(size.values()) >> 20} MB, {LIMIT >> 20} are allowed; {largest} is the largest page "
            f"({size[largest] >> 20} MB): show fewer or smaller pictures and clips there"
        )
    _replace(folder, files)
    return folder / "index.html"


def _replace(folder: Path, files: dict[str, str]) -> None:
    """Puts a folder of these files in the place of the one that is there, whole."""
    if folder.exists() and any(path.suffix != ".html" for path in folder.iterdir()):
        raise BookError(f"{folder}: holds other things than pages; choose a folder of the book's own")
    new, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    new.mkdir(parents=True)
    try:
        for name, text in files.items():
            (new / name).write_text(text, encoding="utf-8", newline="\n")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


# --- the index --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Picture:
    """A figure to show on the index: the page it is on, what it is, and the picture itself."""

    page: str
    saved: Saved
    data: str

    @property
    def label(self) -> str:
        """Its caption's beginning."""
        caption = self.saved.origin["caption"].split(" (")[0].split(". Ours")[0]
        return caption[:1].upper() + caption[1:]


def _index(found: Sequence[Page], scale: str) -> dict[str, Any]:
    """What the index says that depends on runs: all of it is read from the paper's numbers and the saved ledger."""
    pictures = [
        _Picture(page.name, saved, page.pictures[saved.name])
        for page in found
        for saved in page.saved
        if saved.name in page.pictures
    ]
    titles = {page.name: page.title for page in found}
    of_paper = [p for p in pictures if p.page[0] in "23"] + [p for p in pictures if p.page[0] not in "23"]
    # Of some seeds only, it is a part, and has another name.
    named = [saved.name for page in found for saved in page.saved if saved.name in ("claims", "claims_part")]
    ledger = results.saved_ledger(scale, *named[:1])
    claims = ledger[ledger["kind"] == "claim"]
    printed, wrong = paper.table(5), 100 - paper.table(4)["Avg"]
    counted = claims["verdict"].dropna().value_counts()
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counted.items())
    with pd.option_context("display.max_colwidth", None):
        table = tables.readable_ledger(claims).to_html(border=0) if len(claims) else ""
    return {
        "wrong": f"{wrong.min():.0f} to {wrong.max():.0f}",
        "standing": _standing(scale),
        "gains": (printed.loc["MTL_All"] - printed.loc["STL_QA"])[list(paper.PRINTED.values())].to_dict(),
        "first_picture": next((p for p in pictures if p.saved.name == "figure1"), None),
        "ledger_picture": next((p for p in pictures if p.saved.name in named), None),
        "main": next(map(_told, claims.to_dict("records")), ""),
        "pictures": of_paper,
        "ledger": table,
        "many": len(claims) > 12,
        "verdicts": f"Of the paper's {len(claims)} claims: {verdicts or 'one seed gives no verdict'}.",
        "link": lambda name: f'<a href="{name}.html">{escape(titles[name])}</a>' if name in titles else escape(name),
    }


def _told(row: dict) -> str:
    """A line of the ledger as a sentence."""
    verdict = "one seed, no verdict" if pd.isna(row["verdict"]) else row["verdict"]
    theirs = "" if pd.isna(row["paper"]) else f" (the paper: {signed(row['paper'])})"
    return f"{row['text']}: {results.interval(row)} points{theirs}, {verdict}."


def _plain(scale: str) -> str:
    """A scale's name for a reader: "miniature"."""
    return tables.OURS[scale].removeprefix("ours, ")


def _standing(scale: str) -> str:
    """What the numbers of a scale may be taken for."""
    if scale in REAL:
        size = "full-size models" if scale == "paper" else "small models"
        return f"The numbers called ours are of {size} on the official data."
    return (
        f"The numbers called “{tables.OURS[scale]}” are of drawn videos, a simulated generator and students of about a "
        "million parameters. They stand for the paper's protocol, not for its results."
    )


# --- still the same? --------------------------------------------------------------------------------------------------


def settings_digest(notebook: str, scale: str, seeds: Sequence[int] = SEEDS) -> str:
    """A digest of the settings of all runs that a table or figure's notebook needs, and of the students they begin
    with."""
    names = [name for name, what in EXPERIMENTS.items() if what.notebook == notebook]
    settings = all_settings(scale, seeds, names)
    students = {config.student: fingerprint(config.student) for config in settings}
    record = json.dumps([[asdict(config) for config in settings], students], sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()[:16]


def out_of_step(scale: str, folder: Path | None = None, seeds: Sequence[int] = SEEDS) -> list[str]:
    """Which pages are not of the notebooks, the settings, or the figures' run keys as they are now, and why; empty if
    all is well. Needs neither data nor runs."""
    folder = folder or paths.book(scale)
    sources = {path.stem: path for path in paths.notebooks().glob("*.ipynb")}
    found = {path.stem: path for path in folder.glob("[0-9]*.html")}
    wrong = [f"{name}: has no page" for name in sorted(sources.keys() - found.keys())]
    wrong += [f"{name}: its notebook is gone" for name in sorted(found.keys() - sources.keys())]
    for name in sorted(sources.keys() & found.keys()):
        soup = BeautifulSoup(found[name].read_text(encoding="utf-8"), "html.parser")
        said = {str(meta["name"]): meta["content"] for meta in soup.find_all("meta", attrs={"name": True})}
        if said.get("reasvqa-source") != source_digest(nbformat.read(sources[name], 4)):
            wrong.append(f"{name}: the notebook has changed")
        if said.get("reasvqa-settings") != settings_digest(name, scale, seeds):
            wrong.append(f"{name}: the settings of its runs, or their students, have changed")
        for block in soup.select("[data-saved]"):
            saved = Saved(str(block["data-saved"]), paths.figures(scale))
            try:
                if saved.runs != block["data-runs"]:
                    wrong.append(f"{name}: {saved.name} is of other runs")
            except BookError:
                wrong.append(f"{name}: {saved.name} is gone")
    return wrong
