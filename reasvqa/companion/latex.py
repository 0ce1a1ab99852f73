"""A table as LaTeX that needs `\\usepackage{booktabs}` and nothing else, no wider than the text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from reasvqa.companion.results import values
from reasvqa.evaluation import Estimate

TEXT_WIDTH = 345  # pt: of `article` at 10 pt, one column
TEXT_HEIGHT = 470  # pt: of its page, with room for a caption
# By the command: points a letter takes on average, a line's height, the space on either side of a column.
SIZES = {r"\small": (5.0, 11, 6), r"\footnotesize": (4.5, 9.5, 4), r"\scriptsize": (3.9, 8, 3)}
NARROWEST = 60  # pt: of a column whose text is wrapped

_SPECIAL = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_SPECIAL |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "−": "$-$", "±": r"$\pm$"}
_SPECIAL |= {"≤": r"$\le$", "≥": r"$\ge$", "×": r"$\times$", "α": r"$\alpha$", "β": r"$\beta$"}


def escaped(text: object) -> str:
    """LaTeX's special characters, as text."""
    return "".join(_SPECIAL.get(letter, letter) for letter in str(text))


def to_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """The table in a `table` environment; in several, if it is higher than a page.

    Args:
        table: numbers, texts, and estimates, which stand with half the width of their 95 % intervals. Of an index with
            two levels the first is a block's heading.
        caption: begins with the paper's number for it, if it has one ("Table 7: sizes"); LaTeX gives its own.
        label: of `\\ref`.
    """
    cells = _cells(table)
    header = [escaped(table.index.names[-1] or "") if table.index.nlevels == 1 else "", *map(escaped, table.columns)]
    numeric = [False, *map(pd.api.types.is_numeric_dtype, values(table).dtypes)]
    size, widths = _fit(header, cells, numeric)
    if size is None:  # too wide even so: intervals go below their values
        cells = [(heading, [_below(text) for text in row]) for heading, row in cells]
        size, widths = _fit(header, cells, numeric)
    size = size or list(SIZES)[-1]
    letter, line, space = SIZES[size]
    columns = "".join(
        "r" if right else "l" if width is None else rf"p{{{width / TEXT_WIDTH:.2f}\linewidth}}"
        for right, width in zip(numeric, widths, strict=True)
    )
    top = " & ".join(
        _stacked(text, right) if width is None else text
        for text, right, width in zip(header, numeric, widths, strict=True)
    )
    pages: list[list[str]] = [[]]
    height = 0.0
    for heading, row in cells:
        lines = max([1, *(_lines(text, width / letter) for text, width in zip(row, widths, strict=True) if width)])
        if height and height + lines * line > TEXT_HEIGHT:
            pages.append([])
            height = 0.0
        height += lines * line
        if heading is not None:
            space_above = r"\addlinespace " if pages[-1] else ""
            pages[-1].append(rf"{space_above}\multicolumn{{{len(header)}}}{{@{{}}l}}{{\emph{{{heading}}}}} \\")
        wrapped = [rf"\raggedright {text}" if width else text for text, width in zip(row, widths, strict=True)]
        pages[-1].append(" & ".join(wrapped) + (r" \tabularnewline" if widths[-1] else r" \\"))
    texts = []
    for number, rows in enumerate(pages):
        named = rf"\label{{tab:{label}}}" if number == 0 else "% continued"
        said = escaped(_renumbered(caption)) + (" (continued)" if number else "")
        texts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{said}}}",
                    named,
                    rf"\centering{size}\setlength{{\tabcolsep}}{{{space}pt}}",
                    rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
                    r"\toprule",
                    top + r" \\",
                    r"\midrule",
                    *rows,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(texts) + "\n"


def _cells(table: pd.DataFrame) -> list[tuple[str | None, list[str]]]:
    """Every row as LaTeX, with the heading that stands above it."""
    blocks = [None] * len(table) if table.index.nlevels == 1 else list(table.index.get_level_values(0))
    names = list(table.index.get_level_values(-1))
    numbers = values(table)
    whole = {column for column in table.columns if _is_whole(numbers[column])}
    rows, before = [], None
    for i, (block, name) in enumerate(zip(blocks, names, strict=True)):
        row = [escaped(name) if block is None else rf"\quad {escaped(name)}"]
        for place, column in enumerate(table.columns):
            cell, value = table.iloc[i, place], numbers.iloc[i, place]
            text = _number(value, column in whole) if isinstance(value, (int, float)) else escaped(value)
            if isinstance(cell, Estimate) and not pd.isna(cell.half_width):
                text += rf"\,{{\scriptsize$\pm${cell.half_width:.1f}}}"
            row.append(text)
        rows.append((escaped(block) if block is not None and block != before else None, row))
        before = block
    return rows


