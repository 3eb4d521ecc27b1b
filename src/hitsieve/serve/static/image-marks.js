// Marks on the picture: spots, predicted reflections, resolution rings, ice, and the beam centre.

import { pieceAt, put } from "./image-geometry.js";

const NEAR = 9;
export const KINDS = ["does not count", "counts", "indexed"];
const LATTICES = ["#0072b2", "#009e73", "#e69f00"];
const COUNTED = "#d55e00";
const UNCOUNTED = "#aa3377";
const ICE = "#3aa0dd";
const RING = "#7a1fa2";
const RING_ON_DARK = "#d79bf5";

export function colourOf(spots, i) {
  if (spots.kind[i] === 2) return LATTICES[Math.min(spots.lattice[i], LATTICES.length - 1)];
  if (spots.kind[i] === 1) return COUNTED;
  return spots.ice[i] ? ICE : UNCOUNTED;
}

// Places of all marks on the sheet: worked out once an image.
export function placed(facts, layout) {
  const on = (xs, ys) => xs.map((x, i) => put(pieceAt(layout.pieces, x, ys[i]), x, ys[i]));
  const lines = (rings) =>
    rings.map((ring) => ({
      d: ring.d,
      lines: ring.lines.map((flat) => {
        // All of a line is on one piece; at the edge between two, its middle says on which.
        const half = Math.floor(flat.length / 4) * 2;
        const piece = pieceAt(layout.pieces, flat[half], flat[half + 1]);
        const points = [];
        for (let i = 0; i < flat.length; i += 2) points.push(put(piece, flat[i], flat[i + 1]));
        return points;
      }),
    }));
  return {
    spots: on(facts.spots.x, facts.spots.y),
    predicted: facts.lattices.map((lattice) => (lattice.predicted ? on(lattice.predicted.x, lattice.predicted.y) : [])),
    rings: lines(facts.sheet.rings),
    ice: lines(facts.sheet.ice),
    centre: facts.sheet.centre && put(layout.pieces[facts.sheet.centre_panel] ?? layout.pieces[0], ...facts.sheet.centre),
  };
}

export function drawMarks(view) {
  const [context, dots] = view.context(view.marks);
  context.setTransform(dots, 0, 0, dots, 0, 0);
  const { layers, marksPlaced: marks } = view;
  const line = view.look.colours === "paper" ? RING : RING_ON_DARK;
  if (layers.ice) drawRings(context, view, marks.ice, { line: ICE, text: ICE }, [2, 3]);
  if (layers.rings) drawRings(context, view, marks.rings, { line, text: RING }, [6, 4]);
  if (layers.centre && marks.centre) drawCentre(context, view.toStage(...marks.centre), line);
  if (layers.lattice) drawPredicted(context, view, marks.predicted);
  if (layers.spots) drawSpots(context, view, marks.spots);
}

function drawRings(context, view, rings, colours, dash) {
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const [width, height] = view.size;
  for (const ring of rings) {
    context.setLineDash(dash);
    let label = null;
    for (const line of ring.lines) {
      context.beginPath();
      for (const [i, point] of line.entries()) {
        const [x, y] = view.toStage(...point);
        if (i) context.lineTo(x, y);
        else context.moveTo(x, y);
        const inside = x > 24 && x < width - 24 && y > 10 && y < height - 10;
        // Near the upper right, where labels of several rings do not hide each other.
        if (inside && (!label || x - y > label[0] - label[1])) label = [x, y];
      }
      context.stroke();
    }
    context.setLineDash([]);
    if (!label) continue;
    const text = `${Number(ring.d.toPrecision(3))} Å`;
    const half = context.measureText(text).width / 2 + 3;
    context.fillStyle = "rgba(255, 255, 255, 0.85)";
    context.fillRect(label[0] - half, label[1] - 7, 2 * half, 14);
    context.fillStyle = colours.text;
    context.fillText(text, ...label);
  }
}

function drawCentre(context, [x, y], colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1.4;
  context.beginPath();
  context.moveTo(x - 8, y);
  context.lineTo(x + 8, y);
  context.moveTo(x, y - 8);
  context.lineTo(x, y + 8);
  context.stroke();
}

function within(view, [x, y], margin = 20) {
  const [width, height] = view.size;
  return x > -margin && y > -margin && x < width + margin && y < height + margin;
}

function drawPredicted(context, view, lattices) {
  const half = Math.max(2.5, Math.min(1.6 * view.view.zoom, 16));
  context.lineWidth = 1;
  for (const [number, places] of lattices.entries()) {
    context.strokeStyle = LATTICES[Math.min(number, LATTICES.length - 1)];
    context.globalAlpha = 0.8;
    for (const place of places) {
      const at = view.toStage(...place);
      if (within(view, at)) context.strokeRect(at[0] - half, at[1] - half, 2 * half, 2 * half);
    }
  }
  context.globalAlpha = 1;
}

function drawSpots(context, view, places) {
  const { spots } = view.facts;
  const radius = Math.max(5, Math.min(3 * view.view.zoom, 34));
  context.lineWidth = 1.6;
  for (const [i, place] of places.entries()) {
    const at = view.toStage(...place);
    if (!within(view, at, 40)) continue;
    context.strokeStyle = colourOf(spots, i);
    context.setLineDash(spots.kind[i] === 0 ? [3, 2] : []);
    context.beginPath();
    context.arc(...at, radius, 0, 2 * Math.PI);
    context.stroke();
  }
  context.setLineDash([]);
}

// In words: the spot, or else the predicted reflection, next to a place of the stage.
export function nearestMark(view, at) {
  const { spots, lattices } = view.facts;
  const { layers, marksPlaced: marks } = view;
  const reach = Math.max(NEAR, Math.min(3 * view.view.zoom, 34));
  const nearest = (places) => {
    let best = null;
    for (const [i, place] of places.entries()) {
      const [x, y] = view.toStage(...place);
      const off = Math.hypot(x - at[0], y - at[1]);
      if (off < reach && (!best || off < best.off)) best = { i, off };
    }
    return best;
  };
  const spot = layers.spots ? nearest(marks.spots) : null;
  if (spot) {
    const { i } = spot;
    const hkl = spots.lattice[i] >= 0 ? ` as (${spots.h[i]} ${spots.k[i]} ${spots.l[i]})` : "";
    const lattice = hkl && lattices.length > 1 ? ` of lattice ${spots.lattice[i] + 1}` : "";
    const d = spots.d[i] === null ? "" : `, ${spots.d[i].toFixed(2)} Å`;
    const ice = spots.ice[i] ? ", in an ice band" : "";
    return `spot ${KINDS[spots.kind[i]]}${hkl}${lattice}: snr ${spots.snr[i]}, ${spots.intensity[i]} counts on ${spots.pixels[i]} pixels${d}${ice}`;
  }
  if (!layers.lattice) return null;
  let best = null;
  for (const [number, places] of marks.predicted.entries()) {
    const found = nearest(places);
    if (found && (!best || found.off < best.off)) best = { ...found, number };
  }
  if (!best) return null;
  const { h, k, l } = lattices[best.number].predicted;
  const lattice = lattices.length > 1 ? `, lattice ${best.number + 1}` : "";
  return `predicted (${h[best.i]} ${k[best.i]} ${l[best.i]})${lattice}`;
}
