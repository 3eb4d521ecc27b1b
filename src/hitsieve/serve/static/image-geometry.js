// Where pixels of the image lie on the sheet that is drawn, and which resolution they see.

// Pieces of the image with the matrices (as a canvas takes them) that put their pixels on the sheet, and its size.
export function layOut(sheet) {
  const [slow, fast] = sheet.shape;
  if (!sheet.assembled) return { pieces: [{ x: 0, y: 0, w: fast, h: slow, m: [1, 0, 0, 1, 0, 0] }], width: fast, height: slow };
  // As seen along the beam: the laboratory has x to the left then, and y up.
  const pixel = Math.hypot(...sheet.panels[0].fast);
  const pieces = sheet.panels.map((panel) => {
    const [s, f] = panel.first;
    const [a, b] = [-panel.fast[0] / pixel, -panel.fast[1] / pixel];
    const [c, d] = [-panel.slow[0] / pixel, -panel.slow[1] / pixel];
    const e = -panel.origin[0] / pixel - f * a - s * c;
    const g = -panel.origin[1] / pixel - f * b - s * d;
    return { x: f, y: s, w: panel.shape[1], h: panel.shape[0], m: [a, b, c, d, e, g] };
  });
  const corners = pieces.flatMap((p) => [[p.x, p.y], [p.x + p.w, p.y], [p.x, p.y + p.h], [p.x + p.w, p.y + p.h]].map(([x, y]) => put(p, x, y)));
  const left = Math.min(...corners.map((corner) => corner[0]));
  const top = Math.min(...corners.map((corner) => corner[1]));
  for (const piece of pieces) {
    piece.m[4] -= left;
    piece.m[5] -= top;
  }
  return {
    pieces,
    width: Math.max(...corners.map((corner) => corner[0])) - left,
    height: Math.max(...corners.map((corner) => corner[1])) - top,
  };
}

export function put(piece, x, y) {
  const [a, b, c, d, e, f] = piece.m;
  return [a * x + c * y + e, b * x + d * y + f];
}

export function pieceAt(pieces, x, y) {
  if (pieces.length === 1) return pieces[0];
  return pieces.find((p) => x >= p.x && x <= p.x + p.w && y >= p.y && y <= p.y + p.h) ?? pieces[0];
}

// Place in the image of a place on the sheet; null between pieces.
export function takeBack(pieces, X, Y) {
  for (const piece of pieces) {
    const [a, b, c, d, e, f] = piece.m;
    const det = a * d - b * c;
    const x = (d * (X - e) - c * (Y - f)) / det;
    const y = (a * (Y - f) - b * (X - e)) / det;
    if (x >= piece.x && x < piece.x + piece.w && y >= piece.y && y < piece.y + piece.h) return [x, y];
  }
  return null;
}

// Resolution d (angstrom) at a place in the image; null where it is not known.
export function resolutionAt(sheet, x, y) {
  if (!sheet.wavelength) return null;
  const panel = sheet.panels.find(
    (p) => x >= p.first[1] && x < p.first[1] + p.shape[1] && y >= p.first[0] && y < p.first[0] + p.shape[0],
  );
  if (!panel) return null;
  const at = [0, 1, 2].map((i) => panel.origin[i] + (x - panel.first[1]) * panel.fast[i] + (y - panel.first[0]) * panel.slow[i]);
  const cosine = at.reduce((sum, value, i) => sum + value * sheet.direction[i], 0) / Math.hypot(...at);
  const q = Math.sqrt(Math.max(2 * (1 - cosine), 0)) / sheet.wavelength;
  return q > 0 ? 1 / q : null;
}
