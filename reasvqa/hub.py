"""The model hub: what of it is here, and whether it can be asked, said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def unreachable() -> str:
    """Why the hub cannot be asked, or "". Loading would find out as well, after minutes of trying for every file."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception as error:  # of httpx, requests or the hub, as its version and HF_HUB_OFFLINE have it
        return f"{constants.ENDPOINT} does not answer ({error})"
    return ""


def cached(source: str, name: str, local_only: bool = True) -> Path | None:
    """A file of a checkpoint, a local folder's or one of the hub's cache; None: it is not there.

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
    """Raises ValueError if a checkpoint's tokenizer (a `transformers.PreTrainedTokenizerBase`) knows no words.

    Where its files are missing, transformers makes such a one, without a word.
    """
    if not tokenizer("what is this", add_special_tokens=False).input_ids:
        raise ValueError(f"the tokenizer at {source!r} knows no words: its files are missing or damaged; get it again")
