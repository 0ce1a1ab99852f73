"""Check settings and notebook parameters with pydantic, strictly, in messages of one sentence."""

import ast
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

_EXPECTED = {"bool_type": "True or False", "int_type": "an integer", "float_type": "a number", "string_type": "text"}
_EXPECTED |= {"finite_number": "a finite number", "list_type": "a list"}


def validated(name: str, kind: TypeAdapter, value: Any) -> Any:
    """Return `value` as `kind`, strictly: text is neither a number nor a truth value; numpy's numbers become Python's.
    The ValueError for another kind names the setting, what came, and what is possible."""
    try:
        return kind.validate_python(_python(value), strict=True)
    except ValidationError as failed:
        error = failed.errors()[0]
    value, expected = error["input"], _EXPECTED.get(error["type"])
    if expected:
        problem = f"expected {expected}, got {'text' if isinstance(value, str) else type(value).__name__}"
        if expected == "True or False" and isinstance(value, str):
            problem += f" (papermill: -p {name} {'False' if value.lower() in ('false', 'no', '0') else 'True'})"
    else:
        problem = str(error.get("ctx", {}).get("error") or error["msg"].replace("Input should be", "must be"))
    raise ValueError(f"{name}={shortened(value)}: {problem}")


def _python(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def among(choices: Iterable[str]) -> Any:
    """Return the type of a text that is one of `choices`, for pydantic."""
    return Annotated[str, AfterValidator(lambda value: _chosen(value, choices))]


def list_of(kind: Any) -> Any:
    """Return the type of a list of different values, for pydantic; a single value and a list as text are understood."""
    return Annotated[list[kind], BeforeValidator(_as_list), AfterValidator(_different)]


def _as_list(value: Any) -> list:
    """Read "[0, 1]", "0, 1", "[star, nextqa]", "star" (as papermill hands them over), 0, or any sequence."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            value = [item.strip() for item in value.strip().removeprefix("[").removesuffix("]").split(",")]
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | dict)
    return [_python(item) for item in (value if several else [value])]


def _different(values: list) -> list:
    if not values or len(set(values)) < len(values):
        raise ValueError("give a list of different values")
    return values


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`; the ValueError otherwise lists them."""
    try:
        return _chosen(value, choices)
    except ValueError as error:
        raise ValueError(f"{name}={shortened(value)}: {error}") from None


def _chosen(value: Any, choices: Iterable[str]) -> str:
    if value not in (choices := list(choices)):
        raise ValueError(f"choose one of {', '.join(choices)}")
    return value


def shortened(value: object) -> str:
    """Return a value's text for a message, at most about 100 letters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # ValueError: Python prints no integer of more than 4,300 digits
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text)} characters)"
