// The page of an image: which image is shown, and what the keys and buttons do.

import { Cells, refusal } from "./image-cells.js";
import { drawProfile, tellProfile } from "./image-profile.js";
import { ImageView } from "./image-view.js";

const $ = (id) => document.getElementById(id);
const viewer = $("viewer");
const base = document.documentElement.dataset.base ?? "";
const pages = `${base}/runs/${viewer.dataset.run}/images`;
const api = `${base}/api/runs/${viewer.dataset.run}/images`;
const AHEAD = 4;
const LAYERS = ["spots", "lattice", "rings", "ice", "mask", "centre"];
const NAMES = { hit: "hits", miss: "misses", unreadable: "unreadable images", missing: "missing images", indexed: "indexed images", image: "images" };

let number = Number(viewer.dataset.image);
let facts = null;
let turn = 0;
const ahead = new Map();
const view = new ImageView($("stage"), { view: keepView, point: tellPoint });

// What is asked for is kept for a while, as the next image is asked for ahead.
function get(url) {
  if (!ahead.has(url)) {
    ahead.set(url, load(url).catch((error) => {
      ahead.delete(url);
      throw error;
    }));
    while (ahead.size > 3 * AHEAD) ahead.delete(ahead.keys().next().value);
  }
  return ahead.get(url);
}

