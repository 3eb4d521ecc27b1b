"""The page of an image: no routes yet."""

from __future__ import annotations

from fastapi import APIRouter

from hitsieve.serve.runs import Runs


def router(runs: Runs) -> APIRouter:
    """Routes of this subject."""
    return APIRouter()
