// The radial profile: background and threshold as the finder takes them, and the peaks of the spots.

import { KINDS } from "./image-marks.js";

const ROWS = 24;
// Of peaks by their kind, and of the threshold: on light and on dark paper.
const COLOURS = { false: ["#aa3377", "#d55e00", "#0072b2"], true: ["#e58abb", "#f5945a", "#62b8f0"] };
const THRESHOLD = { false: "#009e73", true: "#2fc79b" };

function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const LABELS = {
  q: "resolution d (Å), evenly in 1/d",
  angle: "scattering angle (degrees); the wavelength is unknown",
  tile: "tile of the image, in reading order; there is no geometry",
};

function positive(values) {
  return values.map((value) => (value > 0 ? value : null));
}

// The script that draws takes longer to come, and to start, than the picture: it is fetched when that is there.
let coming = null;

function plotly() {
  coming ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("plotly.min.js", import.meta.url).href;
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      coming = null;
      reject(new Error("the script that draws charts does not come"));
    });
    document.head.append(script);
  });
  return coming;
}

export async function drawProfile(place, profile) {
  const { react } = await plotly();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const [ink, line, soft] = ["--ink", "--line", "--soft"].map(variable);
  const traces = [
    { x: profile.at, y: positive(profile.mean), name: "background", mode: "lines", line: { color: soft, width: 1.3 } },
  ];
  if (!profile.local) {
    const shape = "hvh";
    traces.push({
      x: profile.at, y: positive(profile.threshold), name: "threshold", mode: "lines", line: { color: THRESHOLD[dark], width: 1.5, shape },
    });
  }
  for (const [kind, name] of KINDS.entries()) {
    const which = profile.spots.kind.flatMap((value, i) => (value === kind ? [i] : []));
    if (!which.length) continue;
    traces.push({
      x: which.map((i) => profile.spots.at[i]),
      y: which.map((i) => profile.spots.peak[i]),
      name: `peaks: ${name}`,
      mode: "markers",
      marker: { color: COLOURS[dark][kind], symbol: "circle-open", size: 6 },
    });
  }
  const shapes = (profile.ice?.q ?? []).map((q) => ({
    type: "rect", xref: "x", yref: "paper", x0: q - profile.ice.half_width, x1: q + profile.ice.half_width, y0: 0, y1: 1,
    fillcolor: "#56b4e9", opacity: 0.18, line: { width: 0 }, layer: "below",
  }));
  const last = profile.at.at(-1);
  const axis = { gridcolor: line, linecolor: line, zeroline: false, color: soft };
  const layout = {
    margin: { l: 46, r: 8, t: 8, b: 40 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: ink, size: 11, family: getComputedStyle(document.body).fontFamily },
    shapes: shapes.filter((shape) => shape.x0 < last),
    xaxis: {
      ...axis,
      title: { text: LABELS[profile.axis], font: { size: 11 }, standoff: 6 },
      range: [profile.at[0], last],
      ...(profile.axis === "q"
        ? { tickvals: profile.ticks.map((d) => 1 / d), ticktext: profile.ticks.map((d) => String(Number(d.toPrecision(3)))) }
        : {}),
    },
    yaxis: { ...axis, type: "log", title: { text: "counts a pixel", font: { size: 11 }, standoff: 4 }, exponentformat: "power", dtick: 1 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 10 }, bgcolor: "transparent" },
    hovermode: "closest",
  };
  return react(place, traces, layout, { displayModeBar: false, responsive: true });
}

// The same in words and as a table.
export function tellProfile(profile) {
  const n = profile.at.length;
  const name = (i) => {
    if (profile.axis === "q") return (1 / profile.at[i]).toPrecision(3);
    return profile.axis === "angle" ? profile.at[i].toFixed(1) : String(i);
  };
  const number = (value) => (value === null ? "–" : String(Number(value.toPrecision(3))));
  const rows = [];
  for (let k = 0; k < Math.min(ROWS, n); k += 1) {
    const i = Math.round((k * (n - 1)) / Math.max(Math.min(ROWS, n) - 1, 1));
    rows.push([name(i), number(profile.mean[i]), profile.local ? "local" : number(profile.threshold[i])]);
  }
  const head = { q: "d (Å)", angle: "2θ (degrees)", tile: "tile" }[profile.axis];
  const highest = profile.mean.reduce((best, value, i) => (value !== null && (best < 0 || value > profile.mean[best]) ? i : best), -1);
  const where = { q: " Å", angle: " degrees", tile: " (tile)" }[profile.axis];
  let words = "No pixel gives a background.";
  if (highest >= 0) words = `The background is highest, ${number(profile.mean[highest])} counts a pixel, at ${name(highest)}${where}.`;
  if (profile.local) words += " Thresholds are local (dispersion): of each pixel's surroundings, not of rings.";
  else if (highest >= 0 && profile.threshold[highest] !== null) words += ` A pixel there is strong above ${number(profile.threshold[highest])}.`;
  return { words, head: [head, "background", "threshold"], rows };
}
