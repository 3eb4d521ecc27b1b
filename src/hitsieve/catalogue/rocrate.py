"""The RO-Crate of a published run: its metadata (version 1.2, terms of schema.org)."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hitsieve.catalogue.published import ADDED, DATACITE_FILE, MANIFEST, SUBJECT, CrateFile, Published, manifest_line
from hitsieve.errors import SettingsError

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

VERSION = "1.2"
NXMX = "https://manual.nexusformat.org/classes/applications/NXmx.html"


def require_rocrate() -> None:
    """Raise SettingsError where the package rocrate is absent."""
    try:
        import rocrate.rocrate  # noqa: F401
    except ImportError as error:
        what = f"--rocrate needs the package rocrate, which cannot be imported ({error})"
        raise SettingsError(what, mend="pip install rocrate") from error


def crate_metadata(published: Published, datacite: CrateFile) -> dict[str, Any]:
    """Make the content of ro-crate-metadata.json.

    Parameters
    ----------
    published : Published
    datacite : CrateFile
        The DataCite record beside it.

    Returns
    -------
    dict
        JSON-LD. What the record of the run lacks is absent.

    Raises
    ------
    SettingsError
        The package rocrate is absent.
    """
    require_rocrate()
    from rocrate.model.preview import Preview
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=VERSION)
    crate.add(Preview(crate, properties={"name": "This crate for people"}))
    root = crate.root_dataset
    for name, value in _of_root(crate, published).items():
        if value not in (None, [], ""):
            # A list of one is written as the one.
            root[name] = value[0] if isinstance(value, list) and len(value) == 1 else value
    parts = [_file(crate, file) for file in (*published.files, datacite)]
    _manifest(crate, [*(file.name for file in published.files), *ADDED])
    root["mentions"] = _sieving(crate, published, parts[: len(published.files)])
    told: dict[str, Any] = crate.metadata.generate()
    return told


def _of_root(crate: ROCrate, published: Published) -> dict[str, Any]:
    record, publication = published.record, published.publication
    notes = f" Notes on the source: {' '.join(record.problems)}" if record.problems else ""
    return {
        "name": published.title,
        "alternateName": record.stem,
        "description": published.description + notes,
        "identifier": _identifiers(crate, published),
        "datePublished": published.day,
        "dateCreated": record.date.isoformat(),
        "temporalCoverage": published.collected,
        "license": _licence(crate, published),
        "creator": [_person(crate, number, published) for number in range(len(publication.creators))],
        "publisher": _named(
            crate,
            publication.publisher_id or "#publisher",
            "Organization",
            publication.publisher,
            url=publication.publisher_id,
        ),
        "funder": _named(crate, "#funder", "Organization", publication.funder),
        "funding": _named(crate, "#award", "Grant", publication.award, identifier=publication.award),
        "keywords": ", ".join(published.keywords),
        "about": _named(crate, "#sample", "Thing", record.sample_name or record.sample_id, identifier=record.sample_id),
        "recordedAt": _experiment(crate, record.experiment),
        "locationCreated": _named(crate, "#place", "Place", published.place),
        "isBasedOn": _sources(crate, published),
        "measurementTechnique": SUBJECT,
        "variableMeasured": [
            _add(
                crate,
                f"#{quote(one.key)}",
                "PropertyValue",
                propertyID=one.key,
                name=one.name,
                value=one.value,
                unitText=one.unit,
                description=one.meaning,
            )
            for one in published.measured()
        ],
    }


def _add(crate: ROCrate, at: str, kind: str, **properties: Any) -> Entity:
    """Add an entity; what is None or empty is left out.

    Raises
    ------
    SettingsError
        The address that it is known by is that of another one.
    """
    if crate.get(at) is not None:
        raise SettingsError(f"{at} is given for two things", mend="give each its own address")
    known = {name: value for name, value in properties.items() if value is not None and value != ""}
    return crate.add_jsonld({"@id": at, "@type": kind, **known})


def _named(crate: ROCrate, at: str, kind: str, name: str | None, **properties: Any) -> Entity | None:
    """Add an entity of which little more than the name is known; None where not even that is."""
    return _add(crate, at, kind, name=name, **properties) if name else None


def _experiment(crate: ROCrate, identifier: str | None) -> Entity | None:
    return _named(crate, "#experiment", "Event", identifier and f"Experiment {identifier}", identifier=identifier)


def _identifiers(crate: ROCrate, published: Published) -> list[Any]:
    doi, record = published.publication.doi, published.record
    own = {"run": ("Run of hitsieve", record.id), "hits": ("SHA-256 of the hits", record.hits_digest)}
    told: list[Any] = [f"https://doi.org/{doi}"] if doi else []
    for key, (name, value) in own.items():
        if value:
            told.append(_add(crate, f"#identifier-{key}", "PropertyValue", propertyID=key, name=name, value=value))
    return told


def _licence(crate: ROCrate, published: Published) -> Entity:
    spdx, name, url = published.licence
    return _add(crate, url, "CreativeWork", name=name, identifier=spdx, url=url, description="Licence of this data set")


def _person(crate: ROCrate, number: int, published: Published) -> Entity:
    creator = published.publication.creators[number]
    family, _, given = (part.strip() for part in creator.name.partition(","))
    names = {"familyName": family, "givenName": given} if given else {}
    works = creator.affiliation and _organisation(crate, creator.affiliation)
    identifier = f"https://orcid.org/{creator.orcid}" if creator.orcid else f"#creator-{number + 1}"
    return _add(crate, identifier, "Person", name=creator.name, affiliation=works, **names)


def _organisation(crate: ROCrate, name: str) -> Entity:
    identifier = f"#organization-{quote(name)}"
    return crate.get(identifier) or _add(crate, identifier, "Organization", name=name)


def _sources(crate: ROCrate, published: Published) -> list[Entity]:
    """The raw data, and the run on which this is another verdict."""
    record, raw = published.record, published.raw
    path = Path(record.source_path)
    identifier = raw.url if raw else "#source"
    said = f"Images that were sieved; their file then was {path}"
    sources = [_add(crate, identifier, "CreativeWork", name=path.name, description=said, url=raw and raw.url)]
    if record.verdict_on:
        before = Path(record.verdict_on)
        said = f"Run on which this is another verdict; its summary then was {before}"
        sources.append(_add(crate, "#verdict_on", "CreativeWork", name=before.name, description=said))
    return sources


def _file(crate: ROCrate, file: CrateFile) -> Entity:
    properties: dict[str, Any] = {
        "name": file.name,
        "description": file.what,
        "contentSize": str(file.size),
        "encodingFormat": file.media_type,
        "sha256": file.sha256,
    }
    if file.nxmx:
        properties["conformsTo"] = _nxmx(crate)
    if file.name == DATACITE_FILE:
        properties["about"] = crate.root_dataset
    return crate.add_file(dest_path=file.name, properties=properties)


def _manifest(crate: ROCrate, names: list[str]) -> None:
    """Add the file that has the hashes of all others, the metadata too: its own is not known, but its size is."""
    properties = {
        "name": MANIFEST,
        "description": "SHA-256 of all other files",
        "contentSize": str(sum(len(manifest_line("0" * 64, name).encode()) for name in names if name != MANIFEST)),
        "encodingFormat": "text/plain",
    }
    crate.add_file(dest_path=MANIFEST, properties=properties)


def _nxmx(crate: ROCrate) -> Entity:
    return crate.get(NXMX) or _add(crate, NXMX, "CreativeWork", name="NXmx, application definition of NeXus")


def _sieving(crate: ROCrate, published: Published, results: list[Entity]) -> Entity:
    """How the files came to be."""
    record = published.record
    # A SoftwareApplication of a crate must have an address, and this program states none.
    program = _add(
        crate,
        "#program",
        "CreativeWork",
        additionalType="https://schema.org/SoftwareApplication",
        name=record.program,
        version=record.version,
        softwareVersion=record.version,
    )
    based = crate.root_dataset["isBasedOn"]
    sources = based if isinstance(based, list) else [based]
    given = {"settings": record.settings, "overrides": record.overrides}
    parameters = [
        _add(crate, f"#{name}", "PropertyValue", propertyID=name, name=f"All {name}", value=json.dumps(values))
        for name, values in given.items()
        if values
    ]
    return _add(
        crate,
        "#sieving",
        "CreateAction",
        name="Hit finding",
        instrument=program,
        object=[*sources, *parameters],
        result=results,
        startTime=(record.date - timedelta(seconds=record.seconds)).isoformat(),
        endTime=record.date.isoformat(),
    )