async function load(url) {
  if (url.endsWith("/pixels")) return Cells.load(url);
  const answer = await fetch(url);
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

// An image that could not be read has none: it is not asked for.
const READ = new Set(["hit", "miss"]);

function picture(to) {
  return get(`${api}/${to}/pixels`).catch((error) => error);
}

async function show(to, { push = true } = {}) {
  turn += 1;
  const mine = turn;
  $("busy").hidden = false;
  let told;
  let cells;
  try {
    // Both at once, where it is known beforehand that there is a picture.
    const early = to === number && !facts && READ.has(viewer.dataset.state) ? picture(to) : null;
    told = await get(`${api}/${to}`);
    cells = await (early ?? (READ.has(told.state) ? picture(to) : new Error(`image ${to} is ${told.headline}`)));
  } catch (error) {
    if (mine === turn) complain(error);
    return;
  }
  if (mine !== turn) return;
  number = to;
  facts = told;
  if (push) history.pushState(null, "", `${pages}/${to}${location.hash}`);
  tellFacts();
  const failed = cells instanceof Error;
  complain(failed ? cells : null);
  tellFrom(failed ? null : cells.told);
  if (!failed) setContrast(cells.told);
  view.show(facts, failed ? null : cells);
  if (!failed) restoreView();
  $("busy").hidden = true;
  await showProfile(mine, failed);
}

function complain(error) {
  $("busy").hidden = true;
  $("nothing").hidden = !error;
  $("nothing").textContent = error ? `There is no picture: ${error.message}${error.mend ? ` (${error.mend})` : ""}` : "";
}

function lookAhead() {
  const to = facts.around[$("by").value][1];
  if (to === null) return;
  get(`${api}/${to}`).then((told) => READ.has(told.state) && picture(to)).catch(() => {});
}

async function showProfile(mine, failed) {
  const place = $("profile");
  place.hidden = failed;
  $("profile-table").hidden = failed;
  if (failed) {
    $("profile-words").textContent = "There is no picture to take a profile of.";
    return;
  }
  try {
    const profile = await get(`${api}/${number}/profile`);
    if (mine !== turn) return;
    const said = tellProfile(profile);
    $("profile-words").textContent = said.words;
    $("profile-head").replaceChildren(row("th", said.head));
    $("profile-rows").replaceChildren(...said.rows.map((values) => row("td", values)));
    tellWhy(profile.why);
    lookAhead();
    await drawProfile(place, profile);
    if (mine === turn) place.dataset.shown = number;
  } catch (error) {
    if (mine === turn) $("profile-words").textContent = `There is no profile: ${error.message}`;
  }
}

function row(kind, values) {
  const made = document.createElement("tr");
  made.append(...values.map((value) => {
    const cell = document.createElement(kind);
    cell.textContent = value;
    return cell;
  }));
  return made;
}

function tellWhy(rows) {
  $("why").replaceChildren(...rows.flatMap(([name, text]) => {
    const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    meaning.textContent = text;
    return [term, meaning];
  }));
}

function tellFacts() {
  for (const id of ["number", "crumb"]) $(id).textContent = number;
  $("to").value = number;
  $("state").textContent = facts.state;
  $("state").className = `tag state-${facts.state}`;
  $("headline").textContent = facts.headline.charAt(0).toUpperCase() + facts.headline.slice(1);
  document.title = `${facts.stem}, image ${number} · hitsieve`;
  $("stage").setAttribute("aria-label", `Image ${number}: ${facts.headline}`);
  tellWhy(facts.why);
  const n = facts.spots.x.length;
  $("n-spots").textContent = facts.n_spots > n ? `(the ${n} strongest of ${facts.n_spots})` : `(${n})`;
  const predicted = facts.lattices.reduce((sum, lattice) => sum + (lattice.predicted?.x.length ?? 0), 0);
  $("n-predicted").textContent = predicted ? `(${predicted})` : "";
  $("layer-lattice").disabled = !predicted;
  const kinds = [2, 1, 0].map((kind) => facts.spots.kind.filter((value) => value === kind).length);
  const reach = facts.lattices.map((lattice) => lattice.reach).filter((value) => value);
  $("legend").textContent = [
    spotsInWords(kinds),
    reach.length ? `Predicted: reflections within ${reach.map((value) => value.toPrecision(2)).join(" and ")} 1/Å of the Ewald sphere.` : "",
    ...facts.lattices.map(({ why_not: why }, k) => (why ? `No reflections of lattice ${k + 1} are predicted: ${why}.` : "")),
  ].join(" ");
  tellSteps();
}

function spotsInWords([indexed, counted, uncounted]) {
  const said = [];
  if (indexed) said.push(`${indexed} indexed (blue${facts.lattices.length > 1 ? ", further lattices green and yellow" : ""})`);
  if (counted) said.push(`${counted} ${indexed ? "more count" : "that count"} (orange)`);
  if (uncounted) said.push(`${uncounted} that ${uncounted === 1 ? "does" : "do"} not (dashed: light blue in an ice band, else purple)`);
  return said.length ? `Spots: ${said.join(", ")}.` : "No spots.";
}

function tellSteps() {
  const by = $("by").value;
  for (const [id, to] of [["previous", facts.around[by][0]], ["next", facts.around[by][1]]]) {
    $(id).href = `${pages}/${to ?? number}`;
    $(id).setAttribute("aria-disabled", to === null);
    $(id).title = to === null ? `no ${id} one among the ${NAMES[by]}` : `image ${to}`;
  }
}

function tellFrom(told) {
  if (!told) $("from").textContent = "";
  else if (told.original) $("from").textContent = `Counts from ${told.place}.`;
  else $("from").textContent = `Counts from ${told.place}, as the original cannot be had: ${told.why_not_original}.`;
}

function tellPoint(point) {
  const tip = $("hover");
  if (!point?.place) {
    $("readout").textContent = "\u00a0";
    tip.hidden = true;
    return;
  }
  const [x, y] = point.place;
  const { count } = point;
  let said = "";
  if (count) {
    said = count.count === null ? "no data" : `${count.count} counts`;
    if (count.level && count.count !== null) said = `at most ${said} in ${2 ** count.level} x ${2 ** count.level} pixels`;
  }
  const d = point.d ? `${point.d.toFixed(2)} Å` : "";
  $("readout").textContent = [`x ${x.toFixed(1)}  y ${y.toFixed(1)}`, said, d].filter(Boolean).join("   ");
  tip.hidden = !point.mark;
  if (!point.mark) return;
  tip.textContent = point.mark;
  const [width, height] = view.size;
  const [left, top] = point.at;
  tip.style.left = `${Math.max(Math.min(left + 14, width - tip.offsetWidth - 4), 4)}px`;
  tip.style.top = `${top + 18 + tip.offsetHeight > height ? top - tip.offsetHeight - 8 : top + 14}px`;
}

// Contrast: the sliders go from none to many times what an image needs, on a scale of ratios.
let contrast = null;
const own = { low: null, high: null };

function setContrast(told) {
  contrast = { low: told.contrast[0], high: told.contrast[1] };
  const log = $("scale").value === "log";
  const high = own.high ?? contrast.low + (contrast.high - contrast.low) * (log ? 8 : 1.5);
  const low = own.low ?? contrast.low;
  $("low").value = toSlider(low);
  $("high").value = toSlider(high);
  setLook(low, high);
}

function most() {
  return Math.max(contrast.high * 400, 1000) - floor();
}

function floor() {
  return Math.min(contrast.low, 0);
}

function toSlider(count) {
  return Math.round((1000 * Math.log1p(Math.max(count - floor(), 0))) / Math.log1p(most()));
}

function fromSlider(value) {
  return Math.expm1((Number(value) / 1000) * Math.log1p(most())) + floor();
}

function setLook(low, high) {
  const top = Math.max(high, low + 1);
  view.setLook({ low, high: top, log: $("scale").value === "log", colours: $("colours").value });
  for (const [id, count] of [["low", low], ["high", top]]) $(id).setAttribute("aria-valuetext", `${Number(count.toPrecision(3))} counts`);
  $("range").textContent = `${Number(low.toPrecision(3))} to ${Number(top.toPrecision(3))} counts`;
}

// The view, in the part of the address that stays with the browser.
let waiting = null;

function keepView(place, fitted) {
  if (!facts) return;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const words = new URLSearchParams();
    if (!fitted) {
      words.set("x", place.x.toFixed(1));
      words.set("y", place.y.toFixed(1));
      words.set("zoom", place.zoom.toFixed(3));
    }
    if ($("by").value !== "hit") words.set("by", $("by").value);
    if ($("scale").value !== "log") words.set("scale", $("scale").value);
    const hash = words.toString();
    history.replaceState(null, "", `${location.pathname}${hash ? `#${hash}` : ""}`);
  }, 150);
}

