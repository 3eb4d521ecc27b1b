"""The command line: one module per command, each a thin layer over the pipeline.

Nothing heavy is imported here, so that help comes at once.
"""

from hitsieve.cli.main import main

__all__ = ["main"]
