"""Convert checkpoints between LAVIS and transformers (`checkpoints`), and train Eq. 2 in LAVIS (`model`).

`model` needs LAVIS's own environment, so this file imports no newer library.
"""

from reasvqa.lavis.checkpoints import LavisError, export_annotations, load_lavis_checkpoint, save_lavis_checkpoint

__all__ = ["LavisError", "export_annotations", "load_lavis_checkpoint", "save_lavis_checkpoint"]
