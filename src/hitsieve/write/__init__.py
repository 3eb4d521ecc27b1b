"""Writes the outputs of a run, all or none, reads them back, and proves hit-only files."""

from hitsieve.write.atomic import remove_leftovers, signals_held, writing
from hitsieve.write.audit import choose_audit
from hitsieve.write.belonging import pump_state_of
from hitsieve.write.composed import ComposedFile
from hitsieve.write.copied import changed_copy
from hitsieve.write.described import Described, Responsible, describe, digest_of_hits, responsible
from hitsieve.write.droppedtable import write_dropped
from hitsieve.write.everyimage import Compared, compare_images, damaged_sample, not_shown
from hitsieve.write.given import mask_digest
from hitsieve.write.held import held_at
from hitsieve.write.kept import KeptImages
from hitsieve.write.keptrun import KeptRun, source_names
from hitsieve.write.outputs import SUMMARY_SUFFIX, Outputs, find_outputs, read_summary
from hitsieve.write.ownvalues import OwnValue, Remainder, merged, remainder_of, shown_as, size_of_metadata
from hitsieve.write.packing import Packed, PackRequest, packing
from hitsieve.write.received import Part, ReceivedSeries
from hitsieve.write.releasefile import (
    PROOF_SUFFIX,
    Deletion,
    FilePrint,
    ReleaseProof,
    read_proof,
    set_aside,
    write_proof,
)
from hitsieve.write.restore import Restored, restore_run, restored_metadata
from hitsieve.write.retable import rewrite
from hitsieve.write.runwriter import RunWriter
from hitsieve.write.sameness import differences, metadata_differences
from hitsieve.write.selfcontained import leads_elsewhere
from hitsieve.write.spooled import spooled
from hitsieve.write.stored import StoredResults, open_results
from hitsieve.write.subset import HitsToChoose, store
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
from hitsieve.write.texts import write_texts
from hitsieve.write.verify import FailedImage, VerifyReport, verify_hits
from hitsieve.write.vetosummary import VetoSummary

__all__ = [
    "PROOF_SUFFIX",
    "SUMMARY_SUFFIX",
    "AuditSummary",
    "BiasTest",
    "BlanksSummary",
    "CellSummary",
    "Compared",
    "ComposedFile",
    "Deletion",
    "Described",
    "Facts",
    "FailedImage",
    "FilePrint",
    "GeometrySummary",
    "HitRuleSummary",
    "HitsToChoose",
    "IndexSummary",
    "KeptImages",
    "KeptRun",
    "MissedSummary",
    "Outputs",
    "OwnValue",
    "PackRequest",
    "Packed",
    "Part",
    "Percentiles",
    "PumpStateSummary",
    "PumpSummary",
    "ReceivedSeries",
    "ReleaseProof",
    "Remainder",
    "Responsible",
    "Restored",
    "RunWriter",
    "SegmentSummary",
    "SegmentsSummary",
    "SourceSummary",
    "StoredResults",
    "Summary",
    "TimeLine",
    "VerifyReport",
    "VetoSummary",
    "changed_copy",
    "choose_audit",
    "compare_images",
    "damaged_sample",
    "describe",
    "differences",
    "digest_of_hits",
    "find_outputs",
    "held_at",
    "leads_elsewhere",
    "mask_digest",
    "merged",
    "metadata_differences",
    "not_shown",
    "open_results",
    "packing",
    "pump_state_of",
    "read_proof",
    "read_summary",
    "remainder_of",
    "remove_leftovers",
    "responsible",
    "restore_run",
    "restored_metadata",
    "rewrite",
    "set_aside",
    "shown_as",
    "signals_held",
    "size_of_metadata",
    "source_names",
    "spooled",
    "store",
    "verify_hits",
    "write_dropped",
    "write_proof",
    "write_texts",
    "writing",
]
