"""The random sample of misses that lets others estimate what the finder lost."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hitsieve.settings import WriteSettings


def choose_audit(misses: npt.NDArray[np.int64], settings: WriteSettings) -> npt.NDArray[np.int64]:
    """Choose the misses that are kept verbatim.

    Parameters
    ----------
    misses : int64, shape (m,)
        Images (index in the run) that are misses.
    settings : WriteSettings
        `audit_fraction`, `audit_min` and `audit_seed`.

    Returns
    -------
    int64, shape (k,)
        Sorted images, drawn without replacement: k = max(audit_min, ceil(audit_fraction * m)), at most m.
    """
    wanted = max(settings.audit_min, math.ceil(settings.audit_fraction * len(misses)))
    rng = np.random.default_rng(settings.audit_seed)
    return np.sort(rng.choice(misses, size=min(wanted, len(misses)), replace=False)).astype(np.int64)
