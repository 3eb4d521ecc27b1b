"""Series that come as streams: received, judged as they come, and sieved as stored runs are."""

from hitsieve.pipeline.live.receiving import losing_nothing, receive
from hitsieve.pipeline.live.watching import Ended, Load, Verdict, Watcher

__all__ = ["Ended", "Load", "Verdict", "Watcher", "losing_nothing", "receive"]
