"""What notebooks put out, made safe, and made a page of the book.

Outputs hold text of data sets and models. Whatever a notebook did to it, what reaches a page has no script, no style
that reaches outside its own table, and fetches nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from bleach.css_sanitizer import CSSSanitizer
from bleach.sanitizer import Cleaner
from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

_TAGS = set(
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em hr i img ins kbd li mark ol p pre s "
    "samp small span strong sub summary sup table tbody td tfoot th thead tr u ul var video".split()
)
_ATTRIBUTES = set(
    "alt aria-label class colspan controls headers height href id loop muted open playsinline preload role rowspan "
    "scope src style title width".split()
)
_PROPERTIES = (
    "background background-color border border-bottom border-collapse border-color border-left border-radius "
    "border-right border-top bottom color display font-family font-size font-style font-variant-numeric font-weight "
    "gap height left line-height list-style margin margin-bottom margin-left margin-right margin-top max-width "
    "min-width opacity overflow overflow-x padding padding-bottom padding-left padding-right padding-top position "
    "right text-align text-decoration top transform vertical-align white-space width"
).split()
_CSS = CSSSanitizer(allowed_css_properties=_PROPERTIES)
# A style that fetches something, is written so that one cannot see it, or leaves its place on the page.
_UNSAFE_STYLE = re.compile(r"url|image|\\|@|<|expression|var\(|fixed|sticky", re.IGNORECASE)
_MEDIA = re.compile(r"data:(image/(png|jpeg|gif|webp|svg\+xml)|video/(mp4|webm));base64,")


def _allowed(tag: str, name: str, value: str) -> bool:
    """May a tag of an output have this attribute?"""
    if name not in _ATTRIBUTES:
        return False
    if name == "src":  # a picture or a clip is in the page, or nowhere
        return _MEDIA.match(value) is not None
    if name == "href":
        return tag == "a" and re.match(r"(?i)\s*(data|file):", value) is None
    if name == "style":
        return _UNSAFE_STYLE.search(value) is None
    if name == "id":  # as pandas' styled tables name their cells
        return re.fullmatch(r"T_\w+", value) is not None
    return True


_CLEANER = Cleaner(_TAGS, _allowed, {"http", "https", "mailto", "data"}, strip=True, css_sanitizer=_CSS)  # pyright: ignore


def clean(html: str) -> str:
    """An output's HTML with what is harmless: text, tables, pictures and clips that are in it, and their looks.

    The style sheets of pandas' styled tables are kept as far as they are about these tables.
    """
    soup = BeautifulSoup(html, "html.parser")
    sheets = "".join(_rules(style.get_text()) for style in soup.find_all("style"))
    for element in soup.find_all(["script", "style", "template", "noscript", "iframe", "object", "title"]):
        element.decompose()
    body = _CLEANER.clean(str(soup))
    return f"<style>{sheets}</style>{body}" if sheets else body


def _rules(sheet: str) -> str:
    """Of a style sheet the rules for parts of a styled table, `#T_...`."""
    kept = []
    for selectors, looks in re.findall(r"([^{}]+)\{([^{}]*)\}", sheet):
        names = [selector.strip() for selector in selectors.split(",")]
        looks = _CSS.sanitize_css(looks)
        if looks and not _UNSAFE_STYLE.search(looks) and all(re.fullmatch(r"#T_\w+[\w .:>-]*", n) for n in names):
            kept.append(f"{', '.join(names)} {{ {looks} }}\n")
    return "".join(kept)


# A bar of tqdm, and a widget or an object that has nothing to show but its name.
_BAR = re.compile(r"\d+%\|.*\||\d+(\.\d+)?\s?\w+/s\]|\[\d\d:\d\d[<,?]")
_WARNING = re.compile(r"^\S+:\d+: (\w+Warning): (.*)\n(?:  .*(?:\n|$))?", re.MULTILINE)
_DEVELOPERS = {"FutureWarning", "DeprecationWarning", "PendingDeprecationWarning"}
_OBJECT = re.compile(
    r"<Figure size .*>|<[\w.]+( object)? at 0x[0-9a-f]+>|interactive\(children=.*|\w+(Box|Button|Output|Progress)\(.*",
    re.DOTALL,
)


def without_bars(text: str) -> str:
    """A stream's text as a terminal leaves it, without progress bars."""
    lines = (line.rstrip("\r").split("\r")[-1] for line in text.split("\n"))
    return "\n".join(line for line in lines if not _BAR.search(line)).strip("\n")


def plain_warnings(text: str) -> str:
    """A stream's text in which Python's warnings are without the line of code they come from; those that tell a
    library's developers what will change one day are left out."""
    return _WARNING.sub(lambda found: "" if found[1] in _DEVELOPERS else f"{found[1]}: {found[2]}\n", text)


def is_bare(text: str) -> bool:
    """Is a text only the name of an object, or a progress bar?"""
    return bool(_OBJECT.fullmatch(text.strip()) or _BAR.search(text))


_NUMBER = re.compile(r"[-+−–<>=±≤≥\s]*([\d.,]|nan|None|$)")  # what a cell of numbers begins with, or nothing


