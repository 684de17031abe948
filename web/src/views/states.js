// 7. States of both ends, as RFC 9293 names them, with the state of loss recovery below each; a tick is a timer that ran out.

import { above } from "../data.js";
import { moment } from "../format.js";
import { blocks, colour, gutter } from "../paint.js";

const ENDS_MAX = 12;
const TINTS = { ESTABLISHED: "ack", "SYN-SENT": "h1", "SYN-RECEIVED": "h1", LISTEN: "mut", CLOSED: "mut", released: "bg2", "TIME-WAIT": "sack", "CLOSE-WAIT": "h3" };
const CA = { Open: "bg2", Disorder: "h1", CWR: "h8", Recovery: "re", Loss: "rto" };

export function stateSpans(store, end) {
  return store.kept("states " + end, () => {
    const rows = store.of("state", end), spans = [];
    for (let i = 0; i < rows.rows; i++) {
      const name = store.word("state", rows.state[i]), until = i + 1 < rows.rows ? rows.t[i + 1] : store.end;
      if (name !== "released" && until > rows.t[i]) spans.push([rows.t[i], until, name]);
    }
    return spans;
  });
}

export function caSpans(store, end) {
  return store.kept("ca " + end, () => {
    const rows = store.of("cc", end), spans = [];
    for (let i = 0; i < rows.rows; i++) {
      const name = store.word("ca", rows.ca[i]), until = i + 1 < rows.rows ? rows.t[i + 1] : store.end, last = spans[spans.length - 1];
      if (last && last[2] === name) last[1] = until; else spans.push([rows.t[i], until, name]);
    }
    const gone = stateSpans(store, end).at(-1)?.[1] ?? store.end;
    return spans.filter(([from, until, name]) => name && name !== "Open" && until > from).map(([from, until, name]) => [from, Math.min(until, gone), name]);
  });
}

export function statesView(store, timeline) {
  // Both ends of the connection; with all traffic, those of as many connections as there is room for.
  const ends = () => {
    if (!timeline.all) return timeline.conn < 0 ? [] : [timeline.sender & ~1, timeline.sender | 1];
    const first = timeline.conn < 0 ? [] : [2 * timeline.conn, 2 * timeline.conn + 1];
    const others = store.kept("ends with states", () => [...new Set(store.tables.state.end)].filter(end => end >= 0).sort((a, b) => a - b));
    return [...first, ...others.filter(end => !first.includes(end))].filter(end => stateSpans(store, end).length).slice(0, ENDS_MAX);
  };
  const rowsOf = () => ends().flatMap(end => [[end, false], ...(caSpans(store, end).length ? [[end, true]] : [])]);
  return {
    told: () => [timeline.sender, timeline.receiver], id: "states", title: "States", grid: false, height: () => 28 + 22 * Math.max(1, rowsOf().length),
    unit: () => "of each end, and where its loss recovery stands; a tick is a timer that ran out",
    missing: () => ends().some(end => stateSpans(store, end).length) ? "" : "The states of the ends are not known here.",
    draw(f) {
      const list = rowsOf(), high = f.H / list.length, pad = 1.5 * f.PR;
      list.forEach(([end, is_ca], n) => {
        const top = f.T + n * high + pad;
        if (is_ca) blocks(f, caSpans(store, end), top, high - 2 * pad, { ink: name => colour(CA[name] ?? "mut"), alpha: 0.55, label: name => name });
        else {
          blocks(f, stateSpans(store, end), top, high - 2 * pad, { ink: name => colour(TINTS[name] ?? "seg"), alpha: 0.42, label: name => name });
          this.timers(f, end, top, high - 2 * pad);
        }
      });
    },
    timers(f, end, top, high) {
      const series = store.of("timer", end);
      f.c.beginPath();
      for (let i = above(series.t, f.x0 - 1e-9), last = above(series.t, f.x1); i < last; i++) {
        const x = f.X(series.t[i]);
        f.c.moveTo(x, top - f.PR);
        f.c.lineTo(x, top + high + f.PR);
        if (f.log) f.log("timer", series.t[i], store.word("note", series.what[i]), x);
      }
      f.c.strokeStyle = colour("fg");
      f.c.lineWidth = 1.6 * f.PR;
      f.c.stroke();
    },
    outside(f) {
      const list = rowsOf();
      gutter(f, list.map(([end, is_ca]) => is_ca ? "recovery" : store.hostOf(end) + (timeline.all && store.conns.length > 1 ? store.conns[end >> 1].names[end & 1].replace(/^.*:/, " :") : "")), f.H / list.length);
    },
    words(from, until) {
      return ends().map(end => `${store.hostOf(end)}: ` + stateSpans(store, end).filter(([a, b]) => b > from && a < until)
        .map(([a, , name]) => `${name} from ${moment(a)}`).join(", ")).join("; ") + ".";
    },
  };
}
