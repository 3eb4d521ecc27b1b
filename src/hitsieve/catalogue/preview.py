"""The page of a crate for people: what it is, who made it, what was measured, which files it has."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from hitsieve.catalogue.published import MANIFEST, CrateFile, Published

_STYLE = """
body { font-family: sans-serif; color: #222; max-width: 60em; margin: 2em auto; padding: 0 1em; line-height: 1.4 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { text-align: left; vertical-align: top; padding: 0.2em 1em 0.2em 0; border-bottom: 1px solid #ddd }
code { font-size: 0.8em; overflow-wrap: anywhere }
"""
_LEFT_OUT = """The misses and the raw images are not here. The annotated master is not either: it shows the raw images
by links, which lead nowhere without them. The table of images has the verdict on every image of the run."""


def preview(published: Published, datacite: CrateFile) -> str:
    """Make the page; every word of others is escaped."""
    spdx, name, url = published.licence
    publication = published.publication
    facts = {
        "Creators": "; ".join(creator.name for creator in publication.creators),
        "Publisher": publication.publisher,
        "Published": published.day,
        "DOI": publication.doi,
        "Raw data": published.raw.url if published.raw else None,
        "Sample": published.record.sample_name,
        "Experiment": published.record.experiment,
        "Measured at": published.place,
        "Measured": published.collected,
    }
    rows = [(escape(key), escape(value)) for key, value in facts.items() if value]
    rows.append(("Licence", f'<a href="{escape(url)}">{escape(spdx or name)}</a>'))
    numbers = ((escape(one.name), escape(one.shown)) for one in published.measured())
    title, notes = escape(published.title), "".join(f"<li>{escape(line)}</li>" for line in published.record.problems)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>
<body>
<h1>{title}</h1>
<p>{escape(published.description)}</p>
{_table(rows)}
<h2>Files</h2>
{_table(_file(file) for file in (*published.files, datacite))}
<p>{_LEFT_OUT}</p>
<p>Check all files with <code>sha256sum -c {MANIFEST}</code>,
and every stored image with <code>hitsieve verify</code>.</p>
<h2>Measured</h2>
{_table(numbers)}
{f"<h2>Notes on the source</h2><ul>{notes}</ul>" if notes else ""}
</body>
</html>
"""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><th>{head}</th><td>{value}</td></tr>" for head, value in rows)
    return f"<table>\n{chr(10).join(lines)}\n</table>"


def _file(file: CrateFile) -> tuple[str, str]:
    link = f'<a href="{quote(file.name)}">{escape(file.name)}</a>'
    return link, f"{escape(file.what)}, {file.size:,} bytes<br><code>SHA-256 {file.sha256}</code>"
