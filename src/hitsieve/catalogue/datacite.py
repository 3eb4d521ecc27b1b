"""The DataCite record of a published run (schema 4, as JSON)."""

from __future__ import annotations

from typing import Any

from hitsieve.catalogue.publication import Creator
from hitsieve.catalogue.published import Published

SCHEMA = "http://datacite.org/schema/kernel-4"
ROR = "https://ror.org/"
RESOURCE_TYPE = "Serial-crystallography hits"


def datacite(published: Published) -> dict[str, Any]:
    """Make the record, with what is known; see https://schema.datacite.org/meta/kernel-4.5/."""
    publication, record = published.publication, published.record
    told: dict[str, Any] = {
        "schemaVersion": SCHEMA,
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": RESOURCE_TYPE},
        "doi": publication.doi,
        "titles": [{"title": published.title}, {"title": record.stem, "titleType": "AlternativeTitle"}],
        "creators": [_creator(creator) for creator in publication.creators],
        "publisher": _publisher(published),
        "publicationYear": published.day[:4],
        "subjects": [{"subject": word} for word in published.keywords],
        "dates": _dates(published),
        "alternateIdentifiers": _identifiers(published),
        "relatedIdentifiers": _related(published),
        "sizes": [f"{published.size} bytes", f"{len(published.files)} files", f"{record.n_hits} images"],
        "formats": sorted({file.media_type for file in published.files}),
        "rightsList": [_rights(published)],
        "descriptions": _descriptions(published),
        "fundingReferences": _funding(published),
        "geoLocations": [{"geoLocationPlace": published.place}] if published.place else None,
    }
    return {name: value for name, value in told.items() if value not in (None, [])}


def _creator(creator: Creator) -> dict[str, Any]:
    family, comma, given = creator.name.partition(",")
    told: dict[str, Any] = {"name": creator.name}
    if comma and family.strip() and given.strip():
        told |= {"nameType": "Personal", "familyName": family.strip(), "givenName": given.strip()}
    if creator.orcid:
        identifier = f"https://orcid.org/{creator.orcid}"
        scheme = {"nameIdentifierScheme": "ORCID", "schemeUri": "https://orcid.org"}
        told |= {"nameIdentifiers": [{"nameIdentifier": identifier, **scheme}]}
    if creator.affiliation:
        told |= {"affiliation": [{"name": creator.affiliation}]}
    return told


def _publisher(published: Published) -> dict[str, str | None]:
    publication = published.publication
    told = {"name": publication.publisher}
    if publication.publisher_id and publication.publisher_id.startswith(ROR):
        scheme = {"publisherIdentifierScheme": "ROR", "schemeUri": ROR}
        told |= {"publisherIdentifier": publication.publisher_id, **scheme}
    return told


def _dates(published: Published) -> list[dict[str, str]]:
    dates = [
        {"date": published.day, "dateType": "Issued"},
        {"date": published.record.date.isoformat(), "dateType": "Created", "dateInformation": "hits found"},
    ]
    if published.collected:
        dates.append({"date": published.collected, "dateType": "Collected"})
    return dates


def _identifiers(published: Published) -> list[dict[str, str]]:
    record = published.record
    names = {"hitsieve run": record.id, "SHA-256 of the hits": record.hits_digest}
    return [{"alternateIdentifier": text, "alternateIdentifierType": kind} for kind, text in names.items() if text]


def _related(published: Published) -> list[dict[str, str]]:
    raw = published.raw
    if raw is None:
        return []
    return [{"relatedIdentifier": raw.value, "relatedIdentifierType": raw.kind, "relationType": "IsDerivedFrom"}]


def _rights(published: Published) -> dict[str, str]:
    spdx, name, url = published.licence
    rights = {"rights": name, "rightsUri": url}
    if spdx:
        scheme = {"rightsIdentifierScheme": "SPDX", "schemeUri": "https://spdx.org/licenses/"}
        rights |= {"rightsIdentifier": spdx, **scheme}
    return rights


def _descriptions(published: Published) -> list[dict[str, str]]:
    record = published.record
    methods = [f"{record.program} {record.version}.", *(f"{one.name}: {one.shown}." for one in published.measured())]
    if record.experiment:
        methods.insert(0, f"Experiment {record.experiment}.")
    descriptions = [
        {"description": published.description, "descriptionType": "Abstract"},
        {"description": " ".join(methods), "descriptionType": "Methods"},
    ]
    if record.problems:
        descriptions.append({"description": " ".join(record.problems), "descriptionType": "TechnicalInfo"})
    return descriptions


def _funding(published: Published) -> list[dict[str, str]]:
    publication = published.publication
    if publication.funder is None:
        return []
    award = {"awardNumber": publication.award} if publication.award else {}
    return [{"funderName": publication.funder, **award}]
