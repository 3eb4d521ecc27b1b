"""Writes the outputs of a run, all or none, and proves hit-only files."""

from hitsieve.write.audit import choose_audit
from hitsieve.write.runwriter import Outputs, RunWriter
from hitsieve.write.summary import (
    AuditSummary,
    Facts,
    Percentiles,
    SourceSummary,
    Summary,
)
from hitsieve.write.verify import FailedImage, VerifyReport, verify_hits

__all__ = [
    "AuditSummary",
    "Facts",
    "FailedImage",
    "Outputs",
    "Percentiles",
    "RunWriter",
    "SourceSummary",
    "Summary",
    "VerifyReport",
    "choose_audit",
    "verify_hits",
]
