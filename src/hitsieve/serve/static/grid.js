// A grid scan from above.

import { axis, colour, config, element, leadOn, look } from "./charts.js";
import { count, fetched, sum } from "./numbers.js";

let about = null; // what the page says of the run
let grid = null; // the part that is shown
let at = null; // the square that the keyboard is at: [row, column] of those shown

// Draw what is shown of the grid, again where it was drawn before.
export function drawGrid() {
  if (!grid) return;
  const { column_edges: across, row_edges: down } = grid;
  const what = element("grid-shows").value;
  const each = (make) => grid.images.map((row, j) => row.map((_, i) => make(j, i)));
  const z = each((j, i) => (grid.searched[j][i] ? (what === "rate" ? grid.hits[j][i] / grid.searched[j][i] : Math.log10(1 + grid.spots[j][i])) : null));
  const text = each((j, i) => squareInWords(j, i).join("<br>"));
  const trace = {
    type: "heatmap", x: across.slice(0, -1).map((edge, k) => (edge + across[k + 1] - 1) / 2), y: down.slice(0, -1).map((edge, k) => (edge + down[k + 1] - 1) / 2),
    z, text, customdata: grid.image, hoverinfo: "text", xgap: 1, ygap: 1, zmin: 0, zmax: what === "rate" ? Math.max(0.01, ...z.flat()) : undefined,
    colorscale: [[0, colour("faint")], [1, colour("hit")]],
    colorbar: { thickness: 10, outlinewidth: 0, tickformat: what === "rate" ? ",.3~%" : "", ...(what === "rate" ? {} : { tickvals: [0, 1, 2, 3], ticktext: ["0", "9", "99", "999"] }) },
  };
  const layout = look({ margin: { l: 52, r: 4, t: 8, b: 40 }, xaxis: axis("column", { nticks: 8, showgrid: false }), yaxis: axis("row", { autorange: "reversed", nticks: 8, showgrid: false }) });
  layout.shapes = marked();
  Plotly.react(element("grid"), [trace], layout, config);
  const outside = grid.outside ? ` ${count(grid.outside)} images lie beyond it.` : "";
  element("grid-words").textContent = `${count(grid.columns)} columns and ${count(grid.rows)} rows (${grid.origin}); ${count(sum(grid.hits.map(sum)))} hits in ${count(sum(grid.images.map(sum)))} images shown.${outside}`;
  element("grid").dataset.shown = `${across[0]}-${across[across.length - 1] - 1}`;
}

const range = (edges, k) => (edges[k + 1] - edges[k] === 1 ? `${edges[k]}` : `${edges[k]} to ${edges[k + 1] - 1}`);

function squareInWords(j, i) {
  const found = `${grid.hits[j][i]} ${grid.hits[j][i] === 1 ? "hit" : "hits"} of ${grid.searched[j][i]} searched, ${grid.images[j][i]} ${grid.images[j][i] === 1 ? "image" : "images"}`;
  return [`column ${range(grid.column_edges, i)}, row ${range(grid.row_edges, j)}`, found, ...(grid.searched[j][i] ? [`${grid.spots[j][i]} spots at most`] : [])];
}

// ---- by keyboard

function marked() {
  if (!at || document.activeElement !== element("grid")) return [];
  const { column_edges: across, row_edges: down } = grid;
  const [j, i] = at;
  const sides = { x0: across[i] - 0.5, x1: across[i + 1] - 0.5, y0: down[j] - 0.5, y1: down[j + 1] - 0.5 };
  // Two lines: one of them is seen on any colour.
  return [["panel", 5], ["ink", 2]].map(([name, width]) => ({ type: "rect", ...sides, line: { color: colour(name), width } }));
}

function markSquare() {
  element("grid-at").textContent = at ? `${squareInWords(...at).join("; ")}.` : "\u00a0";
  Plotly.relayout(element("grid"), { shapes: marked() });
}

function imageAt([j, i]) {
  return about.images && grid.image[j][i] >= 0 ? `${about.images}/${grid.image[j][i]}` : null;
}

// The part around the square, half as wide and as high; where squares hold one image each, all is seen already.
function closer([j, i]) {
  const half = (edges, k) => {
    const [first, last] = [edges[0], edges[edges.length - 1] - 1];
    const length = Math.max(1, Math.round((last - first + 1) / 2));
    const from = Math.min(Math.max(first, Math.round((edges[k] + edges[k + 1] - length) / 2)), last - length + 1);
    return [from, from + length - 1];
  };
  const [left, right] = half(grid.column_edges, i);
  const [top, bottom] = half(grid.row_edges, j);
  return { first_column: left, last_column: right, first_row: top, last_row: bottom };
}

function press(event) {
  if (!grid || event.ctrlKey || event.metaKey || event.altKey || event.target !== element("grid")) return;
  const [rows, columns] = [grid.images.length, grid.images[0].length];
  const [j, i] = at;
  const to = {
    ArrowLeft: [j, Math.max(i - 1, 0)],
    ArrowRight: [j, Math.min(i + 1, columns - 1)],
    ArrowUp: [Math.max(j - 1, 0), i],
    ArrowDown: [Math.min(j + 1, rows - 1), i],
    Home: [j, 0],
    End: [j, columns - 1],
  }[event.key];
  if (to) {
    at = to;
    markSquare();
  } else if (event.key === "Enter" && imageAt(at)) location.assign(imageAt(at));
  else if (["+", "="].includes(event.key) && !about.grid) showGrid(closer(at));
  else if (event.key === "0" && !about.grid) showGrid({});
  else return;
  event.preventDefault();
}

// The square of another part that holds the middle of the one before.
function sameSquare(before) {
  const among = (edges, value) => Math.min(Math.max(edges.findLastIndex((edge) => edge <= value), 0), edges.length - 2);
  if (!before || !at) return [0, 0];
  const [down, across] = [before.row_edges, before.column_edges].map((edges, k) => Math.floor((edges[at[k]] + edges[at[k] + 1] - 1) / 2));
  return [among(grid.row_edges, down), among(grid.column_edges, across)];
}

async function showGrid(window_) {
  try {
    const before = grid;
    if (about.grid) grid = about.grid;
    else grid = await fetched(`${about.api}/grid?${new URLSearchParams({ grid: about.grid_text, ...window_ })}`);
    at = sameSquare(before);
    drawGrid();
    if (document.activeElement === element("grid")) markSquare();
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
  element("grid").addEventListener("keydown", press);
  element("grid").addEventListener("focus", markSquare);
  element("grid").addEventListener("blur", () => Plotly.relayout(element("grid"), { shapes: [] }));
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
