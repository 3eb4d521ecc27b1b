// What the charts of a run look like.

import { count, percent, sum } from "./numbers.js";
import { tabulate } from "./tables.js";

const STATES = ["missing", "unreadable", "miss", "hit"];
const FEW = 20; // images in the largest bin: more are drawn on a logarithmic axis
const PATIENCE = 350; // ms: the first click of two leads nowhere
const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "star"];
const DASHES = ["solid", "dash"];
// Only what draws and moves: other buttons of the library would send the data elsewhere.
export const config = { responsive: true, doubleClick: "autosize", displaylogo: false, showTips: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]] };

export const element = (id) => document.getElementById(id);
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function look(more) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colour("sans"), size: 12, color: colour("ink") },
    margin: { l: 58, r: 10, t: 8, b: 40 },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
    modebar: { color: colour("soft"), activecolor: colour("accent"), bgcolor: "rgba(0,0,0,0)" },
    showlegend: false,
    dragmode: "zoom",
    ...more,
  };
}

export function axis(title, more) {
  return {
    title: { text: title, font: { size: 12, color: colour("soft") }, standoff: 6 },
    gridcolor: colour("line"),
    linecolor: colour("line"),
    zeroline: false,
    automargin: true,
    ...more,
  };
}

const centres = (edges) => edges.slice(1).map((edge, k) => (edges[k] + edge - 1) / 2);
const isSingle = (part) => part.edges.length - 1 === part.last - part.first + 1;

export function drawAlong(part) {
  const chart = element("along");
  const pumped = part.pump.states.length > 0;
  chart.classList.toggle("pumped", pumped);
  const single = isSingle(part);
  const rows = pumped ? ["rate", "pump", "spots", "background"] : ["rate", "spots", "background"];
  const heights = pumped ? [0.34, 0.22, 0.22, 0.22] : [0.44, 0.28, 0.28];
  const layout = look({ hovermode: "closest", hoverdistance: 40, margin: { l: 58, r: 10, t: 8, b: 44 }, shapes: shades(part) });
  let top = 1;
  rows.forEach((row, k) => {
    const bottom = top - heights[k];
    layout[`yaxis${k ? k + 1 : ""}`] = { ...rowAxis(row, part, single), domain: [k === rows.length - 1 ? 0 : bottom + 0.035, top], fixedrange: true, anchor: "x" };
    top = bottom;
  });
  layout.xaxis = axis("image", { range: [part.first - 0.5, part.last + 0.5], anchor: `y${rows.length}`, tickformat: ",d", nticks: 8, dtick: part.last - part.first < 8 ? 1 : undefined });
  const traces = rows.flatMap((row, k) => rowTraces(row, part, single).map((trace) => ({ ...trace, yaxis: `y${k ? k + 1 : ""}` })));
  Plotly.react(chart, traces, layout, config);
}

function rowAxis(row, part, single) {
  if (row === "rate" && single) return axis("", { range: [-0.5, 3.5], tickvals: [0, 1, 2, 3], ticktext: STATES });
  if (row === "rate") return axis("hit rate", { rangemode: "tozero", tickformat: ",.3~%", nticks: 5 });
  if (row === "spots") return axis(single ? "spots" : "most spots", { rangemode: "tozero", nticks: 4 });
  if (row === "background") return axis("background", { rangemode: "tozero", nticks: 4 });
  const names = part.pump.states.map((state) => cut(state.name, 12));
  if (part.pump.of_image) return axis("", { range: [-0.6, names.length - 0.4], tickvals: names.map((_, k) => k), ticktext: names });
  return axis("by state", { rangemode: "tozero", tickformat: ",.3~%", nticks: 4 });
}

function rowTraces(row, part, single) {
  const x = centres(part.edges);
  const customdata = x.map((_, k) => ({ first: part.edges[k], last: part.edges[k + 1] - 1, hit: part.first_hit[k] }));
  const images = x.map((_, k) => (single ? `image ${count(part.edges[k])}` : `images ${count(part.edges[k])} to ${count(part.edges[k + 1] - 1)}`));
  if (row === "rate" && single) return singles(part, x, customdata);
  if (row === "rate") return rates(part, x, customdata, images);
  if (row === "pump") return pumpTraces(part, x);
  if (row === "spots") {
    const text = images.map((words, k) => `${words}<br>${part.spots[k] === null ? "not searched" : `${part.spots[k]} spots${single ? "" : " at most"}`}`);
    const mode = single ? "markers" : "lines";
    return [{ x, y: part.spots, text, customdata, mode, hoverinfo: "text", line: { color: colour("ink"), width: 1, shape: "hvh" }, marker: { color: colour("ink"), size: 4 } }];
  }
  const { p10, p50, p90 } = part.background;
  const text = images.map((words, k) => `${words}<br>${p50[k] === null ? "not searched" : `${p50[k]} counts a pixel`}`);
  const line = { x, y: p50, text, customdata, mode: single ? "lines+markers" : "lines", marker: { color: colour("accent"), size: 3 }, hoverinfo: "text", line: { color: colour("accent"), width: 1.2, shape: "hvh" } };
  return single ? [line] : [band(x, p10, p90, "accent"), line];
}

