// The charts of a run: drawn from what the server counts for the stretch that is shown, or, in a report, from the bins
// that it brings along.

const told = JSON.parse(document.getElementById("run-data").textContent);
const STATES = ["missing", "unreadable", "miss", "hit"];
const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "star"];
const DASHES = ["solid", "dash"];
const PER_BIN = 25; // images: the rate of fewer says little
const SINGLE = 400; // no more images than this are drawn one by one
const Z = 1.959963984540054;
const WAIT = 150; // ms without a further move
// Only what draws and moves: other buttons of the library would send the data elsewhere.
const config = { responsive: true, doubleClick: "autosize", displaylogo: false, showTips: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]] };

const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const count = (value) => whole.format(value);
const percent = (share) => (share === null ? "–" : `${Number((100 * share).toPrecision(3))} %`);
const sum = (values) => values.reduce((all, one) => all + one, 0);

let shown = null; // the stretch that is drawn
let asked = 0; // requests so far: an answer that was overtaken is not drawn
let grid = null;

// ---- where the numbers come from

async function fetched(address) {
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => ({ what: `the server answers with ${answer.status}`, mend: "" }));
  if (!answer.ok) throw new Error(body.mend ? `${body.what} (${body.mend})` : body.what);
  return body;
}

function binsFor(images) {
  return images <= SINGLE ? images : Math.max(Math.min(SINGLE, Math.floor(images / PER_BIN)), 16);
}

async function stretch(first, last) {
  const bins = binsFor(last - first + 1);
  if (told.stretch) return inlined(told.stretch, first, last, bins);
  return fetched(`${told.api}/overview?first=${first}&last=${last}&bins=${bins}`);
}

// In a report: the bins that lie in the stretch, some of them joined where they are many.
function inlined(all, first, last, bins) {
  const n = all.hits.length;
  let from = 0;
  while (from < n - 1 && all.edges[from + 1] <= first) from += 1;
  let to = n;
  while (to > from + 1 && all.edges[to - 1] > last) to -= 1;
  const parts = Math.min(bins, to - from);
  const cuts = Array.from({ length: parts + 1 }, (_, k) => from + Math.floor((k * (to - from)) / parts));
  return { ...all, ...joined(all, cuts), first: all.edges[from], last: all.edges[to] - 1, whole: true };
}

function joined(all, cuts) {
  const groups = cuts.slice(1).map((to, k) => [cuts[k], to]);
  const alone = groups.every(([from, to]) => to - from === 1);
  const of = (values, join) => groups.map(([from, to]) => join(values.slice(from, to)));
  const hits = of(all.hits, sum);
  const misses = of(all.misses, sum);
  const intervals = hits.map((n, k) => wilson(n / all.apart, (n + misses[k]) / all.apart));
  const quantile = (share) => (values) => {
    const known = values.filter((value) => value !== null).sort((a, b) => a - b);
    return known.length ? known[Math.round((known.length - 1) * share)] : null;
  };
  // Of bins that hold many images, quantiles can only be guessed by those in the middle.
  const [lower, upper] = all.edges[1] - all.edges[0] === 1 ? [0.1, 0.9] : [0.5, 0.5];
  return {
    edges: cuts.map((cut) => all.edges[cut]),
    hits,
    misses,
    unreadable: of(all.unreadable, sum),
    missing: of(all.missing, sum),
    low: intervals.map((one) => one && one[0]),
    high: intervals.map((one) => one && one[1]),
    first_hit: of(all.first_hit, (values) => values.find((value) => value >= 0) ?? -1),
    spots: of(all.spots, (values) => Math.max(...values)),
    background: { p10: of(all.background.p10, quantile(lower)), p50: of(all.background.p50, quantile(0.5)), p90: of(all.background.p90, quantile(upper)) },
    pump: { ...all.pump, of_image: alone ? all.pump.of_image?.slice(cuts[0], cuts[cuts.length - 1]) : null },
  };
}

