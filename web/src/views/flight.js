// 4. What is in flight, against all that limits it.

import { byteTicks, bytes } from "../format.js";
import { colour, most, samples, steps, text, width } from "../paint.js";
import { edges } from "./sequence.js";

const LINES = [
  ["flight", "in flight", "flight", "area"], ["pipe", "pipe (RFC 6675)", "seg", "dash"], ["wnd", "peer's window", "wnd", "line"],
  ["sendmax", "send buffer", "probe", "dash"], ["ssthresh", "ssthresh", "sack", "dash"], ["cwnd", "congestion window", "fg", "line"],
];

export function flightView(store, timeline) {
  const series = name => name === "cwnd" || name === "ssthresh" ? store.of("cc", timeline.sender)
    : name === "sendmax" ? store.of("buffer", timeline.sender) : edges(store, timeline.sender);
  const known = name => { const s = series(name); return s.rows > 0 && s[name].some(value => value >= 0); };
  const shown = name => !timeline.hidden.has("flight " + name) && known(name);
  return {
    told: () => [timeline.sender], id: "flight", title: "In flight", height: 200, values: byteTicks,
    unit: () => "bytes of the sender, against what limits them",
    missing: () => timeline.sender < 0 ? "No connection was seen." : edges(store, timeline.sender).rows ? "" : `What ${store.hostOf(timeline.sender)} had in flight is not known: it was not observed.`,
    keys: () => LINES.filter(([name]) => known(name)).map(([name, title, ink, kind]) => ({
      id: "flight " + name, name: title, ink, kind, value: time => bytes(store.at(series(name), name, time)),
    })),
    // What is far above everything else is let out of the picture, and named.
    range(from, until) {
      const size = name => shown(name) ? most(series(name), name, from, until) : 0;
      const inner = Math.max(size("flight"), size("pipe"), size("cwnd"));
      const outer = ["wnd", "sendmax", "ssthresh"].map(size).filter(value => value <= 3 * inner || inner === 0);
      return [0, (Math.max(inner, ...outer) || 1) * 1.08];
    },
    draw(f) {
      if (shown("flight")) steps(f, series("flight"), "flight", colour("flight"), { wide: 1, fill: 0.25 });
      for (const [name, , ink, kind] of LINES.slice(1)) {
        if (shown(name)) steps(f, series(name), name, colour(ink), { wide: name === "cwnd" ? 1.7 : 1.3, dash: kind === "dash" ? [5, 4] : [] });
      }
      if (store.sampledEvery(timeline.sender)) for (const [name, , ink] of LINES) if (shown(name)) samples(f, series(name), name, colour(ink));
      let line = 0;
      for (const [name, title, ink] of LINES) if (["wnd", "sendmax", "ssthresh"].includes(name) && shown(name)) {
        const low = lowest(series(name), name, f.x0, f.x1);
        if (low <= f.y1) continue;
        const words = `↑ ${title}, from ${bytes(low)}, is above`, y = f.T + (9 + 14 * line++) * f.PR, wide = width(f, words);
        f.c.fillStyle = colour("bg");   // lines pass there
        f.c.fillRect(f.R - wide - 10 * f.PR, y - 7 * f.PR, wide + 8 * f.PR, 14 * f.PR);
        text(f, words, f.R - 6 * f.PR, y, colour(ink), { align: "right" });
      }
    },
    words(from, until) {
      return LINES.filter(([name]) => known(name)).map(([name, title]) => `${title} at most ${bytes(most(series(name), name, from, until))}`).join(", ") + ".";
    },
  };
}

function lowest(series, name, from, until) {
  let found = Infinity;
  for (let i = 0; i < series.rows; i++) {
    if (series.t[i] > until) break;
    if ((i + 1 < series.rows ? series.t[i + 1] : Infinity) < from) continue;
    if (series[name][i] >= 0 && series[name][i] < found) found = series[name][i];
  }
  return found === Infinity ? -1 : found;
}
