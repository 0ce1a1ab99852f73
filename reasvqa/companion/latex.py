"""Export a table to LaTeX by pandas' Styler. A document needs the packages booktabs, longtable and adjustbox."""

import re
from typing import Any

import pandas as pd

from reasvqa.companion.results import our_names, values
from reasvqa.evaluation import Estimate

WRAPPED = 28  # letters: columns of longer texts are wrapped
PAGE = 30  # rows: longer tables are broken over pages

# Letters that LaTeX does not know in text, beside those that pandas escapes.
_LETTERS = {"−": "$-$", "±": r"$\pm$", "≤": r"$\le$", "≥": r"$\ge$", "×": r"$\times$", "α": r"$\alpha$"}
_LETTERS |= {"β": r"$\beta$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "–": "--"}


def to_latex(table: pd.DataFrame, caption: str, label: str, scale: str = "mini") -> str:
    """Return the table as LaTeX, no wider than the text; one of more than `PAGE` rows is a `longtable`.

    Args:
        table: numbers, texts, and estimates, which are printed with half the width of their 95 % intervals. The first
            of two index levels names a block.
        caption: may begin with the paper's number ("Table 7: sizes"); LaTeX gives its own.
        label: of `\\ref`.
    """
    table = our_names(table, scale)
    numbers = values(table)
    style = table.style.hide(names=True).format(_cell, escape="latex")
    counts: list[Any] = [  # a column of percentages may be whole by accident
        name
        for name, column in numbers.select_dtypes("number").items()
        if pd.api.types.is_integer_dtype(column) or ((column.dropna() % 1 == 0).all() and (column > 100).any())
    ]
    style.format(lambda count: _cell(count, ".0f"), escape="latex", subset=pd.IndexSlice[:, counts])
    for axis in (0, 1):
        style.format_index(_cell, escape="latex", axis=axis)
    levels = table.index.nlevels
    cells = [table.index.get_level_values(i) for i in range(levels)] + [table.iloc[:, i] for i in range(table.shape[1])]
    numeric = [False] * levels + [pd.api.types.is_numeric_dtype(dtype) for dtype in numbers.dtypes]
    letters = [max(map(len, map(str, column)), default=0) for column in cells]
    wrapped = sum(n for n, right in zip(letters, numeric, strict=True) if not right and n > WRAPPED)
    columns = ""
    for n, right in zip(letters, numeric, strict=True):
        columns += "r" if right else "l" if n <= WRAPPED else rf"p{{{0.6 * n / wrapped:.2f}\linewidth}}"
    caption = _cell(re.sub(r"([&%$#_{}])", r"\\\1", _without_number(caption)))
    look: dict[str, Any] = {"column_format": f"@{{}}{columns}@{{}}", "hrules": True, "multirow_align": "naive"}
    look |= {"environment": "longtable"} if len(table) > PAGE else {"position_float": "centering"}
    text = style.to_latex(caption=caption, label=f"tab:{label}", **look)
    if len(table) > PAGE:
        return f"{{\\scriptsize\\setlength{{\\tabcolsep}}{{3pt}}\n{text}}}\n"
    fitted = "\\small\n\\begin{adjustbox}{max width=\\linewidth}\n\\begin{tabular}"
    text = text.replace(r"\begin{tabular}", fitted)
    return text.replace(r"\end{tabular}", "\\end{tabular}\n\\end{adjustbox}")


def _cell(cell: object, digits: str = ".1f") -> str:
    """Return a number, an estimate with its half-width, or a text that pandas has escaped, as LaTeX."""
    if isinstance(cell, Estimate):
        half = "" if pd.isna(cell.half_width) else rf"\,{{\scriptsize$\pm${cell.half_width:.1f}}}"
        return f"{cell.value:.1f}{half}"
    if isinstance(cell, (int, float)):
        return "--" if pd.isna(cell) else f"{cell:{digits}}"
    return "".join(_LETTERS.get(letter, letter) for letter in str(cell))


def _without_number(caption: str) -> str:
    """Turn "Table 1, NExT-QA: accuracy. Ours: ..." into "Accuracy (NExT-QA; the paper's Table 1). Ours: ..."."""
    found = re.match(r"((?:Table|Figure) \d+)(?:, ([^:]+))?: (.+?)(?=\. |$| \()", caption, re.S)
    if not found:
        return caption
    number, dataset, head = found.groups()
    where = f"{dataset}; the paper's {number}" if dataset else f"the paper's {number}"
    return f"{head[0].upper()}{head[1:]} ({where}){caption[found.end() :]}"
