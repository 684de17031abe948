// 10. The weather of each link, both ways: cuts as bands (they are behind every view), what was lost, dropped by a full
// queue or by its management, marked, damaged, copied or held back, and every change of the link.

import { above } from "../data.js";
import { count, moment, rate, span } from "../format.js";
import { colour, crosses, dots, fitted, gutter, hatched, text } from "../paint.js";

const ROWS_MAX = 10;
const SIGNS = [
  ["lost", "lost on the way", "re", "cross"], ["full", "no room in the queue", "wnd", "cross"], ["aqm", "dropped by CoDel", "sack", "cross"],
  ["cut", "lost by a cut", "loss", "cross"], ["host", "dropped by a host", "rto", "cross"], ["mark", "marked CE", "sack", "dot"], ["odd", "damaged, copied, held back", "probe", "dot"],
];

export function weatherView(store, timeline) {
  const frame = store.tables.frame;
  const sort = word => /no room|queue is full|queue full/.test(word) ? "full" : /CoDel|aqm|queue management|stands/i.test(word) ? "aqm" : /cut|unplugged|power|down/.test(word) ? "cut" : "lost";
  const sorts = store.meta.words.fate.map(word => word.startsWith("lost") ? sort(word) : word.startsWith("dropped") ? "host" : "");
  const rows = () => store.kept(`weather ${timeline.all ? -1 : timeline.conn}`, () => {
    const used = new Set();
    for (let row = 0; row < frame.rows; row++) if (timeline.all || timeline.conn < 0 || frame.conn[row] === timeline.conn) used.add(frame.way[row]);
    return [...used].sort((a, b) => a - b).slice(0, ROWS_MAX).map(way => ({ way, events: events(way) }));
  });
  const events = way => store.kept("events of " + way, () => {
    const found = [];
    for (let row = 0; row < frame.rows; row++) if (frame.way[row] === way) {
      const kind = sorts[frame.fate[row]] || (frame.bits[row] & 4 ? "mark" : frame.bits[row] & 24 || (frame.bits[row] & 2 && frame.from[row] >= 0) ? "odd" : "");
      if (kind) found.push([Math.max(frame.t[row], store.landed(row)), kind, row]);
    }
    return found.sort((a, b) => a[0] - b[0]);
  });
  const bandsOf = way => store.bands.filter(band => band.link === store.meta.ways[way].link || [store.meta.ways[way].source, store.meta.ways[way].target].some(host => store.host(host) === band.link));
  const name = ({ way }) => `${store.host(store.meta.ways[way].source)} → ${store.host(store.meta.ways[way].target)}`;
  return {
    id: "weather", title: "Weather", grid: false, height: () => 28 + 32 * Math.max(1, rows().length), weather: false,
    unit: () => rows().map(({ way }) => conditionsText(store.meta.ways[way])).filter((words, n, all) => words && all.indexOf(words) === n).slice(0, 2).join(" · ") || "what befell frames on each link",
    missing: () => !rows().length ? "No link was seen."
      : store.meta.capture && !store.bands.length && rows().every(row => !row.events.length) ? "What befell frames on the way is not known here: a capture shows only what passed where it was taken." : "",
    keys: () => SIGNS.filter(([kind]) => rows().some(row => row.events.some(event => event[1] === kind)))
      .map(([kind, title, ink, shape]) => ({ id: "weather " + kind, name: title, ink, kind: shape })),
    draw(f) {
      const list = rows(), high = f.H / list.length;
      list.forEach(({ way, events: all }, n) => {
        const top = f.T + n * high, middle = top + high / 2;
        if (n) { f.c.fillStyle = colour("grid"); f.c.fillRect(f.L, top, f.W, f.PR); }
        for (const band of bandsOf(way)) this.band(f, band, top, high);
        for (const [kind, , ink, shape] of SIGNS) {
          if (timeline.hidden.has("weather " + kind)) continue;
          const points = [];
          for (const [t, what, row] of all) if (what === kind && t >= f.x0 && t <= f.x1) {
            points.push([f.X(t), middle + (frame.len[row] ? -5 : 5) * f.PR]);
            if (f.log) f.log(kind, t, row, f.X(t), middle);
          }
          if (shape === "cross") crosses(f, points, colour(ink), 3.2); else dots(f, points, colour(ink), { size: 2.4 });
        }
      });
    },
    band(f, band, top, high) {
      if (band.until > band.from) hatched(f, band.from, band.until, colour("cut"), top, high);
      const a = Math.max(f.L, f.X(band.from)), b = band.until > band.from ? Math.min(f.R, f.X(band.until)) : f.R;
      if (band.from > f.x1 || band.until < f.x0) return;
      f.c.fillStyle = colour("cut");
      f.c.fillRect(a, top, 1.5 * f.PR, high);
      if (f.log) f.log("band", band.from, band.until, a, b);
      const words = b - a > 30 * f.PR ? fitted(f, band.text, b - a - 10 * f.PR, 10) : "";
      if (words) text(f, words, a + 5 * f.PR, top + 8 * f.PR, colour("fg"), { size: 10 });
    },
    outside(f) { gutter(f, rows().map(name), f.H / Math.max(1, rows().length)); },
    hit(f, x, y) {
      const list = rows(), row = list[Math.floor((y - f.T) / (f.H / list.length))];
      let best = 8 * f.PR, found = -1;
      for (const [t, , number] of row?.events ?? []) if (Math.abs(f.X(t) - x) < best) { best = Math.abs(f.X(t) - x); found = number; }
      return found;
    },
    words(from, until) {
      const bands = store.bands.filter(band => band.until >= from && band.from <= until).map(band => `${band.link} ${band.text} at ${moment(band.from)}` + (band.until > band.from ? ` for ${span(band.until - band.from)}` : ""));
      const sums = rows().map(row => `${name(row)}: ${count(row.events.filter(([t, kind]) => t >= from && t <= until && kind !== "mark" && kind !== "odd").length, "frame")} lost or dropped`);
      return [...bands, ...sums].join("; ") + ".";
    },
  };
}

export function conditionsText(way) {
  const { conditions: now } = way;
  if (!now || now.delay_ns === undefined) return "";
  const said = [`${span(now.delay_ns / 1e9)} each way`];
  if (now.jitter_ns) said.push(`± ${span(now.jitter_ns / 1e9)}`);
  if (now.rate_bps) said.push(rate(now.rate_bps / 8));
  if (now.rate_bps) said.push(now.queue_frames ? `queue of ${now.queue_frames} frames` : `queue of ${now.queue_bytes} bytes`);
  for (const name of ["loss", "reorder", "duplicate", "corrupt"]) if (now[name]) said.push(`${(now[name] * 100).toPrecision(2).replace(/\.0$/, "")}% ${name}`);
  if (now.codel_target_ns) said.push("CoDel");
  return `${way.link}: ${said.join(", ")}`;
}
