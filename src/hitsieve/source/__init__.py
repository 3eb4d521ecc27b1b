"""From paths to an opened run: where each image's bytes are, and what the source says about the experiment."""

from hitsieve.source.opened import OpenedRun
from hitsieve.source.opening import open_run

__all__ = ["OpenedRun", "open_run"]
