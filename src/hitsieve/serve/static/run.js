// The page of a run: which stretch of it is shown, in charts, in a sentence and in a table.

import { drawAlong, drawHistograms, drawLegend, element, leadOn } from "./charts.js";
import { drawGrid, startGrid } from "./grid.js";
import { count, joined, percent, stretch, sum, wilson } from "./numbers.js";

const told = JSON.parse(document.getElementById("run-data").textContent);
const WAIT = 150; // ms without a further move

let shown = null; // the stretch that is drawn
let asked = 0; // requests so far: an answer that was overtaken is not drawn

function say(part) {
  const hits = sum(part.hits);
  const searched = hits + sum(part.misses);
  const interval = wilson(hits / part.apart, searched / part.apart);
  const lost = ["unreadable", "missing"].map((what) => [sum(part[what]), what]).filter(([n]) => n).map(([n, what]) => `, ${count(n)} ${what}`).join("");
  const stops = part.segments.filter((one) => ["jet stopped", "beam off"].includes(one.kind) && one.last >= part.first && one.first <= part.last).length;
  const rate = searched ? ` (${percent(hits / searched)}, 95 % interval ${percent(interval[0])} to ${percent(interval[1])})` : "";
  element("span-words").textContent = `Images ${count(part.first)} to ${count(part.last)}: ${count(hits)} ${hits === 1 ? "hit" : "hits"} of ${count(searched)} searched${rate}${lost}.${stops ? ` The jet or the beam is off in ${stops} ${stops === 1 ? "stretch" : "stretches"}.` : ""}${part.whole && (part.first > 0 || part.last < part.n_images - 1) ? " Histograms are of the whole run." : ""}`;
  element("span-first").value = part.first;
  element("span-last").value = part.last;
  for (const button of document.querySelectorAll("[data-move]")) {
    const all = part.first === 0 && part.last === part.n_images - 1;
    button.disabled = { whole: all, out: all, in: part.first === part.last, back: part.first === 0, on: part.last === part.n_images - 1 }[button.dataset.move];
  }
}

function fillTable(part) {
  const n = part.hits.length;
  const rows = Math.min(n, 20);
  const few = joined(part, Array.from({ length: rows + 1 }, (_, k) => Math.floor((k * n) / rows)));
  element("bins").tBodies[0].replaceChildren(...few.hits.map((hits, k) => {
    const searched = hits + few.misses[k];
    const row = document.createElement("tr");
    const span = document.createElement(told.images && few.first_hit[k] >= 0 ? "a" : "span");
    if (span.tagName === "A") { span.href = `${told.images}/${few.first_hit[k]}`; span.title = "its first hit"; }
    span.textContent = few.edges[k + 1] - few.edges[k] === 1 ? count(few.edges[k]) : `${count(few.edges[k])} to ${count(few.edges[k + 1] - 1)}`;
    row.insertCell().append(span);
    const interval = searched ? `${percent(few.low[k])} to ${percent(few.high[k])}` : "–";
    const cells = [count(hits), count(searched), percent(searched ? hits / searched : null), interval, few.background.p50[k] ?? "–", count(few.unreadable[k]), count(few.missing[k])];
    for (const text of cells) { const cell = row.insertCell(); cell.className = "number"; cell.textContent = text; }
    return row;
  }));
}

// ---- moves

function draw(part) {
  shown = part;
  drawAlong(part);
  drawHistograms(part);
  drawLegend(part);
  fillTable(part);
  say(part);
  element("along").dataset.shown = `${part.first}-${part.last}`;
}

async function show(first, last) {
  const number = (asked += 1);
  const most = (shown?.n_images ?? told.n_images) - 1;
  const from = Math.min(Math.max(Math.round(first), 0), most);
  const to = Math.min(Math.max(Math.round(last), from), most);
  try {
    const part = await stretch(told, from, to, element("along").clientWidth);
    if (number !== asked) return;
    element("trouble").hidden = true;
    draw(part);
    const all = part.first === 0 && part.last === most;
    if (!told.stretch) history.replaceState(null, "", all ? location.pathname + location.search : `#${part.first}-${part.last}`);
  } catch (error) {
    if (number !== asked) return;
    element("trouble").textContent = `These images cannot be shown: ${error.message}.`;
    element("trouble").hidden = false;
  }
}

function move(how) {
  const length = shown.last - shown.first + 1;
  const middle = (shown.first + shown.last) / 2;
  if (how === "whole") show(0, shown.n_images - 1);
  if (how === "in") show(middle - length / 4, middle + length / 4);
  if (how === "out") show(middle - length, middle + length);
  const by = how === "back" ? -Math.min(Math.ceil(length / 2), shown.first) : Math.min(Math.ceil(length / 2), shown.n_images - 1 - shown.last);
  if (how === "back" || how === "on") show(shown.first + by, shown.last + by);
}

let waiting = 0;
function later(job) {
  clearTimeout(waiting);
  waiting = setTimeout(job, WAIT);
}

// The address may name the stretch: #FIRST-LAST.
function start() {
  const named = /^#(\d{1,12})-(\d{1,12})$/.exec(location.hash);
  return named ? [Number(named[1]), Number(named[2])] : [0, told.n_images - 1];
}

function listen() {
  const chart = element("along");
  chart.on("plotly_relayout", (change) => {
    if (change["xaxis.autorange"]) later(() => show(0, shown.n_images - 1));
    else if (change["xaxis.range[0]"] !== undefined) later(() => show(Math.ceil(change["xaxis.range[0]"]), Math.floor(change["xaxis.range[1]"])));
  });
  leadOn(chart, (point) => {
    const bin = point?.customdata;
    return told.images && bin ? `${told.images}/${bin.hit >= 0 ? bin.hit : bin.first}` : null;
  });
  for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
  element("span-form").addEventListener("submit", (event) => {
    event.preventDefault();
    show(Number(element("span-first").value), Number(element("span-last").value));
  });
  addEventListener("hashchange", () => show(...start()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    draw(shown);
    drawGrid();
  });
}

// ---- tables that can be sorted

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.hasAttribute("aria-sort"));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => (Number.isNaN(Number(value(a))) ? value(a).localeCompare(value(b), "en", { numeric: true }) : Number(value(a)) - Number(value(b)));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? order(a, b) : order(b, a)));
      table.tBodies[0].append(...rows);
    });
  });
}

for (const table of document.querySelectorAll("table.sortable")) sortable(table);
if (typeof Plotly === "undefined") {
  element("trouble").textContent = "The charts cannot be drawn: the script that draws them did not come (pip install plotly).";
  element("trouble").hidden = false;
} else {
  await show(...start());
  if (shown) listen();
  await startGrid(told);
}
