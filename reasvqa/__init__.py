"""A reproducible companion to ReasVQA: video question answering learned from imperfect reasoning."""

__version__ = "0.1.0"
