"""The proof file of a release: what was compared, with what result, and which files were deleted for it."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hitsieve.errors import OutputError, SourceError
from hitsieve.write.atomic import writing
from hitsieve.write.texts import write_texts

PROOF_SUFFIX = "_release.json"
"""End of the name of a proof file."""
_ASIDE = r"(_\d{8}T\d{6}(_\d+)?)?\.json"
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FilePrint(_Part):
    """A file as it was when it was read."""

    path: str
    """Absolute, without symbolic links."""
    size: Count
    """Bytes."""
    modified: int
    """Time of the last change (ns since 1970)."""
    inode: int
    device: int
    sha256: str | None = None
    """Of the whole file, hexadecimal; null where it was not computed."""


class Deletion(_Part):
    """What became of the files."""

    begun: datetime
    ended: datetime | None = None
    """Null where it was cut off: then those files are deleted that are not there."""
    deleted: tuple[str, ...] = ()
    left: dict[str, str] = Field(default_factory=dict)
    """Files that stay, with the reason."""


class ReleaseProof(_Part):
    """Why the files of a source can be deleted."""

    schema_version: str = "1.0"
    program: str = "hitsieve"
    version: str
    date: datetime
    """When this was proven (UTC)."""
    stem: str
    """Run name."""
    sieved: str
    """When the run was sieved."""
    evidence: str
    """In words: where the images are."""
    source: tuple[str, ...]
    """What the user named, absolute."""
    n_images: Count
    n_hits: Count
    n_misses: Count
    """In a proof by SciCat: all images that are no hits."""
    n_unreadable: Count
    n_missing: Count
    n_bytes: Count
    """Images whose stored bytes were compared with those of the source, and are the same."""
    n_pixels: Count
    """Images that were packed anew, and whose pixels were."""
    n_metadata: Count
    """Datasets and attributes that a restore gives, each compared with those of the source."""
    images_digest: str
    """SHA-256 over the SHA-256 (hexadecimal, in the order of the run) of what is stored of each image."""
    kept: tuple[FilePrint, ...]
    """Files that hold the run."""
    files: tuple[FilePrint, ...]
    """Files of the source that could be deleted: data files first, the master last."""
    own_values: tuple[dict[str, Any], ...] = ()
    """Small values that single files of the source have and a restore does not give back, word for word."""
    linked: tuple[str, ...] = ()
    """Other files that those of the source link to; they stay."""
    shown_by: tuple[str, ...] = ()
    """Other HDF5 files in the folders of the source that show something of its files, and lose it with them."""
    archive: dict[str, Any] | None = None
    """What SciCat says of the data set; null where it was not asked."""
    deletion: Deletion | None = None
    """Null: nothing was deleted."""

    @property
    def n_file_bytes(self) -> int:
        """Size of the files that could be deleted."""
        return sum(file.size for file in self.files)


def set_aside(path: Path) -> Path | None:
    """Give a proof file on which files were deleted another name, which is given; None where there is none.

    What it has of files that are gone, their own values too, may be nowhere else.

    Raises
    ------
    SourceError
        The file is no proof.
    OutputError
        It cannot be renamed.
    """
    earlier = read_proof(path).deletion if path.is_file() else None
    if earlier is None:
        return None
    stem = f"{path.name.removesuffix('.json')}_{earlier.begun:%Y%m%dT%H%M%S}"
    free = (path.with_name(f"{stem}{end}.json") for end in chain([""], (f"_{n}" for n in count(2))))
    place = next(place for place in free if not os.path.lexists(place))
    with writing(place):
        path.rename(place)
    return place


def check_not_only_copy(hits: Path) -> None:
    """Refuse to write over a hit-only file, or what is beside it, where raw files were deleted because of it.

    Raises
    ------
    OutputError
        A proof beside it says so.
    SourceError
        What has the name of a proof is none.
    """
    stem = hits.name.removesuffix("_hits.h5") + PROOF_SUFFIX.removesuffix(".json")
    # Beside a run may be one that is called <stem>_release.
    ours = re.compile(re.escape(stem) + _ASIDE)
    for place in sorted(path for path in hits.parent.glob("*.json") if ours.fullmatch(path.name)):
        proof = read_proof(place)
        if proof.deletion is not None and hits.name in {Path(file.path).name for file in proof.kept}:
            what = f"{hits}: is what is left of raw files that were deleted ({place.name})"
            raise OutputError(what, mend="choose another folder with --output")


def write_proof(path: Path, proof: ReleaseProof) -> None:
    """Write a proof file, in place of an earlier one, whole or not at all, and bring it to the disk.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    write_texts({path: json.dumps(proof.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"})


def read_proof(path: Path) -> ReleaseProof:
    """Read a proof file.

    Raises
    ------
    SourceError
        It cannot be read, or is none.
    """
    try:
        return ReleaseProof.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check its permissions") from None
    except (ValidationError, ValueError) as error:
        raise SourceError(f"{path}: is not a proof of this version of hitsieve", mend="move it away") from error
