"""Runs of a catalogue whose lattice is near that of a query."""

from __future__ import annotations

import math
import sqlite3

import numpy as np

from hitsieve.catalogue.celldistance import NearLattice, possible_centrings, reduced_metric
from hitsieve.catalogue.conditions import Cell
from hitsieve.catalogue.schema import METRIC


def near_table(connection: sqlite3.Connection, cell: Cell, near: list[dict[int, float]]) -> str:
    """Make a temporary table of the runs whose lattice is near; its name.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction, which ends the table.
    cell : Cell
    near : list of dict
        How near each is, by the keys of the runs, is appended.
    """
    most = math.log1p(cell.most)
    names = (cell.centring,) if cell.centring else possible_centrings(cell.parameters)
    strains: dict[int, float] = {}
    for centring in names:
        lattice = NearLattice(reduced_metric(cell.parameters, centring), most)
        bounds = [float(x) ** 2 for pair in zip(lattice.shortest, lattice.longest, strict=True) for x in pair]
        asked = " AND ".join(f"g{i} BETWEEN ? AND ?" for i in range(3))
        text = f"SELECT key, {', '.join(METRIC)} FROM facts WHERE {asked}"  # noqa: S608 - our own names
        rows = np.array(connection.execute(text, bounds).fetchall(), dtype=np.float64).reshape(-1, 7)
        for key, strain in zip(rows[:, 0].astype(int).tolist(), lattice.distances(rows[:, 1:]).tolist(), strict=True):
            if math.isfinite(strain):
                strains[key] = min(strains.get(key, math.inf), math.expm1(strain))
    table = f"temp.near{len(near)}"
    near.append(strains)
    connection.execute(f"CREATE TEMPORARY TABLE {table.removeprefix('temp.')} (key INTEGER PRIMARY KEY, strain REAL)")
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", strains.items())  # noqa: S608
    return table
