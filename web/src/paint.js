// Marks on a canvas: steps, bars, crosses, blocks. Each draws what is in view, and no more than a screen can show.

import { above } from "./data.js";

export const FONT = 'system-ui, "DejaVu Sans", sans-serif';
let styles = null;

// Colours are custom properties of the page's style, so that light and dark are one switch.
export function colour(name) {
  styles ??= getComputedStyle(document.documentElement);
  return styles.getPropertyValue("--" + name).trim();
}
export function forgetColours() { styles = null; }

// What a view draws with: a canvas, its box, and the way from data to pixels. ``log`` hears of every mark when a test asks.
export function frameOf(plot, log) {
  const { left, top, width, height } = plot.bbox, ratio = devicePixelRatio || 1;
  const { min: x0, max: x1 } = plot.scales.x, { min: y0, max: y1 } = plot.scales.y;
  const kx = width / (x1 - x0), ky = height / (y1 - y0);
  return {
    c: plot.ctx, L: left, T: top, W: width, H: height, R: left + width, B: top + height, PR: ratio, x0, x1, y0, y1,
    X: time => left + (time - x0) * kx, Y: value => top + height - (value - y0) * ky, log,
  };
}

export function text(f, words, x, y, ink, { align = "left", size = 11, weight = "" } = {}) {
  const { c, PR } = f;
  c.font = `${weight} ${size * PR}px ${FONT}`;
  c.fillStyle = ink;
  c.textAlign = align;
  c.textBaseline = "middle";
  c.fillText(words, x, y);
}

export function width(f, words, size = 11) {
  f.c.font = `${size * f.PR}px ${FONT}`;
  return f.c.measureText(words).width;
}

// Text that is cut, with a mark, where there is no room for all of it; nothing where there is hardly any.
export function fitted(f, words, room, size = 11) {
  if (width(f, words, size) <= room) return words;
  let low = 0, high = words.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (width(f, words.slice(0, middle) + "…", size) <= room) low = middle; else high = middle - 1;
  }
  return low < 2 ? "" : words.slice(0, low) + "…";
}

// A quantity that keeps its value until the next row. Rows below 0 are gaps.
export function steps(f, series, column, ink, { wide = 1.5, dash = [], fill = 0, name = column, until = f.x1 } = {}) {
  const { c, X, Y, PR } = f, t = series.t, v = series[column];
  const first = Math.max(0, above(t, f.x0) - 1), last = above(t, f.x1);
  if (first >= last) return;
  c.beginPath();
  let pen = false, start = 0, y = 0, end = 0;
  const put = (x, low, high, final) => {
    if (!pen) { c.moveTo(x, Y(low)); start = x; pen = true; } else c.lineTo(x, y);
    if (high !== low) { c.lineTo(x, Y(low)); c.lineTo(x, Y(high)); }
    y = Y(final);
    c.lineTo(x, y);
    end = x;
  };
  const close = x => {
    if (!pen) return;
    c.lineTo(x, y);
    if (fill) fills.push([start, x]);
  };
  const fills = [];
  const dense = last - first > (3 * f.W) / PR;
  let column0 = null, low = 0, high = 0, final = 0;
  const flush = () => { if (column0 !== null) put(column0, low, high, final); column0 = null; };
  for (let i = first; i < last; i++) {
    const value = v[i];
    if (value < 0) { flush(); close(Math.max(f.L, X(t[i]))); pen = false; continue; }
    const x = Math.max(f.L - 2, X(t[i]));
    if (f.log) f.log(name, t[i], value, X(t[i]), Y(value), series.row ? series.row[i] : i);
    if (!dense) { put(x, value, value, value); continue; }
    const p = Math.round(x);
    if (p !== column0) { flush(); column0 = p; low = high = value; }
    if (value < low) low = value;
    if (value > high) high = value;
    final = value;
  }
  flush();
  close(Math.max(end, X(Math.min(until, f.x1))));
  c.strokeStyle = ink;
  c.lineWidth = wide * PR;
  c.setLineDash(dash.map(n => n * PR));
  c.stroke();
  c.setLineDash([]);
  if (fill && fills.length) {
    c.lineTo(fills[fills.length - 1][1], f.B);
    c.lineTo(fills[0][0], f.B);
    c.globalAlpha = fill;
    c.fillStyle = ink;
    c.fill();
    c.globalAlpha = 1;
  }
}

// The largest value in view, with the one that holds at its left edge.
export function most(series, column, from, until, at_least = 0) {
  const t = series.t, v = series[column], last = above(t, until);
  let found = at_least;
  for (let i = Math.max(0, above(t, from) - 1); i < last; i++) if (v[i] > found) found = v[i];
  return found;
}

export function least(series, column, from, until) {
  const t = series.t, v = series[column], last = above(t, until);
  let found = Infinity;
  for (let i = Math.max(0, above(t, from) - 1); i < last; i++) if (v[i] >= 0 && v[i] < found) found = v[i];
  return found;
}

