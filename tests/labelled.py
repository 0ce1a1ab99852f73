"""Reads the responses labelled by hand (tests/data/README.md)."""

import re
from pathlib import Path
from typing import NamedTuple

LETTERS = "ABCDEFGHIJ"


class Unit(NamedTuple):
    """text[start:end] has to go, or has to stay."""

    start: int
    end: int
    goes: bool


class Response(NamedTuple):
    style: str
    stated: str  # a letter, "-" for none, "?" for two
    answer: int
    options: list[str]
    text: str
    units: list[Unit]


def labelled(part: str) -> list[Response]:
    content = (Path(__file__).parent / "data" / f"labelled_{part}.txt").read_text(encoding="utf-8")
    return [_response(block) for block in re.split(r"^@ ", content, flags=re.MULTILINE)[1:]]


def _response(block: str) -> Response:
    head, _, body = block.partition("\n")
    style, stated, right, options = (field.strip() for field in head.split("|"))
    text, units = "", []
    for piece in re.split(r"(⟦.*?⟧|⟨.*?⟩)", body.strip("\n"), flags=re.DOTALL):
        if piece[:1] in ("⟦", "⟨"):
            if piece[0] == "⟦":
                units.append(Unit(len(text), len(text) + len(piece) - 2, goes=True))
            text += piece[1:-1]
            continue
        for sentence in re.finditer(r"\S.*?(?:(?<!\d)[.!?](?=\s|$)|$)", piece, flags=re.MULTILINE):
            if re.search(r"\w", sentence.group()):
                units.append(Unit(len(text) + sentence.start(), len(text) + sentence.end(), goes=False))
        text += piece
    return Response(style, stated, LETTERS.index(right), [option.strip() for option in options.split(";")], text, units)
