"""The audit sample and the summary's rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hitsieve.settings import WriteSettings
from hitsieve.write import AuditSummary, Facts, HitRuleSummary, SourceSummary, Summary, TimeLine, choose_audit

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "summary.schema.json"


@given(st.integers(0, 3000), st.floats(0, 1), st.integers(0, 50), st.integers(0, 2**32))
def test_audit_is_a_sorted_sample(n: int, fraction: float, least: int, seed: int) -> None:
    misses = np.arange(n) * 3
    settings = WriteSettings(audit_fraction=fraction, audit_min=least, audit_seed=seed)
    chosen = choose_audit(misses, settings)
    assert len(chosen) == min(n, max(least, int(np.ceil(fraction * n))))
    assert (np.diff(chosen) > 0).all()
    assert np.isin(chosen, misses).all()
    assert np.array_equal(chosen, choose_audit(misses, settings))


def _summary(**changes: object) -> Summary:
    values: dict[str, object] = {
        "version": "1",
        "date": "2026-01-01T00:00:00Z",
        "settings": {},
        "source": SourceSummary(path="a", stem="a", style="vds", n_files=1, image_shape=(1, 1), dtype="uint16"),
        "n_images": 10,
        "n_hits": 2,
        "n_misses": 6,
        "n_unreadable": 1,
        "n_missing": 1,
        "hit_rate": 0.25,
        "hit_rate_interval": (0.1, 0.6),
        "rule": HitRuleSummary(rule="either", min_spots=12, origin="blanks"),
        "timeline": TimeLine(first=(0,), n_searched=(8,), n_hits=(2,), n_indexed=(1,), background=(0.5,)),
        "audit": AuditSummary(n=1, seed=0, fraction=0.1),
        "seconds": 1.0,
        "images_per_second": 10.0,
        "workers": 1,
        "source_bytes": 100,
        "hit_bytes": 20,
        "facts": Facts(),
    }
    return Summary.model_validate(values | changes)


def test_totals_add_up() -> None:
    assert _summary().hit_rate == 0.25
    with pytest.raises(ValidationError, match="four states hold 11 images"):
        _summary(n_missing=2)
    with pytest.raises(ValidationError, match=r"is not 2 of 8"):
        _summary(hit_rate=0.2)
    with pytest.raises(ValidationError, match="exactly where images were searched"):
        _summary(hit_rate=None, hit_rate_interval=None)


def test_summary_survives_json() -> None:
    assert Summary.model_validate_json(_summary().model_dump_json()) == _summary()


def test_published_schema_is_that_of_the_model() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == Summary.model_json_schema(mode="serialization")
