"""The paper: its numbers (`numbers`), its tables and figures as settings (`experiments`), its claims as contrasts
(`claims`)."""

from reasvqa.paper.numbers import PRINTED, checks, figure, table

__all__ = ["PRINTED", "checks", "figure", "table"]
