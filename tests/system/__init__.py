"""Tests of the whole command."""
