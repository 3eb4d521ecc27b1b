"""Writes the outputs of a run, all or none, reads them back, and proves hit-only files."""

from hitsieve.write.atomic import writing
from hitsieve.write.audit import choose_audit
from hitsieve.write.described import Described, describe, digest_of_hits
from hitsieve.write.kept import KeptImages
from hitsieve.write.keptrun import KeptRun
from hitsieve.write.outputs import SUMMARY_SUFFIX, Outputs, find_outputs, read_summary
from hitsieve.write.received import ReceivedSeries
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
    "SUMMARY_SUFFIX",
    "AuditSummary",
    "BiasTest",
    "BlanksSummary",
    "CellSummary",
    "Described",
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
    "ReceivedSeries",
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
    "describe",
    "differences",
    "digest_of_hits",
    "find_outputs",
    "open_results",
    "read_summary",
    "restore_run",
    "rewrite",
    "verify_hits",
    "writing",
]
