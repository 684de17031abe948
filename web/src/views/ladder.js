// 2. The ladder, lying on its side so that it shares the clock: a line for each host, an arrow for each frame. What waits
// in a link's queue runs along the queue's own line first. A frame that is lost ends in a cross.

import { KINDS, above } from "../data.js";
import { count, span } from "../format.js";
import { colour, crosses, fitted, text, width } from "../paint.js";

const FRAMES_MAX = 4000;
const QUEUE = 0.16;

// The hosts whose lines are drawn, from the opener to the other end, and what is off that way below.
function lanes(store, timeline) {
  return store.kept(`lanes ${timeline.all ? "all" : timeline.conn}`, () => {
    const frame = store.tables.frame, next = new Map(), seen = [];
    for (const row of rows(store, timeline).rows) {
      const way = store.meta.ways[frame.way[row]];
      for (const host of [way.source, way.target]) if (!seen.includes(host)) seen.push(host);
      if (!next.has(way.source)) next.set(way.source, new Set());
      next.get(way.source).add(way.target);
    }
    const conn = store.conns[timeline.conn];
    const path = conn ? shortest(next, conn.hosts[0], conn.hosts[1]) : [];
    return [...path, ...seen.filter(host => !path.includes(host))].filter(host => seen.includes(host));
  });
}

function shortest(next, from, to) {
  const before = new Map([[from, null]]), queue = [from];
  while (queue.length && !before.has(to)) {
    const host = queue.shift();
    for (const other of next.get(host) ?? []) if (!before.has(other)) { before.set(other, host); queue.push(other); }
  }
  if (!before.has(to)) return [from, to];
  const path = [];
  for (let host = to; host !== null; host = before.get(host)) path.unshift(host);
  return path;
}

export function rows(store, timeline) {
  return timeline.all || timeline.conn < 0 ? store.frames("all", () => true)
    : store.frames("conn " + timeline.conn, (row, frame) => frame.conn[row] === timeline.conn);
}

