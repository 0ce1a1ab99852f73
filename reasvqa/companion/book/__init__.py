"""The book: executed notebooks as pages to read without running anything, offline, with every figure and table's files
and origin below it."""

from reasvqa.companion.book.binding import BookError, out_of_step, write

__all__ = ["BookError", "out_of_step", "write"]
