"""Flags every image of a serial-crystallography run hit or miss."""
