// Counts of an image, as they come from the server in levels and tiles, and the colours that they are drawn in.

const TILE = 512;
const MOST_TILES = 96;
const NARROW = 65536;

// Cells as they come: { level, column, row, width, height, values } in cells of the level.
async function fetched(url, signal) {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw await refusal(answer);
  const told = JSON.parse(answer.headers.get("X-Picture"));
  const bytes = await answer.arrayBuffer();
  const values = told.dtype === "uint16" ? new Uint16Array(bytes) : new Int32Array(bytes);
  return { told, values, height: told.shape[0], width: told.shape[1] };
}

export async function refusal(answer) {
  let said = {};
  try {
    said = await answer.json();
  } catch {
    said = { what: `the server answers ${answer.status}` };
  }
  const error = new Error(said.what ?? `the server answers ${answer.status}`);
  error.mend = said.mend ?? "";
  return error;
}

// One image: its whole on a coarse level, and tiles of finer ones as they are wanted.
export class Cells {
  static async load(url, signal) {
    const whole = await fetched(url, signal);
    return new Cells(url, whole);
  }

  constructor(url, whole) {
    this.url = url;
    this.told = whole.told;
    this.coarse = whole.told.level;
    this.blocks = new Map();
    this.asked = new Set();
    this.aborter = new AbortController();
    this.wholes = new Map([[this.coarse, { ...whole, level: this.coarse, x: 0, y: 0 }]]);
  }

  // Another image is shown: tiles take much memory.
  letGo() {
    this.aborter.abort();
    this.aborter = new AbortController();
    this.blocks.clear();
    this.asked.clear();
    for (const whole of this.wholes.values()) whole.canvas = whole.look = null;
  }

  // The whole image on a level: as it came, or made coarser here so that no cell is smaller than a dot of the screen.
  whole(level) {
    let at = this.coarse;
    while (at < level) {
      if (!this.wholes.has(at + 1)) this.wholes.set(at + 1, halved(this.wholes.get(at)));
      at += 1;
    }
    return this.wholes.get(at);
  }

  // Tiles of a level over a part of the image, those that are here; the others are asked for.
  tiles(level, part, arrived) {
    const side = TILE * 2 ** level;
    const found = [];
    for (let row = Math.max(Math.floor(part.top / side), 0); row * side < part.bottom; row += 1) {
      for (let column = Math.max(Math.floor(part.left / side), 0); column * side < part.right; column += 1) {
        const key = `${level}/${column}/${row}`;
        const block = this.blocks.get(key);
        if (block) {
          this.blocks.delete(key);
          this.blocks.set(key, block);
          found.push(block);
        } else if (!this.asked.has(key)) {
          this.asked.add(key);
          this.ask(level, column, row, key, arrived);
        }
      }
    }
    return found;
  }

  async ask(level, column, row, key, arrived) {
    try {
      const url = `${this.url}?level=${level}&column=${column}&row=${row}`;
      const block = await fetched(url, this.aborter.signal);
      this.blocks.set(key, { ...block, level, x: column * TILE, y: row * TILE });
      while (this.blocks.size > MOST_TILES) {
        const oldest = this.blocks.keys().next().value;
        this.blocks.delete(oldest);
        this.asked.delete(oldest);
      }
      arrived();
    } catch {
      // It is asked for again when it is looked at again.
      this.asked.delete(key);
    }
  }

  // Count at a pixel, from the finest level that is here; { count: null } where there is no data.
  at(x, y) {
    for (let level = 0; level <= this.coarse; level += 1) {
      const [column, row] = [Math.floor(x / 2 ** level), Math.floor(y / 2 ** level)];
      const key = `${level}/${Math.floor(column / TILE)}/${Math.floor(row / TILE)}`;
      const block = level === this.coarse ? this.wholes.get(level) : this.blocks.get(key);
      if (!block) continue;
      const [i, j] = [column - block.x, row - block.y];
      if (i < 0 || j < 0 || i >= block.width || j >= block.height) return null;
      const value = block.values[j * block.width + i];
      return { count: value === this.told.no_data ? null : value - this.told.offset, level };
    }
    return null;
  }
}

function halved(block) {
  const width = Math.ceil(block.width / 2);
  const height = Math.ceil(block.height / 2);
  const values = new block.values.constructor(width * height);
  for (let j = 0; j < height; j += 1) {
    const upper = 2 * j * block.width;
    const lower = Math.min(2 * j + 1, block.height - 1) * block.width;
    for (let i = 0; i < width; i += 1) {
      const left = 2 * i;
      const right = Math.min(left + 1, block.width - 1);
      values[j * width + i] = Math.max(
        block.values[upper + left], block.values[upper + right], block.values[lower + left], block.values[lower + right],
      );
    }
  }
  return { ...block, level: block.level + 1, width, height, values };
}

const RAMPS = {
  paper: [[255, 255, 255], [0, 0, 0]],
  night: [[8, 10, 12], [255, 255, 255]],
  heat: [[12, 8, 20], [92, 22, 110], [204, 62, 68], [249, 160, 34], [252, 255, 200]],
};
const MASK = { true: [217, 207, 168], false: null };
const SATURATED = [214, 0, 80];

function packed([r, g, b]) {
  return (255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r);
}

function ramp(name, t) {
  const stops = RAMPS[name];
  const place = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(place), stops.length - 2);
  return stops[i].map((value, k) => value + (stops[i + 1][k] - value) * (place - i));
}

// From counts to colours: { low, high, log, colours, mask, saturated }.
export class Colours {
  constructor(told, look) {
    this.told = told;
    this.look = look;
    this.narrow = told.dtype === "uint16";
    this.table = new Uint32Array(NARROW);
    const span = Math.max(look.high - look.low, 1e-9);
    // A wide table has its entries over the range that is drawn.
    this.step = this.narrow ? 1 : Math.max(span / (NARROW - 2), 1e-9);
    this.first = this.narrow ? -told.offset : look.low;
    for (let i = 0; i < NARROW; i += 1) this.table[i] = packed(this.of(this.first + i * this.step));
    const masked = MASK[look.mask] ?? ramp(look.colours, 0);
    this.masked = packed(masked);
    if (this.narrow) this.table[told.no_data] = this.masked;
  }

  // Share of black, 0 to 1.
  share(count) {
    const { low, high, log } = this.look;
    const t = (count - low) / Math.max(high - low, 1e-9);
    if (t <= 0 || !log) return Math.min(Math.max(t, 0), 1);
    return Math.min(Math.log1p(count - low) / Math.log1p(high - low), 1);
  }

  of(count) {
    const { saturated, colours } = this.look;
    return saturated !== null && count > saturated ? SATURATED : ramp(colours, this.share(count));
  }

  paint(block) {
    const canvas = document.createElement("canvas");
    canvas.width = block.width;
    canvas.height = block.height;
    const context = canvas.getContext("2d");
    const data = context.createImageData(block.width, block.height);
    const dots = new Uint32Array(data.data.buffer);
    const { values } = block;
    if (this.narrow) {
      for (let i = 0; i < dots.length; i += 1) dots[i] = this.table[values[i]];
    } else {
      const { saturated } = this.look;
      const limit = saturated ?? Infinity;
      const full = packed(SATURATED);
      for (let i = 0; i < dots.length; i += 1) {
        const value = values[i];
        if (value === this.told.no_data) dots[i] = this.masked;
        else if (value > limit) dots[i] = full;
        else dots[i] = this.table[Math.min(Math.max(Math.round((value - this.first) / this.step), 0), NARROW - 1)];
      }
    }
    context.putImageData(data, 0, 0);
    return canvas;
  }
}
