"""The score of a drive: what a model makes of a bag or a dataset, and the report of it."""