function rates(part, x, customdata, images) {
  const y = part.hits.map((n, k) => (n + part.misses[k] ? n / (n + part.misses[k]) : null));
  const text = images.map((words, k) => {
    const lost = part.unreadable[k] + part.missing[k];
    const rate = y[k] === null ? "nothing searched" : `${percent(y[k])} (${percent(part.low[k])} to ${percent(part.high[k])})`;
    return `${words}<br>${count(part.hits[k])} hits of ${count(part.hits[k] + part.misses[k])}: ${rate}${lost ? `<br>${count(lost)} unreadable or missing` : ""}`;
  });
  const line = { x, y, text, customdata, mode: "lines", hoverinfo: "text", line: { color: colour("hit"), width: 1.6, shape: "hvh" } };
  return [band(x, part.low, part.high, "hit"), line];
}

// Between two lines, as polygons: there are gaps where nothing was searched.
function band(x, low, high, name) {
  const across = [];
  const up = [];
  let start = 0;
  for (let k = 0; k <= x.length; k += 1) {
    if (k < x.length && low[k] !== null) continue;
    if (k > start) {
      const places = Array.from({ length: k - start }, (_, i) => start + i);
      const back = [...places].reverse();
      across.push(...places.map((i) => x[i]), ...back.map((i) => x[i]), null);
      up.push(...places.map((i) => low[i]), ...back.map((i) => high[i]), null);
    }
    start = k + 1;
  }
  return { x: across, y: up, mode: "lines", fill: "toself", hoverinfo: "skip", opacity: 0.25, line: { width: 0, color: colour(name), shape: "hvh" }, fillcolor: colour(name) };
}

function singles(part, x, customdata) {
  const of = x.map((_, k) => (part.hits[k] ? 3 : part.misses[k] ? 2 : part.unreadable[k] ? 1 : 0));
  return STATES.flatMap((state, level) => {
    const places = of.map((one, k) => (one === level ? k : -1)).filter((k) => k >= 0);
    if (!places.length) return [];
    const mine = (values) => places.map((k) => values[k]);
    const text = places.map((k) => `image ${count(part.edges[k])}: ${state}${part.spots[k] === null ? "" : `<br>${part.spots[k]} spots`}`);
    const marker = { color: colour(state), size: state === "hit" ? 8 : 6, symbol: SYMBOLS[level] };
    return [{ x: mine(x), y: places.map(() => level), text, customdata: mine(customdata), mode: "markers", hoverinfo: "text", marker }];
  });
}

function pumpLook(number) {
  return { colour: colour(`pump-${number % 6}`), dash: DASHES[Math.floor(number / 6) % 2], symbol: SYMBOLS[number % 6] };
}

function pumpTraces(part, x) {
  return part.pump.states.map((state, rank) => {
    const drawn = pumpLook(state.number);
    const marker = { color: drawn.colour, symbol: drawn.symbol, size: 5 };
    if (part.pump.of_image) {
      const places = part.pump.of_image.map((one, k) => (one === rank ? k : -1)).filter((k) => k >= 0);
      const text = places.map((k) => `image ${count(part.edges[k])}: ${plain(state.name)}`);
      return { x: places.map((k) => x[k]), y: places.map(() => rank), text, mode: "markers", hoverinfo: "text", marker };
    }
    const y = state.hits.map((n, k) => (state.searched[k] ? n / state.searched[k] : null));
    const text = y.map((rate, k) => `${plain(state.name)}<br>${count(state.hits[k])} hits of ${count(state.searched[k])}: ${percent(rate)}`);
    const line = { color: drawn.colour, dash: drawn.dash, width: 1.4 };
    return { x: centres(part.pump.edges), y, text, mode: y.length > 40 ? "lines" : "lines+markers", hoverinfo: "text", line, marker };
  });
}

// Plotly reads tags in what it writes.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const cut = (text, most) => plain(text.length > most ? `${text.slice(0, most - 1)}…` : text);

const SHADES = { "jet stopped": ["stop", 1], "beam off": ["missing", 0.25], ice: ["pump-5", 0.15], unknown: ["soft", 0.12] };

function shades(part) {
  return part.segments.map((one) => {
    const [name, opacity] = SHADES[one.kind] ?? SHADES.unknown;
    return { type: "rect", xref: "x", yref: "paper", x0: one.first - 0.5, x1: one.last + 0.5, y0: 0, y1: 1, layer: "below", fillcolor: colour(name), opacity, line: { width: 0 }, name: one.kind };
  });
}

