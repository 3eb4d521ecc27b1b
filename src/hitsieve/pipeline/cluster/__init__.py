"""Images searched by other processes and computers; imported only where that is asked for."""

from hitsieve.pipeline.cluster.searching import begun, searching_elsewhere

__all__ = ["begun", "searching_elsewhere"]