function wilson(hits, n) {
  if (!n) return null;
  const p = hits / n;
  const centre = (p + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = (Z / (1 + (Z * Z) / n)) * Math.sqrt((p * (1 - p)) / n + (Z * Z) / (4 * n * n));
  return [hits === 0 ? 0 : Math.max(0, centre - half), hits === n ? 1 : Math.min(1, centre + half)];
}

// ---- what is drawn

function look(more) {
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

function axis(title, more) {
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

function drawAlong(part) {
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
  layout.xaxis = axis("image", { range: [part.first - 0.5, part.last + 0.5], anchor: `y${rows.length}`, tickformat: ",d", nticks: 8 });
  const traces = rows.flatMap((row, k) => rowTraces(row, part, single).map((trace) => ({ ...trace, yaxis: `y${k ? k + 1 : ""}` })));
  Plotly.react(chart, traces, layout, config);
}

function rowAxis(row, part, single) {
  if (row === "rate" && single) return axis("", { range: [-0.5, 3.5], tickvals: [0, 1, 2, 3], ticktext: STATES });
  if (row === "rate") return axis("hit rate", { rangemode: "tozero", tickformat: ",.3~%", nticks: 5 });
  if (row === "spots") return axis("most spots", { rangemode: "tozero", nticks: 4 });
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
    const text = images.map((words, k) => `${words}<br>${part.spots[k]} spots${single ? "" : " at most"}`);
    const mode = single ? "markers" : "lines";
    return [{ x, y: part.spots, text, customdata, mode, hoverinfo: "text", line: { color: colour("ink"), width: 1, shape: "hvh" }, marker: { color: colour("ink"), size: 4 } }];
  }
  const { p10, p50, p90 } = part.background;
  const text = images.map((words, k) => `${words}<br>${p50[k] === null ? "not searched" : `${p50[k]} counts a pixel`}`);
  const line = { x, y: p50, text, customdata, mode: "lines", hoverinfo: "text", line: { color: colour("accent"), width: 1.2, shape: "hvh" } };
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
    const text = places.map((k) => `image ${count(part.edges[k])}: ${state}<br>${part.spots[k]} spots`);
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

function drawHistograms(part) {
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
  const { title = "", small = false, ...ticks } = look_;
  const x = edges.slice(1).map((edge, k) => (edges[k] + edge) / 2);
  const width = edges.slice(1).map((edge, k) => edge - edges[k]);
  const trace = (what, name) => ({
    type: "bar", x, y: counts[what], width, hoverinfo: "text", opacity: what === "hits" && counts.misses ? 0.8 : 1,
    text: counts[what].map((n, k) => `${names[k]}<br>${count(n)} ${counts.misses ? name : "lattices"}`), textposition: "none",
    marker: { color: colour(counts.misses ? name.replace(/s$/, "").replace("misse", "miss") : "accent") },
  });
  const traces = counts.misses ? [trace("misses", "misses"), trace("hits", "hits")] : [trace("hits", "hits")];
  const logarithmic = Boolean(counts.misses) && sum(counts.misses) > 0;
  const layout = look({
    barmode: "overlay", bargap: 0, shapes, margin: small ? { l: 40, r: 6, t: 4, b: 24 } : { l: 52, r: 8, t: 8, b: 40 },
    xaxis: axis(title, ticks),
    yaxis: axis(small ? "" : "images", { type: logarithmic ? "log" : "linear", rangemode: "tozero", nticks: 4, dtick: logarithmic ? 1 : undefined, fixedrange: true }),
  });
  Plotly.react(chart, traces, layout, { ...config, displayModeBar: false });
}

function drawLegend(part) {
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

function say(part) {
  const hits = sum(part.hits);
  const searched = hits + sum(part.misses);
  const interval = wilson(hits / part.apart, searched / part.apart);
  const lost = ["unreadable", "missing"].map((what) => [sum(part[what]), what]).filter(([n]) => n).map(([n, what]) => `, ${count(n)} ${what}`).join("");
  const stops = part.segments.filter((one) => ["jet stopped", "beam off"].includes(one.kind) && one.last >= part.first && one.first <= part.last).length;
  const rate = searched ? ` (${percent(hits / searched)}, 95 % interval ${percent(interval[0])} to ${percent(interval[1])})` : "";
  element("span-words").textContent = `Images ${count(part.first)} to ${count(part.last)}: ${count(hits)} hits of ${count(searched)} searched${rate}${lost}.${stops ? ` The jet or the beam is off in ${stops} ${stops === 1 ? "stretch" : "stretches"}.` : ""}${part.whole ? " Histograms are of the whole run." : ""}`;
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
    const part = await stretch(from, to);
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
  chart.on("plotly_click", ({ points: [point] }) => {
    const bin = point?.customdata;
    if (told.images && bin) location.assign(`${told.images}/${bin.hit >= 0 ? bin.hit : bin.first}`);
  });
  for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
  element("span-form").addEventListener("submit", (event) => {
    event.preventDefault();
    show(Number(element("span-first").value), Number(element("span-last").value));
  });
  addEventListener("hashchange", () => show(...start()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { draw(shown); if (grid) drawGrid(); });
}

// ---- the grid

function drawGrid() {
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
    if (told.grid) grid = told.grid;
    else grid = await fetched(`${told.api}/grid?${new URLSearchParams({ grid: told.grid_text, ...window_ })}`);
    drawGrid();
  } catch (error) {
    element("grid-words").textContent = `The grid cannot be shown: ${error.message}.`;
  }
}

async function startGrid() {
  if (!element("grid")) return;
  await showGrid({});
  if (!grid) return;
  element("grid-shows").addEventListener("change", drawGrid);
  element("grid-whole").addEventListener("click", () => showGrid({}));
  element("grid").on("plotly_click", ({ points: [point] }) => {
    if (told.images && point?.customdata >= 0) location.assign(`${told.images}/${point.customdata}`);
  });
  element("grid").on("plotly_relayout", (change) => {
    if (told.grid) return;
    const ends = ["xaxis.range[0]", "xaxis.range[1]", "yaxis.range[1]", "yaxis.range[0]"].map((name) => change[name]);
    if (ends.every((end) => end !== undefined)) {
      const [left, right, top, bottom] = ends.map((end) => Math.max(0, Math.round(end)));
      showGrid({ first_column: left, last_column: Math.max(left, right), first_row: top, last_row: Math.max(top, bottom) });
    } else if (change["xaxis.autorange"]) showGrid({});
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
  await startGrid();
}