// Crosses; where there are very many, ticks that add up.
export function crosses(f, points, ink, size = 4) {
  const { c, PR } = f;
  if (points.length > 600) {
    c.fillStyle = ink;
    c.globalAlpha = 0.4;
    for (const [x, y] of points) c.fillRect(x - PR / 2, y - 2 * PR, PR, 4 * PR);
    c.globalAlpha = 1;
    return;
  }
  c.beginPath();
  const s = size * PR;
  for (const [x, y] of points) {
    c.moveTo(x - s, y - s); c.lineTo(x + s, y + s);
    c.moveTo(x - s, y + s); c.lineTo(x + s, y - s);
  }
  c.strokeStyle = ink;
  c.lineWidth = 1.8 * PR;
  c.stroke();
}

// Dots, one a place, however many fall there.
export function dots(f, points, ink, { size = 1.6, hollow = false } = {}) {
  const { c, PR } = f, seen = new Set();
  c.beginPath();
  for (const [x, y] of points) {
    const place = Math.round(x / PR) * 65536 + Math.round(y / PR);
    if (seen.has(place)) continue;
    seen.add(place);
    c.moveTo(x + size * PR, y);
    c.arc(x, y, size * PR, 0, 2 * Math.PI);
  }
  if (hollow) { c.strokeStyle = ink; c.lineWidth = 1.2 * PR; c.stroke(); } else { c.fillStyle = ink; c.fill(); }
}

// The samples that the steps of a series join, as dots: between two of them nothing is known.
export function samples(f, series, column, ink) {
  const points = [];
  for (let i = above(series.t, f.x0 - 1e-9), last = above(series.t, f.x1); i < last; i++) {
    if (series[column][i] < 0) continue;
    const x = f.X(series.t[i]), y = f.Y(series[column][i]);
    points.push([x, y]);
    if (f.log) f.log("sampled " + column, series.t[i], series[column][i], x, y);
  }
  dots(f, points, ink, { size: 2.2 });
}

// Spans of time as blocks in a row. Those too narrow to be seen alone are added up in columns of a few pixels, as shares.
export function blocks(f, spans, top, height, { ink, label = null, alpha = 1, inkOn = null }) {
  const { c, X, PR } = f, cell = 4 * PR, wide = [];
  const shares = new Map();
  c.globalAlpha = alpha;
  for (const [from, until, what] of spans) {
    if (until <= f.x0 || from >= f.x1) continue;
    const a = Math.max(f.L, X(from)), b = Math.min(f.R, X(until));
    if (f.log) f.log("block", from, what, X(from), top, X(until));
    if (b - a < cell) {
      for (let k = Math.floor((a - f.L) / cell); k <= Math.floor((b - f.L) / cell); k++) {
        const l = f.L + k * cell, part = Math.max(0, Math.min(b, l + cell) - Math.max(a, l)) || 0.01;
        if (!shares.has(k)) shares.set(k, new Map());
        shares.get(k).set(what, (shares.get(k).get(what) ?? 0) + part);
      }
      continue;
    }
    c.fillStyle = ink(what);
    c.fillRect(a, top, b - a, height);
    wide.push([a, b, what]);
  }
  // A column that a narrow block is in is shared with the wide ones beside it.
  for (const [a, b, what] of wide) for (const k of new Set([Math.floor((a - f.L) / cell), Math.floor((b - f.L) / cell)])) {
    const l = f.L + k * cell, part = Math.min(b, l + cell) - Math.max(a, l), parts = shares.get(k);
    if (parts && part > 0) parts.set(what, (parts.get(what) ?? 0) + part);
  }
  for (const [k, parts] of shares) {
    let y = top;
    const sum = [...parts.values()].reduce((x, z) => x + z, 0);
    for (const [what, part] of parts) {
      const high = (part / sum) * height;
      c.fillStyle = ink(what);
      c.fillRect(f.L + k * cell, y, cell, high);
      y += high;
    }
  }
  c.globalAlpha = 1;
  if (!label) return;
  for (const [from, until, what] of spans) {
    if (until <= f.x0 || from >= f.x1) continue;
    const a = Math.max(f.L, X(from)), b = Math.min(f.R, X(until));
    const words = b - a > 24 * PR ? fitted(f, label(what), b - a - 8 * PR) : "";
    if (words) text(f, words, a + 4 * PR, top + height / 2, inkOn ? inkOn(what) : colour("fg"));
  }
}

// The names of rows, in the gutter at the left.
export function gutter(f, names, rowHeight) {
  const room = f.L - 12 * f.PR;
  names.forEach((name, n) => {
    const words = fitted(f, name, room);
    text(f, words, f.L - 7 * f.PR, f.T + (n + 0.5) * rowHeight, colour("mut"), { align: "right" });
  });
}

export function hatched(f, from, until, ink, top = f.T, height = f.H) {
  const { c, X, PR } = f, a = Math.max(f.L, X(from)), b = Math.min(f.R, X(until));
  if (b <= a) return;
  c.save();
  c.beginPath();
  c.rect(a, top, b - a, height);
  c.clip();
  c.fillStyle = c.strokeStyle = ink;
  c.globalAlpha = 0.1;
  c.fillRect(a, top, b - a, height);
  c.globalAlpha = 0.28;
  c.lineWidth = PR;
  c.beginPath();
  const step = 9 * PR;
  for (let x = Math.floor((a - height) / step) * step; x < b; x += step) { c.moveTo(x, top + height); c.lineTo(x + height, top); }
  c.stroke();
  c.restore();
}