export function ladderView(store, timeline) {
  const frame = store.tables.frame;
  const longest = () => store.kept("longest flight", () => {
    let most = 0.001;
    for (let row = 0; row < frame.rows; row++) most = Math.max(most, frame.wait[row] + Math.max(0, frame.fly[row]));
    return most;
  });

  // How long a frame would have flown: where the link says, its delay; else as long as others did.
  const flight = way => store.kept("flight " + way, () => {
    const delay = store.meta.ways[way].conditions.delay_ns;
    if (delay) return delay / 1e9;
    const times = [];
    for (let row = 0; row < frame.rows && times.length < 200; row++) if (frame.way[row] === way && frame.fly[row] > 0 && !store.isLost(row)) times.push(frame.fly[row]);
    return times.sort((a, b) => a - b)[times.length >> 1] ?? 0.001;
  });

  const inView = f => {
    const { rows: list, t } = rows(store, timeline);
    return [list, above(t, f.x0 - longest()), above(t, f.x1)];
  };

  const place = (f, host) => {
    const all = lanes(store, timeline), top = f.T + 26 * f.PR, room = f.H - 52 * f.PR;
    return all.length < 2 ? top + room / 2 : top + (room * all.indexOf(host)) / (all.length - 1);
  };

  // The points of a frame's way over the picture, and whether it ends in a cross.
  function path(f, row) {
    const way = store.meta.ways[frame.way[row]], lost = store.isLost(row), t = frame.t[row];
    let a = place(f, way.source), b = place(f, way.target);
    const known = lanes(store, timeline);
    if (known.indexOf(way.source) < 0) a = b;
    if (known.indexOf(way.target) < 0) b = a;
    const line = a + (b - a) * QUEUE, wait = frame.wait[row], out = t + wait, points = [];
    points.push([f.X(t), a]);
    if (wait > 0) points.push([f.X(t + wait * 0.02), line], [f.X(out), line]);
    if (lost) {
      const whole = flight(frame.way[row]), flown = Math.max(0, frame.fly[row]);
      const share = flown === 0 && wait === 0 ? QUEUE : Math.min(0.92, Math.max(0.4, flown / whole));
      points.push([f.X(out + Math.max(flown, whole * share)), a + (b - a) * share]);
    } else if (way.target < 0) points.push([f.X(out), b]);
    else if (frame.fly[row] >= 0) points.push([f.X(out + frame.fly[row]), b]);
    else points.push([f.X(out + flight(frame.way[row]) / 2), (a + b) / 2]);
    return { points, lost };
  }

  return {
    id: "ladder", opens: true, title: "Ladder",
    unit: () => (timeline.all ? "all traffic" : "this connection") + ": every frame, from where and when it was sent to where it arrived; click one for all about it",
    height: () => Math.min(420, Math.max(210, 90 + 96 * Math.max(1, lanes(store, timeline).length - 1))),
    grid: false, values: () => [],
    missing: () => frame.rows ? "" : "No frame was seen.",
    keys: () => [...new Set([...Object.keys(KINDS)])].filter(kind => store.kept("kinds used", () => {
      const used = new Set();
      for (let row = 0; row < frame.rows; row++) used.add(store.kind(row));
      return used;
    }).has(kind)).map(kind => ({ id: "ladder " + kind, name: KINDS[kind][0], ink: KINDS[kind][1], kind: "arrow" }))
      .concat([{ id: "ladder lost", name: "lost", ink: "loss", kind: "cross" }],
        frame.bits.some(bits => bits & 26) ? [{ id: "ladder odd", name: "copied, damaged, held back", ink: "sack", kind: "dash" }] : []),
    draw(f) {
      const { c, PR } = f, [list, first, last] = inView(f), many = last - first;
      for (const host of lanes(store, timeline)) {
        const y = place(f, host);
        c.beginPath();
        c.moveTo(f.L, y);
        c.lineTo(f.R, y);
        c.strokeStyle = colour("line");
        c.lineWidth = 2 * PR;
        c.stroke();
      }
      this.queues(f);
      if (many > FRAMES_MAX) {
        const lines = [`${many.toLocaleString("en")} frames in view`, `zoom in to fewer than ${FRAMES_MAX.toLocaleString("en")} to see each`];
        lines.forEach((words, n) => text(f, words, f.L + f.W / 2, f.T + f.H / 2 + (18 * n - 4) * f.PR, colour("mut"), { align: "center", size: 12 }));
        return;
      }
      const groups = new Map(), ends = [], heads = many < 200;
      for (let i = first; i < last; i++) {
        const row = list[i], kind = store.kind(row);
        if (timeline.hidden.has("ladder " + kind)) continue;
        const { points, lost } = path(f, row);
        if (points[points.length - 1][0] < f.L) continue;
        if (!groups.has(kind)) groups.set(kind, []);
        groups.get(kind).push([row, points, lost]);
        if (lost) ends.push(points[points.length - 1]);
        if (f.log) f.log(lost ? "lost" : "frame", row, kind, points[0][0], points[0][1], points[points.length - 1][0], points[points.length - 1][1]);
      }
      for (const kind of Object.keys(KINDS)) {
        c.beginPath();
        for (const [row, points, lost] of groups.get(kind) ?? []) {
          points.forEach(([x, y], n) => n ? c.lineTo(x, y) : c.moveTo(x, y));
          if (heads && !lost) arrow(c, points, PR);
        }
        c.strokeStyle = colour(KINDS[kind][1]);
        c.globalAlpha = many > 1500 ? 0.35 : many > 500 ? 0.55 : 0.95;
        c.lineWidth = (kind === "ack" || kind === "data" ? 1.2 : 1.9) * PR;
        c.stroke();
        c.globalAlpha = 1;
      }
      this.special(f, groups);
      if (!timeline.hidden.has("ladder lost")) crosses(f, ends, colour("loss"), 4.5);
      this.labels(f, list, first, last);
    },
    // The depth of each link's queue, as a band along its line.
    queues(f) {
      store.meta.ways.forEach((way, number) => {
        const known = lanes(store, timeline);
        if (!way.conditions.rate_bps || known.indexOf(way.source) < 0 || known.indexOf(way.target) < 0) return;
        const series = store.of("queue", number, "way");
        if (!series.rows) return;
        const a = place(f, way.source), y = a + (place(f, way.target) - a) * QUEUE, limit = way.conditions.queue_frames || Math.max(...series.frames);
        const { c, PR } = f, first = Math.max(0, above(series.t, f.x0) - 1), last = above(series.t, f.x1);
        c.fillStyle = colour("wnd");
        c.globalAlpha = 0.3;
        const band = (x, wide, frames) => {
          const high = Math.max(2, 16 * Math.sqrt(frames / limit)) * PR;
          c.fillRect(x, y - high / 2, wide, high);
        };
        let at = null, most = 0;   // what is narrower than a pixel is drawn once a pixel, as deep as it got there
        for (let i = first; i < last; i++) {
          if (!series.frames[i]) continue;
          const x = Math.max(f.L, f.X(series.t[i])), until = i + 1 < series.rows ? f.X(series.t[i + 1]) : f.R;
          if (until - x >= 1) { band(x, until - x, series.frames[i]); continue; }
          const pixel = Math.floor(x);
          if (pixel !== at) { if (at !== null) band(at, 1, most); at = pixel; most = 0; }
          most = Math.max(most, series.frames[i]);
        }
        if (at !== null) band(at, 1, most);
        c.globalAlpha = 1;
      });
    },
    // Copies, damaged frames and those held back are dashed over, in the colour of trouble.
    special(f, groups) {
      if (timeline.hidden.has("ladder odd")) return;
      const { c, PR } = f;
      c.beginPath();
      for (const list of groups.values()) for (const [row, points] of list) {
        if (!(frame.bits[row] & 26)) continue;
        points.forEach(([x, y], n) => n ? c.lineTo(x, y) : c.moveTo(x, y));
      }
      c.strokeStyle = colour("sack");
      c.setLineDash([4 * PR, 3 * PR]);
      c.lineWidth = 2 * PR;
      c.stroke();
      c.setLineDash([]);
    },
    labels(f, list, first, last) {
      const all = lanes(store, timeline), right = new Map();
      for (let i = first; i < last; i++) {
        const row = list[i], way = store.meta.ways[frame.way[row]], x = f.X(frame.t[row]), at = all.indexOf(way.source);
        if (x < f.L || at < 0 || (frame.bits[row] & 2) || timeline.hidden.has("ladder " + store.kind(row))) continue;
        const words = label(store, row), wide = width(f, words, 10);
        if (x < (right.get(at) ?? -1) || x + wide > f.R) continue;
        right.set(at, x + wide + 8 * f.PR);
        const outer = at === all.length - 1 ? 13 : -13;
        if (at > 0 && at < all.length - 1) {   // arrows pass here: the words need a ground to stand on
          f.c.globalAlpha = 0.8;
          f.c.fillStyle = colour("bg");
          f.c.fillRect(x - 2 * f.PR, place(f, way.source) - 20 * f.PR, wide + 4 * f.PR, 14 * f.PR);
          f.c.globalAlpha = 1;
        }
        text(f, words, x, place(f, way.source) + outer * f.PR, store.kind(row) === "ack" ? colour("mut") : colour(KINDS[store.kind(row)][1]), { size: 10 });
      }
    },
    outside(f) {
      for (const host of lanes(store, timeline)) text(f, fitted(f, store.host(host), f.L - 12 * f.PR), f.L - 7 * f.PR, place(f, host), colour("fg"), { align: "right" });
    },
    hit(f, x, y) {
      const [list, first, last] = inView(f);
      let best = 9 * f.PR, found = -1;
      if (last - first > FRAMES_MAX) return -1;
      for (let i = first; i < last; i++) {
        const { points } = path(f, list[i]);
        for (let n = 1; n < points.length; n++) {
          const away = distance(x, y, points[n - 1], points[n]);
          if (away < best) { best = away; found = list[i]; }
        }
      }
      return found;
    },
    words(from, until) {
      const { rows: list, t } = rows(store, timeline), first = above(t, from - 1e-9), last = above(t, until);
      let lost = 0, again = 0;
      for (let i = first; i < last; i++) { lost += store.isLost(list[i]); again += frame.bits[list[i]] & 1; }
      return `${count(last - first, "frame")}, ${lost} lost, ${again} sent again, between ${lanes(store, timeline).map(host => store.host(host)).join(", ")}; the longest took ${span(longest())}.`;
    },
  };
}

export function label(store, row) {
  const frame = store.tables.frame;
  if (frame.conn[row] < 0) return store.word("text", frame.text[row]);
  const flags = store.word("flags", frame.flags[row]);
  const names = [["S", "SYN"], ["F", "FIN"], ["R", "RST"]].filter(([letter]) => flags.includes(letter)).map(([, name]) => name);
  if (frame.len[row] > 0) names.push(String(frame.seq[row]));
  else if (flags.includes(".")) names.push("ACK " + frame.ack[row]);
  return names.join(" ") || flags;
}

function arrow(c, points, ratio) {
  const [x, y] = points[points.length - 1], [px, py] = points[points.length - 2];
  const turn = Math.atan2(y - py, x - px), size = 7 * ratio;
  c.moveTo(x - size * Math.cos(turn - 0.36), y - size * Math.sin(turn - 0.36));
  c.lineTo(x, y);
  c.lineTo(x - size * Math.cos(turn + 0.36), y - size * Math.sin(turn + 0.36));
}

function distance(x, y, [ax, ay], [bx, by]) {
  const dx = bx - ax, dy = by - ay, size = dx * dx + dy * dy;
  const part = size ? Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / size)) : 0;
  return Math.hypot(x - ax - part * dx, y - ay - part * dy);
}