def _is_whole(column: pd.Series) -> bool:
    """Counts, not percentages that happen to be whole."""
    known = column.dropna() if pd.api.types.is_numeric_dtype(column) else column[:0]
    whole = bool((known % 1 == 0).all())
    return pd.api.types.is_integer_dtype(column) or (whole and bool((known > 100).any()))


def _number(value: float, whole: bool) -> str:
    return "--" if pd.isna(value) else f"{value:.0f}" if whole else f"{value:.1f}"


def _fit(
    header: Sequence[str], cells: Sequence[tuple[str | None, list[str]]], numeric: Sequence[bool]
) -> tuple[str | None, list[float | None]]:
    """The largest size at which all fits (None: there is none), and by column its width in points, or None where
    nothing is wrapped."""
    columns = list(zip(*(row for _, row in cells), strict=True))
    needed = []
    for title, column, right in zip(header, columns, numeric, strict=True):
        words = title.split(" ") if right else [title]
        needed.append(max(map(_letters, [*column, *words])))
    widths: list[float | None] = []
    for size, (letter, _, space) in SIZES.items():
        left = TEXT_WIDTH - 2 * space * (len(header) - 1)
        widths = [None] * len(header)
        # The longest texts are wrapped, and share what the others leave.
        by_length = sorted((i for i, right in enumerate(numeric) if not right), key=lambda i: -needed[i])
        wrapped: list[int] = []
        while sum(needed[i] * letter for i in range(len(header)) if i not in wrapped) + NARROWEST * len(wrapped) > left:
            if len(wrapped) == len(by_length):
                break
            wrapped.append(by_length[len(wrapped)])
        else:
            kept = sum(needed[i] * letter for i in range(len(header)) if i not in wrapped)
            free = left - kept - NARROWEST * len(wrapped)
            more = sum(needed[i] for i in wrapped)
            for i in wrapped:
                widths[i] = NARROWEST + free * needed[i] / more
            if wrapped and size != list(SIZES)[-1] and min(w for w in widths if w) < 1.5 * NARROWEST:
                continue  # a smaller size rather than narrow columns of many lines
            return size, widths
    return None, [None] * len(header)


def _below(text: str) -> str:
    """A number with its half-width on the next line."""
    return re.sub(r"^(.*)\\,(\{\\scriptsize.*\})$", r"\\begin{tabular}[t]{@{}r@{}}\1\\\\[-2pt]\2\\end{tabular}", text)


def _letters(text: str) -> float:
    """How wide a cell is, in small letters: capitals are wider, commands and braces take no room."""
    below = re.match(r"\\begin\{tabular\}\[t\]\{@\{\}r@\{\}\}(.*?)\\\\", text)
    text = below[1] if below else text
    text = re.sub(r"\{\\scriptsize\$\\pm\$([\d.]+)\}", r"x\1", text)
    text = text.replace(r"\quad", "xx")
    shown = re.sub(r"\\text\w+\{\}|\\[a-zA-Z]+", "x", re.sub(r"[{}$]|\\(?=[&%$#_{},])", "", text))
    return len(shown) + 0.35 * sum(letter.isupper() for letter in shown)


def _lines(text: str, letters: float) -> int:
    """How many lines of so many letters a text takes."""
    lines, used = 1, 0.0
    for word in text.split():
        length = _letters(word) + 1
        if used and used + length > letters + 1:
            lines, used = lines + 1, 0.0
        used += length
    return lines


def _stacked(title: str, right: bool) -> str:
    """A column's title of several words above a number: a word a line."""
    if not right or " " not in title:
        return title
    return r"\begin{tabular}[b]{@{}r@{}}" + r"\\".join(title.split(" ")) + r"\end{tabular}"


def _renumbered(caption: str) -> str:
    """ "Table 1, NExT-QA: accuracy. Ours: ..." as "Accuracy (NExT-QA; the paper's Table 1). Ours: ..."."""
    found = re.match(r"((?:Table|Figure) \d+)(?:, ([^:]+))?: (.+?)(?=\. |$| \()", caption, re.S)
    if not found:
        return caption
    number, part, head = found.groups()
    where = f"{part}; the paper's {number}" if part else f"the paper's {number}"
    return f"{head[0].upper()}{head[1:]} ({where}){caption[found.end() :]}"
