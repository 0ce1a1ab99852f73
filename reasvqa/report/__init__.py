"""What comes out: results (one aggregator, one verdict), figures, tables, views for notebooks, and saving with
provenance."""