let restored = false;

function restoreView() {
  if (restored) return;
  restored = true;
  const words = new URLSearchParams(location.hash.slice(1));
  const [x, y, zoom] = ["x", "y", "zoom"].map((name) => Number.parseFloat(words.get(name)));
  if ([x, y, zoom].every(Number.isFinite) && zoom > 0) view.lookAt(x, y, zoom);
}

function restoreChoices() {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const id of ["by", "scale"]) {
    const select = $(id);
    if ([...select.options].some((option) => option.value === words.get(id))) select.value = words.get(id);
  }
}

function step(forward) {
  const to = facts?.around[$("by").value][forward ? 1 : 0];
  if (to !== null && to !== undefined) show(to);
}

function goBy(kind) {
  $("by").value = kind;
  if (facts) tellSteps();
  if (view.view) keepView(view.view, view.fitted);
}

function toggle(layer) {
  const box = $(`layer-${layer}`);
  if (box.disabled) return;
  box.checked = !box.checked;
  view.setLayer(layer, box.checked);
}

function setScale(name) {
  $("scale").value = name;
  own.high = null;
  if (contrast && view.cells) setContrast(view.cells.told);
  if (view.view) keepView(view.view, view.fitted);
}

const MOVE = 80;
const KEYS = {
  ArrowRight: (event) => (event.shiftKey ? view.pan(-MOVE, 0) : step(true)),
  ArrowLeft: (event) => (event.shiftKey ? view.pan(MOVE, 0) : step(false)),
  ArrowUp: (event) => event.shiftKey && view.pan(0, MOVE),
  ArrowDown: (event) => event.shiftKey && view.pan(0, -MOVE),
  "+": () => view.zoom(1.4),
  "=": () => view.zoom(1.4),
  "-": () => view.zoom(1 / 1.4),
  0: () => view.fit(),
  h: () => goBy("hit"),
  x: () => goBy("miss"),
  u: () => goBy("unreadable"),
  a: () => goBy("image"),
  g: () => setScale($("scale").value === "log" ? "linear" : "log"),
  ...Object.fromEntries(LAYERS.map((layer) => [layer[0], () => toggle(layer)])),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || (event.key.startsWith("Arrow") && !event.shiftKey && !/Left|Right/.test(event.key))) return;
  event.preventDefault();
  act(event);
});

for (const [id, forward] of [["next", true], ["previous", false]]) {
  $(id).addEventListener("click", (event) => {
    event.preventDefault();
    step(forward);
  });
}
for (const layer of LAYERS) {
  const box = $(`layer-${layer}`);
  view.setLayer(layer, box.checked);
  box.addEventListener("change", () => view.setLayer(layer, box.checked));
}
for (const id of ["low", "high"]) {
  $(id).addEventListener("input", () => {
    if (!contrast) return;
    own[id] = fromSlider($(id).value);
    setLook(fromSlider($("low").value), fromSlider($("high").value));
  });
}
$("scale").addEventListener("change", () => setScale($("scale").value));
$("colours").addEventListener("change", () => view.setLook({ colours: $("colours").value }));
$("by").addEventListener("change", () => goBy($("by").value));
$("closer").addEventListener("click", () => view.zoom(1.6));
$("farther").addEventListener("click", () => view.zoom(1 / 1.6));
$("fit").addEventListener("click", () => view.fit());
$("go").addEventListener("submit", (event) => {
  event.preventDefault();
  const to = Number($("to").value);
  if (Number.isInteger(to) && to !== number) show(to);
});
addEventListener("popstate", () => {
  const to = Number(location.pathname.split("/").at(-1));
  if (Number.isInteger(to) && to !== number) show(to, { push: false });
});
addEventListener("hashchange", () => {
  restored = false;
  if (view.cells) restoreView();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showProfile(turn, !view.cells));

restoreChoices();
show(number, { push: false });
