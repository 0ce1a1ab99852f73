"""The model hub. Its local cache is read first; the network is asked only for what is missing there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ANSWER_WITHIN_S = 5

T = TypeVar("T")


def local_first(source: str | Path, load: Callable[[bool], T]) -> T:
    """Return `load(True)`, which reads local files only, or `load(False)`, which may download what is missing.

    So a cached checkpoint never waits for a network, and a run never meets other weights than the one before it.

    Raises:
        OSError: some files are missing, and the hub does not answer.
    """
    try:
        return load(True)
    except (OSError, ValueError) as error:  # ValueError: transformers makes an empty tokenizer of missing files
        reason = "" if Path(source).is_dir() else unreachable()
        if reason and isinstance(error, OSError):
            raise OSError(f"no such folder, not among the downloaded models, and {reason}") from None
        if reason or Path(source).is_dir():
            raise
    return load(False)


def unreachable() -> str:
    """Return why the hub cannot be asked, or "". Loading would notice as well, but retries every file for minutes."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=ANSWER_WITHIN_S)
    except Exception as error:  # of httpx, requests or the hub, depending on its version and on HF_HUB_OFFLINE
        return f"{constants.ENDPOINT} does not answer ({error})"
    return ""


def cached(source: str, name: str, local_only: bool = True) -> Path | None:
    """Return the path of a checkpoint's file, in a local folder or the hub's cache; None where it is missing.

    local_only: do not ask the hub for it.
    """
    from transformers.utils.hub import cached_file

    found = cached_file(
        source,
        name,
        local_files_only=local_only,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def check_tokenizer(tokenizer: Any, source: str) -> None:
    """Refuse a tokenizer (`transformers.PreTrainedTokenizerBase`) that knows no words.

    transformers silently makes one where a checkpoint's tokenizer files are missing.

    Raises:
        ValueError: the tokenizer turns words into nothing.
    """
    if not tokenizer("what is this", add_special_tokens=False).input_ids:
        raise ValueError(f"the tokenizer at {source!r} knows no words: its files are missing or damaged; get it again")
