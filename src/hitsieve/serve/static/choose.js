// The form that chooses hits: says what a choice gives before it is downloaded.
import { quoted } from "./copy.js";

const form = document.getElementById("choose");
const said = document.getElementById("count");
const button = document.getElementById("download");
const sizes = ["B", "kB", "MB", "GB", "TB", "PB"];
const MANY = 10_000; // hits: the metadata of so many take about a second
let asked = 0;
let timer = 0;

function size(bytes) {
  let unit = 0;
  while (bytes >= 999.5 && unit < sizes.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${Number(bytes.toPrecision(3))} ${sizes[unit]}`;
}

function given() {
  const values = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value !== "" && !(name === "seed" && form.elements.random.value === "")) {
      values.set(name, value);
    }
  }
  return values;
}

function commands(values, name) {
  const flags = [...values].map(([key, value]) => ` --${key.replaceAll("_", "-")} ${quoted(value)}`);
  document.getElementById("command").textContent =
    `hitsieve subset ${quoted(form.dataset.hits)} -o few.h5${flags.join("")}`;
  const address = new URL(form.getAttribute("action"), location.href);
  address.search = values;
  const token = document.documentElement.dataset.token ? ' -H "Authorization: Bearer $HITSIEVE_TOKEN"' : "";
  document.getElementById("curl").textContent = `curl -f -C -${token} -o ${quoted(name)} ${quoted(address.href)}`;
}

function refuse(text) {
  said.textContent = text;
  said.classList.add("error");
  button.disabled = true;
}

async function count() {
  const values = given();
  const mine = (asked += 1);
  try {
    const answer = await fetch(`${form.dataset.count}?${values}`);
    const told = await answer.json();
    if (mine !== asked) {
      return;
    }
    if (!answer.ok) {
      refuse(`${told.what}${told.mend ? ` (${told.mend})` : ""}`);
      return;
    }
    commands(values, told.name);
    if (told.n_hits === 0) {
      refuse(`None of the ${told.n_of.toLocaleString("en")} hits is like that: choose otherwise`);
      return;
    }
    const hits = `${told.n_hits.toLocaleString("en")} of ${told.n_of.toLocaleString("en")} hits`;
    const wait = told.n_hits >= MANY ? "; the download begins when their metadata are ready, after some seconds" : "";
    said.textContent = `${hits}, ${size(told.n_bytes)} of images${wait}`;
    said.classList.remove("error");
    button.disabled = false;
  } catch {
    if (mine === asked) {
      refuse("The server does not answer");
    }
  }
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(count, 200);
});
form.addEventListener("submit", () => {
  // What is empty is not given: the address stays short.
  const empty = [...form.elements].filter((field) => field.name && field.value === "");
  empty.forEach((field) => (field.disabled = true));
  setTimeout(() => empty.forEach((field) => (field.disabled = false)), 0);
});
count();
