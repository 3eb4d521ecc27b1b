// The picture: an image that is zoomed and moved, and the marks on it.

import { Colours } from "./image-cells.js";
import { layOut, pieceAt, put, resolutionAt, takeBack } from "./image-geometry.js";
import { drawMarks, nearestMark, placed } from "./image-marks.js";

const MOST_ZOOM = 60;
const READABLE = 30;

export class ImageView {
  constructor(stage, told) {
    this.stage = stage;
    this.told = told;
    this.counts = stage.querySelector("#counts");
    this.marks = stage.querySelector("#marks");
    this.view = null;
    this.layers = {};
    this.facts = null;
    this.cells = null;
    this.look = { low: 0, high: 10, log: true, colours: "paper", mask: true, saturated: null };
    this.pointers = new Map();
    this.wanted = false;
    new ResizeObserver(() => this.resized()).observe(stage);
    this.listen();
  }

  // Show another image; the view stays where it is unless the sheet is another.
  show(facts, cells) {
    const before = this.layout;
    if (this.cells && this.cells !== cells) this.cells.letGo();
    this.facts = facts;
    this.cells = cells;
    this.layout = layOut(facts.sheet);
    this.marksPlaced = placed(facts, this.layout);
    this.colours = null;
    this.look.saturated = facts.saturated_above;
    const same = before && before.width === this.layout.width && before.height === this.layout.height;
    if (!same || !this.view) this.fit();
    this.draw();
  }

  get size() {
    return [this.stage.clientWidth, this.stage.clientHeight];
  }

  get fitting() {
    const [width, height] = this.size;
    return Math.min(width / this.layout.width, height / this.layout.height) * 0.985;
  }

  fit() {
    if (!this.layout) return;
    this.view = { x: this.layout.width / 2, y: this.layout.height / 2, zoom: this.fitting };
    this.fitted = true;
    this.moved();
  }

  // Look at a place of the sheet.
  lookAt(x, y, zoom) {
    this.fitted = false;
    this.view = { x, y, zoom };
    this.kept();
  }

  // Zoom by a factor, with one place of the stage unmoved.
  zoom(factor, at = this.size.map((side) => side / 2)) {
    if (!this.layout) return;
    const [X, Y] = this.toSheet(...at);
    const zoom = this.view.zoom * factor;
    this.view.zoom = Math.min(Math.max(zoom, this.fitting * 0.5), MOST_ZOOM);
    const [width, height] = this.size;
    this.view.x = X - (at[0] - width / 2) / this.view.zoom;
    this.view.y = Y - (at[1] - height / 2) / this.view.zoom;
    this.fitted = false;
    this.kept();
  }

  pan(dx, dy) {
    if (!this.layout) return;
    this.view.x -= dx / this.view.zoom;
    this.view.y -= dy / this.view.zoom;
    this.fitted = false;
    this.kept();
  }

  kept() {
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    this.view.zoom = Math.min(Math.max(this.view.zoom, this.fitting * 0.5), MOST_ZOOM);
    this.view.x = inside(this.view.x, this.layout.width);
    this.view.y = inside(this.view.y, this.layout.height);
    this.moved();
  }

  moved() {
    this.told.view?.(this.view, this.fitted);
    this.draw();
  }

  toStage(X, Y) {
    const [width, height] = this.size;
    return [(X - this.view.x) * this.view.zoom + width / 2, (Y - this.view.y) * this.view.zoom + height / 2];
  }

  toSheet(x, y) {
    const [width, height] = this.size;
    return [(x - width / 2) / this.view.zoom + this.view.x, (y - height / 2) / this.view.zoom + this.view.y];
  }

  setLook(look) {
    Object.assign(this.look, look);
    this.colours = null;
    this.draw();
  }

  setLayer(name, on) {
    this.layers[name] = on;
    if (name === "mask") this.setLook({ mask: on });
    this.draw();
  }

  resized() {
    if (this.layout && this.fitted) this.fit();
    else this.draw();
  }

