// A grid scan from above.

import { axis, colour, config, element, leadOn, look } from "./charts.js";
import { count, fetched, sum } from "./numbers.js";

let about = null; // what the page says of the run
let grid = null; // the part that is shown

// Draw what is shown of the grid, again where it was drawn before.
export function drawGrid() {
  if (!grid) return;
  const { column_edges: across, row_edges: down } = grid;
  const what = element("grid-shows").value;
  const each = (make) => grid.images.map((row, j) => row.map((_, i) => make(j, i)));
  const z = each((j, i) => (grid.searched[j][i] ? (what === "rate" ? grid.hits[j][i] / grid.searched[j][i] : Math.log10(1 + grid.spots[j][i])) : null));
  const text = each((j, i) => `column ${range(across, i)}, row ${range(down, j)}<br>${grid.hits[j][i]} hits of ${grid.searched[j][i]} searched, ${grid.images[j][i]} images${grid.searched[j][i] ? `<br>${grid.spots[j][i]} spots at most` : ""}`);
  const trace = {
    type: "heatmap", x: across.slice(0, -1).map((edge, k) => (edge + across[k + 1] - 1) / 2), y: down.slice(0, -1).map((edge, k) => (edge + down[k + 1] - 1) / 2),
    z, text, customdata: grid.image, hoverinfo: "text", xgap: 1, ygap: 1, zmin: 0, zmax: what === "rate" ? Math.max(0.01, ...z.flat()) : undefined,
    colorscale: [[0, colour("faint")], [1, colour("hit")]],
    colorbar: { thickness: 10, outlinewidth: 0, tickformat: what === "rate" ? ",.3~%" : "", ...(what === "rate" ? {} : { tickvals: [0, 1, 2, 3], ticktext: ["0", "9", "99", "999"] }) },
  };
  const layout = look({ margin: { l: 52, r: 4, t: 8, b: 40 }, xaxis: axis("column", { nticks: 8, showgrid: false }), yaxis: axis("row", { autorange: "reversed", nticks: 8, showgrid: false }) });
  Plotly.react(element("grid"), [trace], layout, config);
  const outside = grid.outside ? ` ${count(grid.outside)} images lie beyond it.` : "";
  element("grid-words").textContent = `${count(grid.columns)} columns and ${count(grid.rows)} rows (${grid.origin}); ${count(sum(grid.hits.map(sum)))} hits in ${count(sum(grid.images.map(sum)))} images shown.${outside}`;
  element("grid").dataset.shown = `${across[0]}-${across[across.length - 1] - 1}`;
}

const range = (edges, k) => (edges[k + 1] - edges[k] === 1 ? `${edges[k]}` : `${edges[k]} to ${edges[k + 1] - 1}`);

async function showGrid(window_) {
  try {
    if (about.grid) grid = about.grid;
    else grid = await fetched(`${about.api}/grid?${new URLSearchParams({ grid: about.grid_text, ...window_ })}`);
    drawGrid();
  } catch (error) {
    element("grid-words").textContent = `The grid cannot be shown: ${error.message}.`;
  }
}

// Show the grid of a run, where its page has one.
export async function startGrid(told) {
  about = told;
  if (!element("grid")) return;
  await showGrid({});
  if (!grid) return;
  element("grid-shows").addEventListener("change", drawGrid);
  element("grid-whole").addEventListener("click", () => showGrid({}));
  leadOn(element("grid"), (point) => (told.images && point?.customdata >= 0 ? `${told.images}/${point.customdata}` : null));
  element("grid").on("plotly_relayout", (change) => {
    if (told.grid) return;
    const ends = ["xaxis.range[0]", "xaxis.range[1]", "yaxis.range[1]", "yaxis.range[0]"].map((name) => change[name]);
    if (ends.every((end) => end !== undefined)) {
      const [left, right, top, bottom] = ends.map((end) => Math.max(0, Math.round(end)));
      showGrid({ first_column: left, last_column: Math.max(left, right), first_row: top, last_row: Math.max(top, bottom) });
    } else if (change["xaxis.autorange"]) showGrid({});
  });
}
