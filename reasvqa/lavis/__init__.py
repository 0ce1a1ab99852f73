"""LAVIS: its checkpoints into and out of transformers' BLIP-2 (`checkpoints`), and Eq. 2 as a model of LAVIS (`model`,
for its own environment, where this page imports no newer library)."""

from reasvqa.lavis.checkpoints import (
    LavisError,
    export_annotations,
    lavis_keys,
    load_lavis_checkpoint,
    save_lavis_checkpoint,
)

__all__ = ["LavisError", "export_annotations", "lavis_keys", "load_lavis_checkpoint", "save_lavis_checkpoint"]