  draw() {
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => {
      this.wanted = false;
      if (!this.layout || !this.view) return;
      this.drawCounts();
      drawMarks(this);
      if (this.pointer) this.point(this.pointer);
      this.stage.dataset.shown = this.facts.image;
      this.stage.dataset.zoom = (this.view.zoom / this.fitting).toFixed(3);
    });
  }

  context(canvas) {
    const dots = window.devicePixelRatio || 1;
    const [width, height] = this.size.map((side) => Math.max(Math.round(side * dots), 1));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    return [context, dots];
  }

  drawCounts() {
    const [context, dots] = this.context(this.counts);
    if (!this.cells) return;
    this.colours ??= new Colours(this.cells.told, this.look);
    context.imageSmoothingEnabled = false;
    // No cell is smaller than a dot of the screen, or spots would be lost between them.
    const level = Math.max(Math.ceil(Math.log2(1 / (this.view.zoom * dots)) - 0.1), 0);
    const blocks = [this.cells.whole(Math.max(level, this.cells.coarse))];
    if (level < this.cells.coarse) {
      for (const part of this.visible()) blocks.push(...this.cells.tiles(level, part, () => this.draw()));
    }
    for (const block of new Set(blocks)) this.drawBlock(context, dots, block);
    if (this.view.zoom >= READABLE) this.writeCounts(context, dots);
  }

  // The part of each piece that is on the stage, in pixels of the image.
  visible() {
    const [width, height] = this.size;
    const corners = [[0, 0], [width, 0], [0, height], [width, height]].map(([x, y]) => this.toSheet(x, y));
    const parts = [];
    for (const piece of this.layout.pieces) {
      const [a, b, c, d, e, f] = piece.m;
      const det = a * d - b * c;
      const inner = corners.map(([X, Y]) => [(d * (X - e) - c * (Y - f)) / det, (a * (Y - f) - b * (X - e)) / det]);
      const [xs, ys] = [inner.map((p) => p[0]), inner.map((p) => p[1])];
      const part = {
        left: Math.max(Math.min(...xs), piece.x),
        right: Math.min(Math.max(...xs), piece.x + piece.w),
        top: Math.max(Math.min(...ys), piece.y),
        bottom: Math.min(Math.max(...ys), piece.y + piece.h),
        piece,
      };
      if (part.left < part.right && part.top < part.bottom) parts.push(part);
    }
    return parts;
  }

  drawBlock(context, dots, block) {
    if (block.look !== this.colours) {
      block.canvas = this.colours.paint(block);
      block.look = this.colours;
    }
    const side = 2 ** block.level;
    const [width, height] = this.size;
    const { x, y, zoom } = this.view;
    const box = { left: block.x * side, top: block.y * side };
    box.right = box.left + block.width * side;
    box.bottom = box.top + block.height * side;
    for (const { piece, ...part } of this.visible()) {
      if (part.left >= box.right || part.right <= box.left || part.top >= box.bottom || part.bottom <= box.top) continue;
      const [a, b, c, d, e, f] = piece.m;
      const s = zoom * dots;
      context.save();
      context.setTransform(s * a, s * b, s * c, s * d, s * (e - x) + (width * dots) / 2, s * (f - y) + (height * dots) / 2);
      context.beginPath();
      context.rect(piece.x, piece.y, piece.w, piece.h);
      context.clip();
      context.drawImage(block.canvas, box.left, box.top, box.right - box.left, box.bottom - box.top);
      context.restore();
    }
  }

  writeCounts(context, dots) {
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.font = `${Math.min(this.view.zoom / 3.2, 15)}px ui-monospace, monospace`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const part of this.visible()) {
      for (let y = Math.floor(part.top); y < part.bottom; y += 1) {
        for (let x = Math.floor(part.left); x < part.right; x += 1) {
          const found = this.cells.at(x, y);
          if (!found || found.count === null || found.level > 0) continue;
          const [r, g, b] = this.colours.of(found.count);
          context.fillStyle = r + g + b > 380 ? "#222" : "#eee";
          context.fillText(String(found.count), ...this.toStage(...put(part.piece, x + 0.5, y + 0.5)));
        }
      }
    }
  }

  listen() {
    const { stage } = this;
    const at = (event) => {
      const box = stage.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const turn = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
      this.zoom(Math.exp(-Math.max(Math.min(turn, 240), -240) * 0.002), at(event));
    }, { passive: false });
    stage.addEventListener("dblclick", (event) => this.zoom(2, at(event)));
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      stage.classList.add("dragged");
    });
    stage.addEventListener("pointermove", (event) => {
      const now = at(event);
      const before = this.pointers.get(event.pointerId);
      if (before && this.layout) this.dragged(event.pointerId, before, now);
      this.point(now);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => {
        this.pointers.delete(event.pointerId);
        if (!this.pointers.size) stage.classList.remove("dragged");
      });
    }
    stage.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.told.point?.(null);
    });
  }

  dragged(id, before, now) {
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    this.pointers.set(id, now);
    if (!other) {
      this.pan(now[0] - before[0], now[1] - before[1]);
      return;
    }
    const apart = (a, b) => Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1);
    const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
    this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    this.zoom(apart(now, other) / apart(before, other), middle);
  }

  // Tell what is under the pointer.
  point(at) {
    this.pointer = at;
    if (!this.layout || !this.view) return;
    const place = takeBack(this.layout.pieces, ...this.toSheet(...at));
    this.told.point?.({
      at,
      place,
      count: place && this.cells ? this.cells.at(Math.floor(place[0]), Math.floor(place[1])) : null,
      d: place && resolutionAt(this.facts.sheet, ...place),
      mark: nearestMark(this, at),
    });
  }

  // Place on the sheet of a place in the image.
  onSheet(x, y) {
    return put(pieceAt(this.layout.pieces, x, y), x, y);
  }
}