export function drawHistograms(part) {
  const { spots, resolution, cell } = part.histograms;
  const log = (value) => Math.log(value + 1);
  const edges = spots.edges.map(log);
  const most = spots.edges[spots.edges.length - 1];
  const ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].filter((tick) => tick < most);
  const names = spots.edges.slice(0, -1).map((edge, k) => (spots.edges[k + 1] - edge === 1 ? `${edge} spots` : `${edge} to ${spots.edges[k + 1] - 1} spots`));
  const enough = part.min_spots === null ? [] : [{ type: "line", x0: log(part.min_spots), x1: log(part.min_spots), yref: "paper", y0: 0, y1: 1, line: { color: colour("warn"), width: 1.5, dash: "dash" } }];
  const places = ticks.map((tick) => (tick < 12 ? Math.log(tick + 1.5) : log(tick)));
  bars("spots", edges, spots, names, { title: "spots that count", tickvals: places, ticktext: ticks.map(String) }, enough);
  const steps = resolution.edges.slice(1).map((edge, k) => `${resolution.edges[k].toFixed(2)} to ${edge.toFixed(2)} Å`);
  bars("resolution", resolution.edges, resolution, steps, { title: "resolution (Å)", autorange: "reversed" }, []);
  cell.forEach((one, k) => {
    const between = one.edges.slice(1).map((edge, i) => `${one.edges[i]} to ${edge} ${one.unit}`);
    bars(`cell-${k}`, one.edges, { hits: one.hits }, between, { nticks: 4, tickangle: 0, small: true }, []);
  });
}

function bars(id, edges, counts, names, look_, shapes) {
  const chart = element(id);
  if (!chart) return;
  tabulate(`${id}-table`, names, counts);
  const { title = "", small = false, ...ticks } = look_;
  const x = edges.slice(1).map((edge, k) => (edges[k] + edge) / 2);
  const width = edges.slice(1).map((edge, k) => edge - edges[k]);
  const trace = (what, name) => ({
    type: "bar", x, y: counts[what], width, hoverinfo: "text", opacity: what === "hits" && counts.misses ? 0.8 : 1,
    text: counts[what].map((n, k) => `${names[k]}<br>${count(n)} ${counts.misses ? name : "lattices"}`), textposition: "none",
    marker: { color: colour(counts.misses ? name.replace(/s$/, "").replace("misse", "miss") : "accent") },
  });
  const traces = counts.misses ? [trace("misses", "misses"), trace("hits", "hits")] : [trace("hits", "hits")];
  const most = Math.max(...counts.hits, ...(counts.misses ?? []));
  const logarithmic = Boolean(counts.misses) && most >= FEW;
  // Axes of nothing would be numbers that mean nothing.
  const visible = most > 0;
  const none = { text: "none", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { color: colour("soft") } };
  const layout = look({
    barmode: "overlay", bargap: 0, shapes: visible ? shapes : [], annotations: visible ? [] : [none], margin: small ? { l: 40, r: 6, t: 4, b: 24 } : { l: 52, r: 8, t: 8, b: 40 },
    xaxis: axis(title, { ...ticks, visible }),
    yaxis: axis(small ? "" : "images", { type: logarithmic ? "log" : "linear", rangemode: "tozero", nticks: 4, dtick: logarithmic || most <= 4 ? 1 : undefined, fixedrange: true, visible }),
  });
  Plotly.react(chart, traces, layout, { ...config, displayModeBar: false });
}

export function drawLegend(part) {
  const mark = (fill, opacity = 1) => `<svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" rx="2" fill="${fill}" opacity="${opacity}"/></svg>`;
  const stroke = ({ colour: ink, dash }) => `<svg width="22" height="12" aria-hidden="true"><path d="M0 6H22" stroke="${ink}" stroke-width="3"${dash === "dash" ? ' stroke-dasharray="5 3"' : ""}/></svg>`;
  const states = isSingle(part) ? [...STATES].reverse() : ["hit", "miss"];
  const items = states.map((name) => [mark(colour(name)), name]);
  for (const state of part.pump.states) items.push([stroke(pumpLook(state.number)), state.name]);
  for (const kind of new Set(part.segments.map((one) => one.kind))) items.push([mark(...(([name, opacity]) => [colour(name), opacity])(SHADES[kind] ?? SHADES.unknown)), kind]);
  if (part.min_spots !== null) items.push([`<svg width="14" height="12" aria-hidden="true"><path d="M7 0V12" stroke="${colour("warn")}" stroke-width="2" stroke-dasharray="3 2"/></svg>`, "spots that are enough"]);
  element("legend").replaceChildren(...items.map(([picture, words]) => {
    const item = document.createElement("li");
    item.innerHTML = picture;
    item.append(words);
    return item;
  }));
}

// A click on a point leads to the address that `place` gives for it.
export function leadOn(chart, place) {
  let leaving = 0;
  chart.on("plotly_click", ({ points: [point] }) => {
    const address = place(point);
    clearTimeout(leaving);
    if (address) leaving = setTimeout(() => location.assign(address), PATIENCE);
  });
  chart.on("plotly_doubleclick", () => clearTimeout(leaving));
}
