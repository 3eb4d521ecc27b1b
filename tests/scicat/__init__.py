"""Runs are brought to an imitated SciCat."""
