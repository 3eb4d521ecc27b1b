"""Images searched by other processes and computers; imported only where that is asked for."""

from hitsieve.pipeline.cluster.searching import searching_elsewhere

__all__ = ["searching_elsewhere"]
