"""Whether a file is what NXmx, the MX Gold Standard and hit information ask for; and its completion from a template."""

from hitsieve.check.examine import examine
from hitsieve.check.fill import Filled, fill
from hitsieve.check.findings import Checked, Finding, Severity
from hitsieve.check.guard import Guard
from hitsieve.check.rules import RULE_SETS, Place, rule_book
from hitsieve.check.template import Given, read_template, write_template

__all__ = [
    "RULE_SETS",
    "Checked",
    "Filled",
    "Finding",
    "Given",
    "Guard",
    "Place",
    "Severity",
    "examine",
    "fill",
    "read_template",
    "rule_book",
    "write_template",
]
