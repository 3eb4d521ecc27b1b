// Where the numbers of a run come from, and how they are told.

const PER_BIN = 25; // images: the rate of fewer says little
const SINGLE = 400; // no more images than this are drawn one by one
const PIXELS = 3; // least width of a bin
const Z = 1.959963984540054;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = (value) => whole.format(value);
export const percent = (share) => (share === null ? "–" : `${Number((100 * share).toPrecision(3))} %`);
export const sum = (values) => values.reduce((all, one) => all + one, 0);

export async function fetched(address) {
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => ({ what: `the server answers with ${answer.status}`, mend: "" }));
  if (!answer.ok) throw new Error(body.mend ? `${body.what} (${body.mend})` : body.what);
  return body;
}

function binsFor(images, width) {
  return images <= SINGLE ? images : Math.max(Math.min(SINGLE, Math.floor(images / PER_BIN), Math.floor(width / PIXELS)), 16);
}

// Images first to last, counted by the server, or from what a report brings along, for a chart of so many pixels.
export async function stretch(told, first, last, width) {
  const bins = binsFor(last - first + 1, width);
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

export function joined(all, cuts) {
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
    spots: of(all.spots, (values) => (values.every((value) => value === null) ? null : Math.max(...values))),
    background: { p10: of(all.background.p10, quantile(lower)), p50: of(all.background.p50, quantile(0.5)), p90: of(all.background.p90, quantile(upper)) },
    pump: { ...all.pump, of_image: alone ? all.pump.of_image?.slice(cuts[0], cuts[cuts.length - 1]) : null },
  };
}

export function wilson(hits, n) {
  if (!n) return null;
  const p = hits / n;
  const centre = (p + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = (Z / (1 + (Z * Z) / n)) * Math.sqrt((p * (1 - p)) / n + (Z * Z) / (4 * n * n));
  return [hits === 0 ? 0 : Math.max(0, centre - half), hits === n ? 1 : Math.min(1, centre + half)];
}
