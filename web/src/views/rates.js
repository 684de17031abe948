// 6. Rates: what left the sender, what is new in it (goodput), what the path delivered by the sender's own measurement, and
// the pace that it keeps to.

import { above } from "../data.js";
import { rate, rateTicks, span } from "../format.js";
import { colour, most, steps } from "../paint.js";
import { edges } from "./sequence.js";

const BINS = 240;

export function ratesView(store, timeline) {
  const cc = () => store.of("cc", timeline.sender), shown = name => !timeline.hidden.has("rate " + name);
  const has = name => cc().rows > 0 && cc()[name].some(value => value > 0);
  const sent = () => store.frames("text from " + timeline.sender, (row, table) => table.conn[row] >= 0
    && 2 * table.conn[row] + table.side[row] === timeline.sender && table.from[row] < 0 && table.len[row] > 0);

  // Bytes a second in equal stretches of the time shown, on a grid that does not move while one pans.
  const binned = (from, until) => {
    const width = 2 ** Math.ceil(Math.log2(Math.max((until - from) / BINS, 1e-6))), first = Math.floor(from / width) - 1;
    return store.kept(`rates ${timeline.sender} ${width} ${first} ${Math.ceil(until / width)}`, () => {
      const number = Math.ceil(until / width) - first + 1, thru = new Float64Array(number), good = new Float64Array(number), t = new Float64Array(number);
      const frame = store.tables.frame, { rows, t: times } = sent(), flow = edges(store, timeline.sender);
      for (let i = 0; i < number; i++) t[i] = (first + i) * width;
      for (let i = above(times, t[0] - 1e-12), last = above(times, t[number - 1] + width); i < last; i++) {
        const bin = Math.floor(times[i] / width) - first;
        if (bin >= 0 && bin < number) thru[bin] += frame.len[rows[i]] / width;
      }
      for (let i = Math.max(1, above(flow.t, t[0] - 1e-12)); i < flow.rows; i++) {
        const bin = Math.floor(flow.t[i] / width) - first;
        if (bin >= number) break;
        if (bin >= 0) good[bin] += Math.max(0, flow.una[i] - flow.una[i - 1]) / width;
      }
      return { t, thru, good, rows: number, width };
    });
  };

  return {
    binned, told: () => [timeline.sender], id: "rates", title: "Rates", height: 180, values: rateTicks, unit: () => `bits a second, over ${span(binned(...timeline.window).width)} each`,
    missing: () => timeline.sender < 0 ? "No connection was seen." : sent().rows.length ? "" : `${store.hostOf(timeline.sender)} sent no text.`,
    keys: () => [
      { id: "rate thru", name: "sent", ink: "seg", kind: "area", value: time => rate(store.at(binned(...timeline.window), "thru", time)) },
      { id: "rate good", name: "acknowledged (goodput)", ink: "ack", kind: "line", value: time => rate(store.at(binned(...timeline.window), "good", time)) },
      ...(has("delivery") ? [{ id: "rate delivery", name: "delivery rate, by the sender", ink: "sack", kind: "dash", value: time => rate(store.at(cc(), "delivery", time)) }] : []),
      ...(has("pacing") ? [{ id: "rate pacing", name: "pace", ink: "wnd", kind: "line", value: time => rate(store.at(cc(), "pacing", time)) }] : []),
    ],
    range(from, until) {
      const bins = binned(from, until);
      let high = Math.max(shown("thru") ? most(bins, "thru", from, until) : 0, shown("good") ? most(bins, "good", from, until) : 0);
      for (const name of ["delivery", "pacing"]) if (has(name) && shown(name)) { const own = most(cc(), name, from, until); if (own < 3 * high || high === 0) high = Math.max(high, own); }
      return [0, (high || 1) * 1.1];
    },
    draw(f) {
      const bins = binned(f.x0, f.x1);
      if (shown("thru")) steps(f, bins, "thru", colour("seg"), { wide: 1, fill: 0.22 });
      if (has("pacing") && shown("pacing")) steps(f, cc(), "pacing", colour("wnd"), { wide: 1.2 });
      if (has("delivery") && shown("delivery")) steps(f, cc(), "delivery", colour("sack"), { wide: 1.3, dash: [5, 4] });
      if (shown("good")) steps(f, bins, "good", colour("ack"), { wide: 1.6 });
    },
    words(from, until) {
      const bins = binned(from, until);
      return `sent at most ${rate(most(bins, "thru", from, until))}, acknowledged at most ${rate(most(bins, "good", from, until))}.`;
    },
  };
}
