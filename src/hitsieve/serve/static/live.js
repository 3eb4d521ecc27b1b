// The page of running series: told by server-sent events, whatever stops and starts again.

const STATES = ["hit", "miss", "unreadable", "missing", "later"];
const SILENT = 10; // seconds without a word from a series that runs
const TRIES = 40; // for a picture: a busy disk takes its time
const SVG = "http://www.w3.org/2000/svg";
const known = new Map();
const shown = new Map();
let last = null; // what was told last, and when
let source = null;
let broken = false;
let doneNow = "";

const base = document.documentElement.dataset.base ?? "";
const byId = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en");
const percent = (x) => (x === null ? "–" : `${Number((100 * x).toPrecision(3))} %`);
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

const runs = (series) => series.end === null && !series.lost;

function duration(seconds) {
  if (seconds < 1) {
    return `${Math.round(1000 * seconds)} ms`;
  }
  if (seconds < 60) {
    return `${Number(seconds.toPrecision(2))} s`;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function clock(seconds) {
  return new Date(1000 * seconds).toLocaleTimeString("en-GB");
}

function put(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function listen() {
  source = new EventSource(`${base}/api/live/events`);
  source.addEventListener("snapshot", (event) => {
    known.clear();
    take(JSON.parse(event.data));
  });
  source.addEventListener("change", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    broken = true;
    state();
    if (source.readyState === EventSource.CLOSED) {
      // The server refused, as where too many listen: a browser does not ask again by itself.
      setTimeout(listen, 5000);
    }
  });
}

function take(told) {
  broken = false;
  last = { told, at: performance.now() };
  for (const series of told.series) {
    known.set(series.number, { ...series, at: performance.now() });
  }
  for (const number of known.keys()) {
    if (!told.order.includes(number)) {
      known.delete(number);
    }
  }
  draw();
  state();
}

function draw() {
  const series = last.told.order.map((number) => known.get(number)).filter(Boolean);
  const running = series.filter(runs);
  const done = series.filter((one) => !runs(one));
  for (const [number, element] of shown) {
    if (!running.some((one) => one.number === number)) {
      element.remove();
      shown.delete(number);
    }
  }
  running.forEach((one, place) => drawRunning(one, place));
  byId("none").hidden = running.length > 0;
  byId("done-panel").hidden = done.length === 0;
  drawDone(done);
  const { refused, n_missed: missed, n_foreign: foreign } = last.told;
  const troubles = [
    [refused.bad, "message of the detector could not be read", "messages of the detector could not be read"],
    [refused.late, "image came after its series had ended", "images came after their series had ended"],
    [refused.doubled, "image came twice", "images came twice"],
    [missed, "message did not reach this page's server", "messages did not reach this page's server"],
    [foreign, "message was none of hitsieve live", "messages were none of hitsieve live"],
  ];
  put(byId("troubles"), troubles.filter(([n]) => n).map(([n, one, many]) => plural(n, one, many)).join(" · "));
}

function drawRunning(series, place) {
  let element = shown.get(series.number);
  if (!element) {
    element = byId("series").content.firstElementChild.cloneNode(true);
    shown.set(series.number, element);
  }
  const parent = byId("running");
  if (parent.children[place] !== element) {
    parent.insertBefore(element, parent.children[place] ?? null);
  }
  const part = (name) => element.querySelector(`[data-is="${name}"]`);
  const { hit, miss } = series.counts;
  put(part("name"), series.name);
  const whole = series.announced !== null && series.judged >= series.announced;
  const now = whole ? "; all images came, its outputs are being written" : "";
  put(part("began"), `${series.from_start ? "began" : "already ran"} at ${clock(series.began)}${now}`);
  put(part("hit_rate"), percent(series.hit_rate));
  put(part("hits"), `${count(hit)} of ${count(hit + miss)} searched`);
  put(part("judged"), count(series.judged));
  put(part("announced"), series.announced === null ? "number not announced" : `of ${count(series.announced)}`);
  put(part("rate"), series.images_per_second < 10 ? series.images_per_second.toFixed(1) : count(Math.round(series.images_per_second)));
  put(part("lag"), series.lag === null ? "–" : duration(series.lag[0]));
  put(part("lag95"), series.lag === null ? "" : `95 % within ${duration(series.lag[1])}`);
  put(part("min_spots"), series.min_spots === null ? "–" : count(series.min_spots));
  progress(part("progress"), series);
  spark(part("spark"), series.each_second);
  const drawn = series.bins.reduce((sum, bin) => sum + bin.reduce((a, b) => a + b, 0), 0);
  put(part("verdicts-title"), drawn === 1 ? "The last verdict" : `The last ${count(drawn)} verdicts`);
  verdicts(part("verdicts"), series);
  put(part("counts"), STATES.filter((name) => series.counts[name]).map((name) => `${count(series.counts[name])} ${name}`).join(", "));
  lastHit(part("no-hit"), part("last-hit"), series);
  picture(part("picture"), series);
}

function progress(element, series) {
  const whole = series.announced;
  element.classList.toggle("unknown", !whole);
  if (whole) {
    element.setAttribute("aria-valuemax", whole);
    element.setAttribute("aria-valuenow", Math.min(series.judged, whole));
    element.firstElementChild.style.width = `${Math.min(100, (100 * series.judged) / whole)}%`;
  }
}

function spark(element, values) {
  const most = Math.max(1, ...values);
  const points = values.map((value, k) => `${k} ${(19 - (18 * value) / most).toFixed(1)}`);
  element.replaceChildren(make("path", { d: `M${points.join("L")}` }));
  element.setAttribute("aria-label", `Images in each of the last ${values.length} seconds, at most ${most}`);
}

function verdicts(element, series) {
  const size = series.bin_size;
  const wide = Math.max(series.bins.length, 20);
  const bars = [];
  series.bins.forEach((bin, k) => {
    let top = 160;
    bin.forEach((n, state) => {
      if (n) {
        const height = (160 * n) / size;
        top -= height;
        // Those of now are at the right edge.
        const x = (1000 * (wide - series.bins.length + k)) / wide;
        bars.push(make("rect", { class: STATES[state], x, y: top, width: 1000 / wide - (wide > 60 ? 0.6 : 2), height }));
      }
    });
  });
  element.replaceChildren(...bars);
  const hits = series.bins.reduce((sum, bin) => sum + bin[0], 0);
  const all = series.bins.reduce((sum, bin) => sum + bin[0] + bin[1], 0);
  element.setAttribute("aria-label", `${plural(hits, "hit", "hits")} among the last ${count(all)} images that were searched, in the order of their verdicts`);
}

function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  return element;
}

function lastHit(none, list, series) {
  const hit = series.last_hit;
  none.hidden = hit !== null;
  list.hidden = hit === null;
  if (hit === null) {
    return;
  }
  const facts = [
    ["Image", count(hit.image_id)],
    ["At", clock(hit.at)],
    ["Spots", `${count(hit.n_spots_counted)} that count, of ${count(hit.n_spots)}`],
    ["Resolution", hit.resolution === null ? "–" : `${hit.resolution.toFixed(2)} Å`],
    ["Background", hit.background === null ? "–" : `${Number(hit.background.toPrecision(3))} counts a pixel`],
    ["Saturated", plural(Math.max(hit.n_saturated, 0), "pixel", "pixels")],
  ];
  list.replaceChildren(
    ...facts.flatMap(([term, text]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      [dt.textContent, dd.textContent] = [term, text];
      return [dt, dd];
    }),
  );
}

// What was received reaches the disk some seconds later: a picture is asked for until it is there, then that of the
// hit that is the last by then.
function picture(element, series) {
  if (!byId("running").dataset.pictures || series.last_hit === null || element.asking) {
    return;
  }
  const image = series.last_hit.image_id;
  if (image !== element.drawn) {
    element.asking = { image, tries: 0 };
    ask(element, series.number);
  }
}

async function ask(element, number) {
  const asking = element.asking;
  const answer = await fetch(`${base}/api/live/series/${number}/images/${asking.image}.png`).catch(() => null);
  if (answer?.status === 200) {
    const drawn = element.querySelector("img");
    URL.revokeObjectURL(drawn.src);
    drawn.src = URL.createObjectURL(await answer.blob());
    drawn.alt = `Image ${count(asking.image)}: the more counts, the darker`;
    put(element.querySelector("figcaption"), `Picture of image ${count(asking.image)}`);
    element.hidden = false;
    element.drawn = asking.image;
    element.asking = null;
    return;
  }
  asking.tries += 1;
  if (asking.tries < TRIES && element.isConnected) {
    setTimeout(ask, 700, element, number);
  } else {
    // The next hit has its turn.
    element.drawn = asking.image;
    element.asking = null;
  }
}

function drawDone(done) {
  // Rows that stay as they are keep the focus of whoever goes by keyboard.
  const now = JSON.stringify(done.map(({ number, end, lost, run }) => [number, end, lost, run]));
  if (now === doneNow) {
    return;
  }
  doneNow = now;
  byId("done").replaceChildren(
    ...done.map((series) => {
      const lost = { at: last.told.now - series.ago, received: series.judged, counts: series.counts };
      const end = series.end ?? { ...lost, failed: "nothing more was heard of it" };
      const counts = end.failed ? series.counts : end.counts;
      const searched = (counts.hit ?? 0) + (counts.miss ?? 0);
      const row = document.createElement("tr");
      const cells = [
        [series.name],
        [clock(end.at), "nowrap"],
        [count(end.received), "number"],
        [count(counts.hit ?? 0), "number"],
        [searched ? percent((counts.hit ?? 0) / searched) : "–", "number"],
        [count(counts.unreadable ?? 0), "number"],
        [count(counts.missing ?? 0), "number"],
        [series.end?.failed ? `no outputs: ${end.failed}` : end.failed || end.why, end.failed ? "outcome error" : "outcome"],
      ];
      row.append(
        ...cells.map(([text, name = ""]) => {
          const cell = document.createElement("td");
          cell.className = name;
          cell.textContent = text;
          return cell;
        }),
      );
      if (series.run) {
        const link = document.createElement("a");
        link.href = `${base}/runs/${series.run}`;
        link.textContent = series.name;
        row.firstElementChild.replaceChildren(link);
      }
      return row;
    }),
  );
}

function state() {
  const running = [...known.values()].filter(runs);
  const since = last ? (performance.now() - last.at) / 1000 : 0;
  const ago = last && last.told.ago !== null ? last.told.ago + since : null;
  let kind = "good";
  let text = running.length ? `${plural(running.length, "series runs", "series run")}` : "Connected, no series runs";
  if (broken || since > 20) {
    kind = "lost";
    text = "No connection to this page's server; it is tried again";
  } else if (last === null) {
    kind = "waiting";
    text = "Connecting";
  } else if (!last.told.connected) {
    kind = "lost";
    text = `No connection to hitsieve live at ${last.told.address}; it is tried again`;
  } else if (running.length && ago > SILENT) {
    kind = "silent";
    text = "The series is silent";
  }
  byId("state").dataset.state = kind;
  put(byId("state-text"), text);
  const silent = ago !== null && (kind !== "good" || (running.length && ago >= 2));
  put(byId("heard"), silent ? `nothing heard for ${duration(Math.max(1, Math.floor(ago)))}` : "");
}

listen();
setInterval(state, 1000);
