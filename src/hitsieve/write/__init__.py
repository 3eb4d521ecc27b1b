"""Writes the outputs of a run, all or none, reads them back, and proves hit-only files."""

from hitsieve.write.audit import choose_audit
from hitsieve.write.kept import KeptImages
from hitsieve.write.keptrun import KeptRun
from hitsieve.write.outputs import Outputs
from hitsieve.write.restore import Restored, restore_run
from hitsieve.write.retable import rewrite
from hitsieve.write.runwriter import RunWriter
from hitsieve.write.sameness import differences
from hitsieve.write.stored import StoredResults, open_results
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
    "KeptImages",
    "KeptRun",
    "MissedSummary",
    "Outputs",
    "Percentiles",
    "PumpStateSummary",
    "PumpSummary",
    "Restored",
    "RunWriter",
    "SegmentSummary",
    "SegmentsSummary",
    "SourceSummary",
    "StoredResults",
    "Summary",
    "TimeLine",
    "VerifyReport",
    "choose_audit",
    "differences",
    "open_results",
    "restore_run",
    "rewrite",
    "verify_hits",
]
