"""Writes the outputs of a run, all or none, and proves hit-only files."""

from hitsieve.write.audit import choose_audit
from hitsieve.write.runwriter import Outputs, RunWriter
from hitsieve.write.summary import (
    AuditSummary,
    BiasTest,
    BlanksSummary,
    CellSummary,
    Facts,
    GeometrySummary,
    HitRuleSummary,
    IndexSummary,
    MissedSummary,
    Percentiles,
    PumpStateSummary,
    PumpSummary,
    SegmentsSummary,
    SegmentSummary,
    SourceSummary,
    Summary,
    TimeLine,
)
from hitsieve.write.verify import FailedImage, VerifyReport, verify_hits

__all__ = [
    "AuditSummary",
    "BiasTest",
    "BlanksSummary",
    "CellSummary",
    "Facts",
    "FailedImage",
    "GeometrySummary",
    "HitRuleSummary",
    "IndexSummary",
    "MissedSummary",
    "Outputs",
    "Percentiles",
    "PumpStateSummary",
    "PumpSummary",
    "RunWriter",
    "SegmentSummary",
    "SegmentsSummary",
    "SourceSummary",
    "Summary",
    "TimeLine",
    "VerifyReport",
    "choose_audit",
    "verify_hits",
]
