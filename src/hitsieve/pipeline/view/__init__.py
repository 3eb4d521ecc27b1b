"""What a page shows of a finished run: plain functions that give frozen dataclasses and arrays."""
