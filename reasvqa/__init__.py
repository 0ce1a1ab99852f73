"""A reproducible companion to ReasVQA: video question answering learned from imperfect reasoning."""

__version__ = "0.1.0"

# Packages that add rows to `reasvqa.registry` when they are imported, which its first look-up does.
PLUG_INS = ("reasvqa.datasets", "reasvqa.mini")
