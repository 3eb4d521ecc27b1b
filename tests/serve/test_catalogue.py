"""The page of all datasets."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient


def test_first_page(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "pumped" in answer.text


@pytest.mark.browser
def test_charts_are_drawn_under_the_policy(page: Any) -> None:
    page.goto("/")
    page.add_script_tag(url="/static/plotly.min.js")
    page.evaluate(
        """() => {
          const place = document.body.appendChild(document.createElement("div"));
          place.id = "chart";
          return Plotly.newPlot(place, [{y: [1, 3]}, {y: [1, 3], type: "scattergl"}, {z: [[1, 2]], type: "heatmap"}]);
        }"""
    )
    page.wait_for_selector("#chart .main-svg")
