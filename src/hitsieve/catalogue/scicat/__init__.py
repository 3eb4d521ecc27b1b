"""Talks to SciCat: brings a run there, once, and keeps what could not be sent."""

from hitsieve.catalogue.scicat.address import checked_url, quoted
from hitsieve.catalogue.scicat.answers import NotPermitted, Refused, Unavailable
from hitsieve.catalogue.scicat.archived import InArchive, LocalFile, in_archive
from hitsieve.catalogue.scicat.bodies import DataFile
from hitsieve.catalogue.scicat.client import PATIENCE, SciCat
from hitsieve.catalogue.scicat.credentials import PASSWORD, TOKEN, USER, Credentials, hide, known_credentials
from hitsieve.catalogue.scicat.facility import Facility, facility_names, read_facility
from hitsieve.catalogue.scicat.facts import Facts, all_facts, facts_of_texts, read_facts, wrong_facts
from hitsieve.catalogue.scicat.ingest import ingest
from hitsieve.catalogue.scicat.journal import Journal
from hitsieve.catalogue.scicat.outbox import Entry, Errand, Outbox, default_outbox
from hitsieve.catalogue.scicat.plan import Files, OtherContent, Plan, Registered, Report

__all__ = [
    "PASSWORD",
    "PATIENCE",
    "TOKEN",
    "USER",
    "Credentials",
    "DataFile",
    "Entry",
    "Errand",
    "Facility",
    "Facts",
    "Files",
    "InArchive",
    "Journal",
    "LocalFile",
    "NotPermitted",
    "OtherContent",
    "Outbox",
    "Plan",
    "Refused",
    "Registered",
    "Report",
    "SciCat",
    "Unavailable",
    "all_facts",
    "checked_url",
    "default_outbox",
    "facility_names",
    "facts_of_texts",
    "hide",
    "in_archive",
    "ingest",
    "known_credentials",
    "quoted",
    "read_facility",
    "read_facts",
    "wrong_facts",
]
