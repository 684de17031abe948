// 3. Sequence numbers against time, in tcptrace's grammar: a bar a segment, the acknowledged edge below, the peer's window
// above, SACKs as bars of their own. The colour says why the segment was sent.

import { KINDS, above } from "../data.js";
import { byteTicks, bytes, count } from "../format.js";
import { colour, crosses, least, most, steps } from "../paint.js";

const SENT = ["data", "probe", "again", "fast", "timeout", "control"];

export function sequenceView(store, timeline) {
  const frame = store.tables.frame;
  const sent = () => store.frames("sent " + timeline.sender, (row, table) => (table.conn[row] << 1 | table.side[row]) === timeline.sender
    && table.conn[row] >= 0 && table.from[row] < 0 && (table.len[row] > 0 || store.kind(row) === "control"));
  const flow = () => edges(store, timeline.sender);
  const sacks = () => store.of("sack", timeline.sender);
  return {
    told: () => [timeline.sender], id: "sequence", opens: true, title: "Sequence numbers", height: () => innerWidth < 640 ? 260 : 330, values: byteTicks,
    unit: () => timeline.sender < 0 ? "" : `bytes from ${store.hostOf(timeline.sender)}, at the sender, as tcptrace draws them`,
    missing: () => timeline.sender < 0 ? "No connection was seen." : sent().rows.length ? "" : `${store.hostOf(timeline.sender)} sent nothing but acknowledgments. Turn to the other direction.`,
    keys: () => [...SENT.filter(kind => sent().rows.some(row => store.kind(row) === kind))
      .map(kind => ({ id: "seq " + kind, name: KINDS[kind][0], ink: KINDS[kind][1], kind: "bar" })),
    { id: "seq lost", name: "lost", ink: "loss", kind: "cross" },
    { id: "seq una", name: "acknowledged", ink: "ack", kind: "line", value: time => bytes(store.at(flow(), "una", time)) },
    { id: "seq edge", name: "peer's window", ink: "wnd", kind: "line", value: time => bytes(store.at(flow(), "edge", time)) },
    ...(sacks().rows ? [{ id: "seq sack", name: "SACK", ink: "sack", kind: "bar" }] : [])],
    range(from, until) {
      const series = flow(), { rows, t } = sent(), first = above(t, from - 1e-9), last = above(t, until);
      let low = least(series, "una", from, until), high = timeline.hidden.has("seq edge") ? 0 : edgeMost(series, from, until);
      for (let i = first; i < last; i++) { const row = rows[i]; low = Math.min(low, frame.seq[row]); high = Math.max(high, frame.seq[row] + frame.len[row]); }
      if (!isFinite(low)) low = 0;
      const room = Math.max((high - low) * 0.05, 10);
      return [low - room, high + room];
    },
    draw(f) {
      const series = flow(), { rows, t } = sent();
      if (!timeline.hidden.has("seq edge")) steps(f, series, "edge", colour("wnd"), { wide: 1.3 });
      if (!timeline.hidden.has("seq una")) steps(f, series, "una", colour("ack"), { wide: 1.6 });
      const first = above(t, f.x0 - 1e-9), last = above(t, f.x1);
      if (!timeline.hidden.has("seq sack")) this.sack(f);
      for (const kind of SENT) {
        if (timeline.hidden.has("seq " + kind)) continue;
        this.bars(f, rows, first, last, kind);
      }
      if (timeline.hidden.has("seq lost")) return;
      const points = [];
      for (let i = first; i < last; i++) if (store.isLostLater(rows[i])) {
        const row = rows[i], x = f.X(frame.t[row]), y = f.Y(frame.seq[row] + frame.len[row] / 2);
        points.push([x, y]);
        if (f.log) f.log("lost", frame.t[row], row, x, y);
      }
      crosses(f, points, colour("loss"), 4);
    },
    bars(f, rows, first, last, kind) {
      const { c, PR, X, Y } = f, dense = last - first > 3 * f.W, arrows = last - first < f.W / PR / 5, again = kind !== "data" && kind !== "control";
      const least_high = (again ? 7 : 2) * PR;
      let at = null, low = 0, high = 0;
      const flush = () => { if (at !== null) { c.moveTo(at, Y(low) + PR / 2); c.lineTo(at, Math.min(Y(high), Y(low) - PR)); } at = null; };
      c.beginPath();
      for (let i = first; i < last; i++) {
        const row = rows[i];
        if (store.kind(row) !== kind) continue;
        const bottom = frame.seq[row], top = bottom + Math.max(frame.len[row], 1), x = X(frame.t[row]);
        if (f.log) f.log("segment", frame.t[row], row, x, Y(bottom), Y(top), kind);
        if (dense) {
          const p = Math.round(x);
          if (p !== at) { flush(); at = p; low = bottom; high = top; }
          if (bottom < low) low = bottom;
          if (top > high) high = top;
          continue;
        }
        let a = Y(bottom), b = Y(top);
        if (a - b < least_high) { const middle = (a + b) / 2; a = middle + least_high / 2; b = middle - least_high / 2; }
        c.moveTo(x, a);
        c.lineTo(x, b);
        if (arrows) {
          const w = 2.6 * PR;
          c.moveTo(x - w, b + w); c.lineTo(x, b); c.lineTo(x + w, b + w);
          c.moveTo(x - w, a - w); c.lineTo(x, a); c.lineTo(x + w, a - w);
        }
      }
      flush();
      c.strokeStyle = colour(KINDS[kind][1]);
      c.lineWidth = (again ? 2.2 : 1.3) * PR;
      c.stroke();
    },
    sack(f) {
      const series = sacks(), { c, X, Y, PR } = f;
      c.beginPath();
      for (let i = above(series.t, f.x0 - 1e-9), last = above(series.t, f.x1); i < last; i++) {
        const x = X(series.t[i]), a = Y(series.left[i]), b = Y(series.right[i]);
        if (f.log) f.log("sack", series.t[i], series.row[i], x, a, b);
        c.moveTo(x, a);
        c.lineTo(x, Math.min(b, a - 2 * PR));
      }
      c.strokeStyle = colour("sack");
      c.lineWidth = 1.4 * PR;
      c.stroke();
    },
    hit(f, x, y) {
      const { rows, t } = sent();
      let best = 12 * f.PR, found = -1;
      const slack = (12 * f.PR * (f.x1 - f.x0)) / f.W, at = f.x0 + ((x - f.L) / f.W) * (f.x1 - f.x0);
      for (let i = above(t, at - slack), last = above(t, at + slack); i < last; i++) {
        const row = rows[i], top = f.Y(frame.seq[row] + frame.len[row]), bottom = f.Y(frame.seq[row]);
        const away = Math.hypot(f.X(frame.t[row]) - x, y < top ? top - y : y > bottom ? y - bottom : 0);
        if (away < best) { best = away; found = row; }
      }
      return found;
    },
    words(from, until) {
      const { rows, t } = sent(), first = above(t, from - 1e-9), last = above(t, until), sums = {};
      for (let i = first; i < last; i++) { const kind = KINDS[store.kind(rows[i])][0]; sums[kind] = (sums[kind] ?? 0) + 1; }
      return `${count(last - first, "segment")} from ${store.hostOf(timeline.sender)}: ` + Object.entries(sums).map(([kind, number]) => `${number} ${kind}`).join(", ")
        + `. Acknowledged at the end: ${bytes(store.at(flow(), "una", until))}.`;
    },
  };
}

// SND.UNA, SND.NXT and the right edge of the peer's window, as the sender knows them.
export function edges(store, end) {
  return store.kept("edges " + end, () => {
    const flow = store.of("flow", end);
    const { rows, row, t, una, nxt, wnd, pipe } = flow, edge = new Float64Array(rows), flight = new Float64Array(rows);
    for (let i = 0; i < rows; i++) { edge[i] = una[i] + wnd[i]; flight[i] = nxt[i] - una[i]; }
    return { rows, row, t, una, nxt, wnd, pipe, edge, flight };
  });
}

// A peer's window may be far above all that was sent: then it is let out of the picture.
function edgeMost(series, from, until) {
  const nxt = most(series, "nxt", from, until), edge = most(series, "edge", from, until), una = least(series, "una", from, until);
  return Math.min(edge, nxt + 1.5 * Math.max(1, nxt - (isFinite(una) ? una : 0)));
}
