"""The model hub. Its local cache is read first; the network is asked only for missing files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ANSWER_WITHIN_S = 5
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # transformers would wait for the hub to convert weights

T = TypeVar("T")


def local_first(source: str | Path, load: Callable[[bool], T]) -> T:
    """Return `load(True)`, which reads local files only, or `load(False)`, which may download missing ones, so that a
    cached checkpoint never waits for the network. Raise OSError if files are missing and the hub does not answer."""
    from huggingface_hub import constants

    telemetry = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True  # even for a local file the hub would be asked what to send
    try:
        return load(True)
    except (OSError, ValueError) as error:  # ValueError: transformers makes an empty tokenizer of missing files
        reason = "" if Path(source).is_dir() else unreachable()
        if reason and isinstance(error, OSError):
            raise OSError(f"no such folder, not among the downloaded models, and {reason}") from None
        if reason or Path(source).is_dir():
            raise
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
    return load(False)


def unreachable() -> str:
    """Return why the hub cannot be reached, or "". Loading would find out too, after minutes of retries."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=ANSWER_WITHIN_S)
    except Exception as error:  # of httpx, requests or the hub, depending on its version and on HF_HUB_OFFLINE
        return f"{constants.ENDPOINT} does not answer ({error})"
    return ""


def cached(source: str, name: str, local_only: bool = True) -> Path | None:
    """Return a checkpoint's file: in a folder, cached or (not `local_only`) from the hub; None if there is none."""
    from transformers.utils.hub import cached_file

    kinds = ("gated_repo", "missing_entries", "connection_errors")
    quiet: dict[str, Any] = {f"_raise_exceptions_for_{kind}": False for kind in kinds}
    found = cached_file(source, name, local_files_only=local_only, **quiet)
    return None if found is None else Path(found)


def check_tokenizer(tokenizer: Any, source: str) -> None:
    """Raise ValueError for an empty tokenizer, which transformers silently makes where its files are missing."""
    if not tokenizer("what is this", add_special_tokens=False).input_ids:
        raise ValueError(f"the tokenizer at {source!r} knows no words: its files are missing or damaged; get it again")