# --- the finished page ------------------------------------------------------------------------------------------------


def finish(html: str, names: Collection[str], notebooks: Path, folder: Path) -> tuple[str, list[tuple[str, str]]]:
    """The inside of a page, fit to be read: names of notebooks lead to their pages, tables scroll in a box of their
    own and have headings for a screen reader, sections have anchors.

    Args:
        html: from the notebook.
        names: of the pages there are.
        notebooks: the folder that links of a notebook start from.
        folder: where the page will lie.

    Returns:
        The HTML, and of each section of the second level its anchor and title.
    """
    soup = BeautifulSoup(html, "html.parser")
    _lead(soup, names, notebooks, folder)
    for table in soup.find_all("table"):
        _accessible(table)
        caption = table.caption.get_text(" ", strip=True) if table.caption else ""
        box = soup.new_tag("div", attrs={"class": "scroll", "role": "region", "tabindex": "0"})
        box["aria-label"] = f"Table: {caption}" if caption else "Table"
        table.wrap(box)
    for block in soup.find_all("pre"):
        block["tabindex"] = "0"  # so that a keyboard can scroll it
    sections = _anchors(soup)
    return str(soup), sections


def _lead(soup: BeautifulSoup, names: Collection[str], notebooks: Path, folder: Path) -> None:
    for link in soup.find_all("a", href=True):
        target, _, section = str(link["href"]).partition("#")
        if not target or re.match(r"[a-z]+:", target) or link.find_parent("div", class_="origin"):
            continue
        file = Path(target)
        if file.parent == Path() and file.stem in (*names, "README"):
            target = f"{file.stem if file.stem in names else 'index'}.html"
        else:
            target = Path(os.path.relpath(notebooks / target, folder)).as_posix()
        link["href"] = f"{target}#{section}" if section else target
    name = re.compile(rf"\b({'|'.join(sorted(map(re.escape, names)))})(?:\.ipynb)?\b")
    for text in soup.find_all(string=name):
        inside = {parent.name for parent in text.parents}
        if inside & {"a", "pre", "style", "h1"} or ("code" in inside and not name.fullmatch(str(text))):
            continue
        parts, at = [], 0
        for found in name.finditer(str(text)):
            if found.start() and str(text)[found.start() - 1] in "/\\":
                continue  # in a path
            link = soup.new_tag("a", href=f"{found[1]}.html")
            link.string = found[0]
            parts += [NavigableString(str(text)[at : found.start()]), link]
            at = found.end()
        if parts:
            text.replace_with(*parts, NavigableString(str(text)[at:]))


def _accessible(table: Tag) -> None:
    """Says of each heading whether it is one of a row or of a column, and of each column whether it holds words.

    pandas gives the names of an index a row of their own below the columns' names; here both stand in one.
    """
    if table.thead and len(heads := table.thead.find_all("tr")) == 2:
        above, below = (row.find_all(["td", "th"], recursive=False) for row in heads)
        pairs = list(zip(above, below, strict=False))
        spans = any(cell.has_attr("colspan") for cell in above + below)
        if len(above) == len(below) and not spans and not any(a.text.strip() and b.text.strip() for a, b in pairs):
            for a, b in pairs:
                if b.text.strip():
                    a.replace_with(b)
            heads[1].decompose()
    for cell in table.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"
        elif not cell.get("scope"):
            in_head = cell.find_parent("thead") is not None
            spans = cell.get("colspan" if in_head else "rowspan", "1") != "1"
            cell["scope"] = ("col" if in_head else "row") + ("group" if spans else "")
    rows = [row.find_all(["td", "th"], recursive=False) for row in table.find_all("tr")]
    cells = [  # with their places, counted from the right: headings that span rows stand at the left
        (place, cell)
        for row in rows
        if not any(cell.get("colspan", "1") != "1" for cell in row)
        for place, cell in enumerate(reversed(row))
    ]
    wordy = {
        place
        for place, cell in cells
        if str(cell.get("scope", "")).startswith("row") or (cell.name == "td" and not _is_number(cell.get_text()))
    }
    for place, cell in cells:
        if place in wordy:
            cell["class"] = f"{' '.join(cell.get_attribute_list('class'))} words".strip()


def _is_number(text: str) -> bool:
    """Does a cell hold a number, with what may follow it: "72.8 [69.1, 76.3], n = 900"? Or nothing?"""
    return len(text) < 50 and _NUMBER.match(text) is not None


def _anchors(soup: BeautifulSoup) -> list[tuple[str, str]]:
    """Gives every heading an anchor, as Jupyter would call it."""
    taken: set[str] = set()
    sections = []
    for heading in soup.find_all(re.compile("^h[1-6]$")):
        title = heading.get_text(" ", strip=True)
        base = anchor = re.sub(r"\s+", "-", title) or "section"
        while anchor in taken:
            anchor = f"{base}-{len(taken)}"
        taken.add(anchor)
        heading["id"] = anchor
        if heading.name == "h2":
            sections.append((anchor, title))
    return sections
