"""Tests of whole jobs, and of the bins."""
