"""Flags every image of a serial-crystallography run hit or miss.

>>> import hitsieve
>>> report = hitsieve.run("lyso_master.h5", output="out")  # doctest: +SKIP
>>> report.summary.hit_rate  # doctest: +SKIP

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitsieve.api import run
    from hitsieve.errors import HitsieveError
    from hitsieve.pipeline.verify import verify
    from hitsieve.settings import RunSettings, SourceSettings, SpotSettings, VerdictSettings, WriteSettings
    from hitsieve.source import open_run

__version__ = "0.1.0"

__all__ = [
    "HitsieveError",
    "RunSettings",
    "SourceSettings",
    "SpotSettings",
    "VerdictSettings",
    "WriteSettings",
    "__version__",
    "open_run",
    "run",
    "verify",
]

_HOMES = {
    "HitsieveError": "hitsieve.errors",
    "RunSettings": "hitsieve.settings",
    "SourceSettings": "hitsieve.settings",
    "SpotSettings": "hitsieve.settings",
    "VerdictSettings": "hitsieve.settings",
    "WriteSettings": "hitsieve.settings",
    "open_run": "hitsieve.source",
    "run": "hitsieve.api",
    "verify": "hitsieve.pipeline.verify",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module 'hitsieve' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
