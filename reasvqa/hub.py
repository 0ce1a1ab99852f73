"""Whether the model hub can be asked, said at once."""

from __future__ import annotations


def unreachable() -> str:
    """Why the hub cannot be asked, or "". Loading would find out as well, after minutes of trying for every file."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception as error:  # of httpx, requests or the hub, as its version and HF_HUB_OFFLINE have it
        return f"{constants.ENDPOINT} does not answer ({error})"
    return ""
