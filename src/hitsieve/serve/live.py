"""The page of a running series: no routes yet."""

from __future__ import annotations

from fastapi import APIRouter


def router(live: str | None) -> APIRouter:
    """Routes of this subject."""
    return APIRouter()
