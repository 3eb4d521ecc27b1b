"""Runs that are seen to by themselves."""
