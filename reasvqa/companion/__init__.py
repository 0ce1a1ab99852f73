"""The companion: the paper's numbers and claims, its tables and figures, notebook views, and the commands."""
