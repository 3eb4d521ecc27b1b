// The page of all datasets: sliders write into the query, and what is found replaces what was, with its address.
import "./copy.js";

const form = document.getElementById("search");
const query = document.getElementById("q");
const clear = document.getElementById("clear");
const NUMBER = "(\\d+(?:\\.\\d+)?(?:e\\d+)?)";

/** Each slider: which condition it writes, and what a place of its thumb (0 to 100; 0: no condition) stands for. */
const sliders = [
  {
    input: document.getElementById("s-rate"),
    said: document.getElementById("s-rate-said"),
    pattern: new RegExp(`hit_rate\\s*>=\\s*${NUMBER}\\s*%`, "i"),
    // Most rates are low: the square spreads them.
    value: (place) => Number((100 * (place / 100) ** 2).toPrecision(2)),
    place: (value) => 100 * Math.sqrt(value / 100),
    condition: (value) => `hit_rate >= ${value} %`,
    text: (value) => `${value} %`,
  },
  {
    input: document.getElementById("s-resolution"),
    said: document.getElementById("s-resolution-said"),
    pattern: new RegExp(`resolution\\s*<=\\s*${NUMBER}`, "i"),
    value: (place, { low, high }) => Number((high - ((high - low) * place) / 100).toFixed(2)),
    place: (value, { low, high }) => (100 * (high - value)) / (high - low || 1),
    condition: (value) => `resolution <= ${value}`,
    text: (value) => `${value} Å`,
  },
  {
    input: document.getElementById("s-images"),
    said: document.getElementById("s-images-said"),
    pattern: new RegExp(`n_images\\s*>=\\s*${NUMBER}`, "i"),
    value: (place, { high }) => Number(Math.max(2, high ** (place / 100)).toPrecision(2)),
    place: (value, { high }) => (100 * Math.log(Math.max(1, value))) / Math.log(Math.max(2, high)),
    condition: (value) => `n_images >= ${value}`,
    text: (value) => value.toLocaleString("en"),
  },
];

/** Lowest and highest value of a slider's field. */
const ends = (slider) => ({ low: Number(slider.input.dataset.low), high: Number(slider.input.dataset.high) });

/** The query with another condition of a slider, or without it. */
function rewritten(text, slider, condition) {
  if (slider.pattern.test(text)) {
    if (condition) return text.replace(slider.pattern, condition);
    const found = slider.pattern.source;
    return text
      .replace(new RegExp(`\\s+and\\s+${found}`, "i"), "")
      .replace(new RegExp(`${found}\\s+and\\s+`, "i"), "")
      .replace(slider.pattern, "")
      .trim();
  }
  if (!condition) return text;
  const before = text.trim();
  if (!before) return condition;
  return /\bor\b/i.test(before) ? `(${before}) and ${condition}` : `${before} and ${condition}`;
}

/** Put the thumbs where the query says. */
function follow() {
  for (const slider of sliders) {
    const found = slider.pattern.exec(query.value);
    const value = found && Number(found[1]);
    slider.input.value = found ? Math.min(100, Math.max(1, slider.place(value, ends(slider)))) : 0;
    say(slider, found ? slider.text(value) : "any");
  }
  clear.disabled = !query.value;
}

function say(slider, text) {
  slider.said.value = text;
  slider.input.setAttribute("aria-valuetext", text);
}

let asked = null;

/** Show what is at an address in place of what is there. */
async function show(address, { push = true } = {}) {
  asked?.abort();
  asked = new AbortController();
  const results = document.getElementById("results");
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { signal: asked.signal, headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("results");
    if (!found) {
      // The server has other words: a token is asked for, or it is busy.
      location.assign(address);
      return;
    }
    if (found.querySelector("#problem")) query.setAttribute("aria-invalid", "true");
    else query.removeAttribute("aria-invalid");
    const focused = results.contains(document.activeElement) && document.activeElement.textContent;
    results.replaceWith(document.adoptNode(found));
    if (focused) {
      const same = [...found.querySelectorAll(".sort")].find((link) => link.textContent === focused);
      (same ?? found).focus();
    }
    document.getElementById("said").textContent = found.querySelector(".head p, .error, .empty p")?.textContent ?? "";
    document.title = page.title;
    if (push) history.pushState(null, "", address);
  } catch (error) {
    if (error.name === "AbortError") return;
    results.setAttribute("aria-busy", "false");
    const line = document.createElement("p");
    line.className = "error";
    line.setAttribute("role", "alert");
    line.textContent = "The server does not answer. Is hitsieve serve still running?";
    results.querySelector(".error")?.remove();
    results.prepend(line);
  }
}

/** Address of the query in the form, in the order that is shown. */
function address() {
  const now = new URLSearchParams(location.search);
  const values = new URLSearchParams();
  if (query.value.trim()) values.set("q", query.value.trim());
  for (const name of ["sort", "size"]) if (now.get(name)) values.set(name, now.get(name));
  const text = values.toString();
  return `${form.getAttribute("action")}${text ? `?${text}` : ""}`;
}

for (const slider of sliders) {
  slider.input.addEventListener("input", () => {
    const place = Number(slider.input.value);
    const value = place && slider.value(place, ends(slider));
    query.value = rewritten(query.value, slider, value ? slider.condition(value) : "");
    say(slider, value ? slider.text(value) : "any");
    clear.disabled = !query.value;
  });
  slider.input.addEventListener("change", () => show(address()));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  follow();
  show(address());
});

clear.addEventListener("click", () => {
  query.value = "";
  follow();
  show(address());
  query.focus();
});

query.addEventListener("input", () => {
  clear.disabled = !query.value;
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("#results .sort, #results .pager a, #results .empty a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  show(link.getAttribute("href")).then(() => {
    if (link.closest(".pager")) document.getElementById("results").scrollIntoView();
    query.value = new URLSearchParams(location.search).get("q") ?? "";
    follow();
  });
});

const help = document.querySelector(".help");

document.addEventListener("click", (event) => {
  const field = event.target.closest("[data-insert]")?.dataset.insert;
  if (field) {
    const before = query.value.trim();
    query.value = `${before}${before && !/\b(and|or|not)$|\($/i.test(before) ? " and " : before ? " " : ""}${field} `;
    query.focus();
    clear.disabled = false;
  }
  if (field || !event.target.closest(".help")) help.open = false;
});

help.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  help.open = false;
  help.querySelector("summary").focus();
});

addEventListener("popstate", () => {
  query.value = new URLSearchParams(location.search).get("q") ?? "";
  follow();
  show(location.pathname + location.search, { push: false });
});

follow();
