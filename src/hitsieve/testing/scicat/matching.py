"""Which data sets a query of the server finds: MongoDB's language, and that of the web page with its faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hitsieve.testing.scicat.quantities import to_si
from hitsieve.testing.scicat.refusal import Refusal

Document = Mapping[str, Any]
Where = Mapping[str, Any]
_RELATIONS = {
    "GREATER_THAN": "$gt",
    "LESS_THAN": "$lt",
    "GREATER_THAN_OR_EQUAL": "$gte",
    "LESS_THAN_OR_EQUAL": "$lte",
}


def matches(document: Document, where: Where) -> bool:
    """Whether a document satisfies a MongoDB query.

    Raises
    ------
    Refusal
        An operator is not known.
    """
    return all(_is_so(document, key, wanted) for key, wanted in where.items())


def _is_so(document: Document, key: str, wanted: Any) -> bool:
    if key == "$and":
        return all(matches(document, part) for part in wanted)
    if key in ("$or", "$nor"):
        return any(matches(document, part) for part in wanted) is (key == "$or")
    if key == "$text":
        return _has_word(document, str(wanted["$search"]))
    return _satisfies(_values(document, key.split(".")), wanted)


def scientific(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    """Turn the web page's conditions on scientificMetadata into a MongoDB query, as the server does.

    Conditions with a unit are kept by key, so that of two on one key the first is dropped. EQUAL_TO_NUMERIC and RANGE
    look at `.value` alone: a bare number is missed. So is what is nested, or has a dot in its key.
    """
    query: dict[str, Any] = {}
    several: list[dict[str, Any]] = []
    for condition in conditions:
        # The server takes a dot for a letter of the key: what is nested is not found.
        name = f"scientificMetadata.{str(condition['lhs']).replace('.', '%2E')}"
        relation = condition.get("relation")
        right, unit = condition.get("rhs"), condition.get("unit") or ""
        if relation == "EQUAL_TO_STRING":
            several.append(_anywhere(name, {"$eq": right}))
        elif relation == "CONTAINS_STRING":
            # The server puts the pattern where MongoDB expects an operator.
            several.append(_anywhere(name, {f"/{right}/": right}))
        elif relation == "EQUAL_TO_NUMERIC":
            query |= _with_unit(name, {"$eq": right}, unit) if unit else {f"{name}.value": {"$eq": right}}
        elif relation == "RANGE" and isinstance(right, list) and len(right) == 2:
            ends = {"$gt": right[0], "$lt": right[1]}
            query |= _with_unit(name, ends, unit) if unit else {f"{name}.value": ends}
        elif relation in _RELATIONS:
            ends = {_RELATIONS[relation]: right}
            if unit:
                query |= _with_unit(name, ends, unit)
            else:
                several.append(_anywhere(name, ends))
    if len(several) == 1:
        query["$or"] = several[0]["$or"]
    elif several:
        query["$and"] = several
    return query


def fullquery(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn the fields of a full query into a MongoDB query."""
    query: dict[str, Any] = {}
    for name, wanted in fields.items():
        if name == "scientific":
            query |= scientific(wanted)
        elif name == "mode":
            query |= wanted
        elif name == "text":
            query["$text"] = {"$search": wanted}
        elif name == "userGroups":
            access = {"$or": [{"ownerGroup": {"$in": wanted}}, {"accessGroups": {"$in": wanted}}]}
            query["$and"] = [*query.get("$and", []), access]
        elif isinstance(wanted, dict) and {"begin", "end"} <= set(wanted):
            query[name] = {"$gte": wanted["begin"], "$lte": wanted["end"]}
        else:
            query[name] = {"$in": wanted} if isinstance(wanted, list) else wanted
    return query


def _anywhere(name: str, operators: dict[str, Any]) -> dict[str, Any]:
    return {"$or": [{f"{name}{suffix}": operators} for suffix in ("", ".v", ".value")]}


def _with_unit(name: str, ends: dict[str, Any], unit: str) -> dict[str, Any]:
    converted = {operator: to_si(value, unit) for operator, value in ends.items()}
    si = next(iter(converted.values()))[1]
    return {
        f"{name}.valueSI": {operator: value for operator, (value, _) in converted.items()},
        f"{name}.unitSI": {"$eq": si},
    }


def _values(item: Any, path: list[str]) -> list[Any]:
    """What lies at a path; of lists, what lies there in each of their items as well."""
    if not path:
        return [item, *item] if isinstance(item, list) else [item]
    if isinstance(item, list):
        return [value for inner in item for value in _values(inner, path)]
    if isinstance(item, Mapping) and path[0] in item:
        return _values(item[path[0]], path[1:])
    return []


def _satisfies(values: list[Any], wanted: Any) -> bool:
    if not isinstance(wanted, Mapping) or not any(str(key).startswith("$") for key in wanted):
        if isinstance(wanted, Mapping) and any(str(key).startswith("/") for key in wanted):
            raise Refusal(500, "Internal server error")
        return any(_equal(value, wanted) for value in values or [None])
    options = str(wanted.get("$options", ""))
    return all(
        _holds(values, str(operator), right, options) for operator, right in wanted.items() if operator != "$options"
    )


def _holds(values: list[Any], operator: str, right: Any, options: str) -> bool:
    if operator == "$not":
        return not _satisfies(values, right)
    if operator in ("$ne", "$nin"):
        return not _holds(values, {"$ne": "$eq", "$nin": "$in"}[operator], right, options)
    if operator == "$exists":
        return bool(values) is bool(right)
    if operator in ("$eq", "$in"):
        wanted = right if operator == "$in" else [right]
        return any(_equal(value, one) for value in values or [None] for one in wanted)
    if operator == "$regex":
        pattern = re.compile(right, re.IGNORECASE if "i" in options else 0)
        return any(isinstance(value, str) and pattern.search(value) is not None for value in values)
    if operator not in _COMPARE:
        raise Refusal(400, f"unknown operator: {operator}")
    return any(_same_kind(value, right) and _COMPARE[operator](value, right) for value in values)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda a, b: bool(a > b),
    "$gte": lambda a, b: bool(a >= b),
    "$lt": lambda a, b: bool(a < b),
    "$lte": lambda a, b: bool(a <= b),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_kind(a: Any, b: Any) -> bool:
    """Numbers are compared with numbers and texts with texts; other pairs are in no order."""
    return (_is_number(a) and _is_number(b)) or (isinstance(a, str) and isinstance(b, str))


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) is isinstance(b, bool)


def _has_word(document: Document, text: str) -> bool:
    wanted = {word.lower() for word in re.findall(r"\w+", text)}
    return any(word.lower() in wanted for value in _texts(document) for word in re.findall(r"\w+", value))


def _texts(item: Any) -> list[str]:
    if isinstance(item, str):
        return [item]
    inner = item.values() if isinstance(item, Mapping) else item if isinstance(item, list) else ()
    return [text for value in inner for text in _texts(value)]
