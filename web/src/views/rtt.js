// 5. Round trips: each sample, what the sender makes of them, and when it would time out. A hollow ring is a segment whose
// acknowledgment gave no sample, because it was sent twice and nobody can tell which of the two was answered (Karn's rule).

import { above } from "../data.js";
import { count, span, spanTicks } from "../format.js";
import { colour, dots, most, samples as sampled, steps } from "../paint.js";

export function rttView(store, timeline) {
  const samples = () => store.of("rtt", timeline.sender), cc = () => store.of("cc", timeline.sender);
  const hollow = () => karn(store, timeline.sender);
  const shown = name => !timeline.hidden.has("rtt " + name);
  return {
    told: () => [timeline.sender], id: "rtt", title: "Round trip", height: 170, values: spanTicks, unit: () => "time, as the sender measures it",
    missing: () => timeline.sender < 0 ? "No connection was seen." : samples().rows || cc().rows ? "" : "No round trip was measured here.",
    keys: () => [
      { id: "rtt sample", name: "sample", ink: "seg", kind: "dot", value: time => span(store.at(samples(), "sample", time)) },
      ...(hollow().t.length ? [{ id: "rtt karn", name: "no sample (Karn)", ink: "re", kind: "ring" }] : []),
      ...(cc().rows ? [{ id: "rtt srtt", name: "SRTT", ink: "fg", kind: "line", value: time => span(store.at(cc(), "srtt", time)) },
        { id: "rtt rto", name: "RTO", ink: "sack", kind: "dash", value: time => span(store.at(cc(), "rto", time)) }] : []),
    ],
    range(from, until) {
      let high = Math.max(most(samples(), "sample", from, until), most(cc(), "srtt", from, until));
      const rto = shown("rto") ? most(cc(), "rto", from, until) : 0;
      if (rto <= 8 * high || high === 0) high = Math.max(high, rto);
      if (shown("karn")) for (let i = above(hollow().t, from), last = above(hollow().t, until); i < last; i++) high = Math.max(high, Math.min(hollow().value[i], 8 * high || Infinity));
      return [0, (high || 0.1) * 1.1];
    },
    draw(f) {
      if (shown("rto")) steps(f, cc(), "rto", colour("sack"), { dash: [5, 4], wide: 1.3 });
      if (shown("sample")) {
        const series = samples(), points = [];
        for (let i = above(series.t, f.x0 - 1e-9), last = above(series.t, f.x1); i < last; i++) {
          const x = f.X(series.t[i]), y = f.Y(series.sample[i]);
          points.push([x, y]);
          if (f.log) f.log("sample", series.t[i], series.sample[i], x, y);
        }
        dots(f, points, colour("seg"));
      }
      if (shown("karn")) {
        const { t, value } = hollow(), points = [];
        for (let i = above(t, f.x0 - 1e-9), last = above(t, f.x1); i < last; i++) {
          points.push([f.X(t[i]), Math.max(f.T + 4 * f.PR, f.Y(value[i]))]);
          if (f.log) f.log("karn", t[i], value[i], ...points[points.length - 1]);
        }
        dots(f, points, colour("re"), { size: 3, hollow: true });
      }
      if (shown("srtt")) steps(f, cc(), "srtt", colour("fg"), { wide: 1.6 });
      if (store.sampledEvery(timeline.sender)) for (const [name, ink] of [["srtt", "fg"], ["rto", "sack"]]) if (shown(name)) sampled(f, cc(), name, colour(ink));
    },
    words(from, until) {
      const series = samples(), first = above(series.t, from - 1e-9), last = above(series.t, until);
      if (last <= first) return "no sample.";
      let low = Infinity, high = 0;
      for (let i = first; i < last; i++) { low = Math.min(low, series.sample[i]); high = Math.max(high, series.sample[i]); }
      return `${count(last - first, "sample")} from ${span(low)} to ${span(high)}; SRTT at the end ${span(store.at(cc(), "srtt", until))}.`;
    },
  };
}

// Acknowledgments of text that was sent more than once and gave no sample: when, and how long since it was sent last.
function karn(store, end) {
  return store.kept("karn " + end, () => {
    const t = [], value = [];
    if (end < 0) return { t, value };
    const flow = store.of("flow", end), frame = store.tables.frame, rtt = store.of("rtt", end);
    const again = store.frames("again " + end, (row, table) => table.conn[row] === end >> 1 && table.side[row] === (end & 1)
      && table.from[row] < 0 && (table.bits[row] & 1) && table.len[row] > 0);
    const waiting = new Map(), sampled = time => { const i = above(rtt.t, time) - 1; return i >= 0 && rtt.t[i] === time; };
    let next = 0, before = -1;
    if (!again.rows.length) return { t, value };
    for (let i = 0; i < flow.rows; i++) {
      while (next < again.rows.length && again.t[next] <= flow.t[i]) { const row = again.rows[next++]; waiting.set(frame.seq[row], [again.t[next - 1], frame.seq[row] + frame.len[row]]); }
      if (flow.una[i] > before && before >= 0) for (const [seq, [sent, until]] of waiting) if (until <= flow.una[i]) {
        waiting.delete(seq);
        if (!sampled(flow.t[i])) { t.push(flow.t[i]); value.push(flow.t[i] - sent); }
      }
      before = flow.una[i];
    }
    return { t, value };
  });
}
