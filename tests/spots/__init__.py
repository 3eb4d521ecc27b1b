"""Tests of the spot finder."""
