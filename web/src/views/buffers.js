// 8. What waits where: the send buffer, the receiver's buffer, the two queues of each listener, the queue of each device.
// Each has a row and a scale of its own, up to its limit or to the most that was in it.

import { above } from "../data.js";
import { bytes, count } from "../format.js";
import { colour, fitted, gutter, most, text, width } from "../paint.js";

const ROWS_MAX = 12;

export function buffersView(store, timeline) {
  const rows = () => store.kept(`buffers ${timeline.sender} ${timeline.all}`, () => {
    const found = [], { sender, receiver } = timeline;
    if (sender >= 0) {
      const send = store.of("buffer", sender), receive = store.of("buffer", receiver);
      const names = [store.hostOf(sender), store.hostOf(receiver)];
      if (send.rows) found.push({ name: `${names[0]}: to send`, series: send, column: "send", inner: "unsent", innerName: "not sent yet", limit: send.sendmax.at(-1), ink: "seg", unit: bytes });
      if (receive.rows) found.push({ name: `${names[1]}: unread`, series: receive, column: "unread", inner: receive.ooo.some(size => size >= 0) ? "ooo" : null, innerName: "out of order", limit: receive.recvmax.at(-1), ink: "ack", unit: bytes });
    }
    store.meta.listeners.forEach(([host, name], number) => {
      for (const queue of ["half-open", "accept"]) {
        const word = store.meta.words.queue.indexOf(queue), all = store.of("backlog", number, "listener");
        const kept = [...all.queue.keys()].filter(i => all.queue[i] === word);
        if (!kept.length) continue;
        const series = { rows: kept.length, t: Float64Array.from(kept, i => all.t[i]), depth: Float64Array.from(kept, i => all.depth[i]) };
        found.push({ name: `${store.host(host)} ${name.replace(/^.*:/, ":")} ${queue}`, series, column: "depth", limit: all.limit[kept[0]], ink: "sack", unit: n => n === null ? "–" : String(n) });
      }
    });
    store.meta.ways.forEach((way, number) => {
      const series = store.of("queue", number, "way");
      if (series.rows) found.push({ name: `${store.host(way.source)} → ${store.host(way.target)}`, series, column: "frames", limit: way.conditions.queue_frames || 0, ink: "wnd", unit: n => n === null ? "–" : count(n, "frame") });
    });
    return found.slice(0, ROWS_MAX);
  });
  const top = (row, from, until) => {
    const seen = Math.max(most(row.series, row.column, from, until, 1), row.inner ? most(row.series, row.inner, from, until) : 0);
    return row.limit > 0 && row.limit <= 3 * seen ? Math.max(row.limit, seen) : seen;
  };
  return {
    told: () => [timeline.sender, timeline.receiver], id: "buffers", title: "Buffers and queues", grid: false, height: () => 28 + 42 * Math.max(1, rows().length),
    unit: () => "what waits at both ends, at each listener and each device; darker: not sent yet, or out of order",
    missing: () => rows().length ? "" : "Buffers and queues are not known here.",
    draw(f) {
      const list = rows(), high = f.H / list.length, pad = 4 * f.PR;
      list.forEach((row, n) => {
        const base = f.T + (n + 1) * high - pad, scale = (high - 2 * pad) / top(row, f.x0, f.x1);
        if (n) { f.c.fillStyle = colour("grid"); f.c.fillRect(f.L, f.T + n * high, f.W, f.PR); }
        this.area(f, row, row.column, base, scale, 0.35);
        if (row.inner) this.area(f, row, row.inner, base, scale, 0.6);
        const most_seen = most(row.series, row.column, f.x0, f.x1);
        let words = `at most ${row.unit(most_seen)}`;
        if (row.limit > 0) words += ` of ${row.unit(row.limit)}`;
        if (row.inner) words += `; ${row.innerName} ${row.unit(most(row.series, row.inner, f.x0, f.x1))}`;
        if (row.limit > 0 && row.limit * scale <= high - pad) {
          f.c.beginPath();
          f.c.moveTo(f.L, base - row.limit * scale);
          f.c.lineTo(f.R, base - row.limit * scale);
          f.c.strokeStyle = colour("re");
          f.c.setLineDash([5 * f.PR, 4 * f.PR]);
          f.c.lineWidth = 1.1 * f.PR;
          f.c.stroke();
          f.c.setLineDash([]);
        }
        const wide = width(f, words, 10) + 8 * f.PR;
        f.c.globalAlpha = 0.78;
        f.c.fillStyle = colour("bg");
        f.c.fillRect(f.R - wide - 2 * f.PR, f.T + n * high + 2 * f.PR, wide, 14 * f.PR);
        f.c.globalAlpha = 1;
        text(f, words, f.R - 5 * f.PR, f.T + n * high + 9 * f.PR, colour("mut"), { align: "right", size: 10 });
      });
    },
    area(f, row, column, base, scale, alpha) {
      const { series, ink } = row, { c } = f, first = Math.max(0, above(series.t, f.x0) - 1), last = above(series.t, f.x1);
      c.fillStyle = colour(ink);
      c.globalAlpha = alpha;
      let at = null, high = 0;
      const flush = () => { if (at !== null) c.fillRect(at, base - high * scale, 1, high * scale); at = null; high = 0; };
      for (let i = first; i < last; i++) {
        const value = series[column][i], x = Math.max(f.L, f.X(series.t[i])), until = i + 1 < series.rows ? Math.min(f.R, f.X(series.t[i + 1])) : f.R;
        if (f.log) f.log(column, series.t[i], value, x, base - value * scale);
        if (value <= 0) continue;
        if (until - x >= 1) { flush(); c.fillRect(x, base - value * scale, until - x, value * scale); continue; }
        if (Math.floor(x) !== at) { flush(); at = Math.floor(x); }
        high = Math.max(high, value);
      }
      flush();
      c.globalAlpha = 1;
    },
    outside(f) { gutter(f, rows().map(row => fitted(f, row.name, f.L - 12 * f.PR)), f.H / Math.max(1, rows().length)); },
    words: (from, until) => rows().map(row => `${row.name} at most ${row.unit(most(row.series, row.column, from, until))}`).join(", ") + ".",
  };
}
