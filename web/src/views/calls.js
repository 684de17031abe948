// 9. Calls: what each program waited in, and how long. A pale block is a call, a strong one the time in which it slept.

import { count, moment, span } from "../format.js";
import { colour, fitted, gutter, text } from "../paint.js";

const ROWS_MAX = 14;

export function callsView(store, timeline) {
  const call = store.tables.call, wait = store.tables.wait;
  const until = (table, row) => table.until[row] < 0 ? store.end : table.until[row];

  // A row for each descriptor of each host; more than one where calls on it overlap.
  const rows = () => store.kept(`calls ${timeline.all ? -1 : timeline.conn}`, () => {
    const groups = new Map(), conn = store.conns[timeline.conn], hosts = timeline.all || !conn ? null : conn.hosts;
    for (let row = 0; row < call.rows; row++) {
      const host = call.host[row];
      if (hosts && !hosts.includes(host)) continue;
      const key = host * 1e7 + call.fd[row];
      const group = groups.get(key) ?? groups.set(key, []).get(key);
      group.push(row);
    }
    const lanes = [], owners = new Map();
    for (const group of groups.values()) for (const lane of apart(group)) {
      lanes.push(lane);
      const own = owners.get(lane.host) ?? owners.set(lane.host, []).get(lane.host);
      for (const row of lane.rows) own[call.number[row]] = lane;
    }
    for (let row = 0; row < wait.rows; row++) {
      const lane = owners.get(wait.host[row])?.[wait.call[row]];
      if (lane) { lane.waits.push(row); lane.slept += until(wait, row) - wait.t[row]; }
    }
    const sleepers = lanes.filter(lane => lane.slept > 0);
    const worth = (sleepers.length ? sleepers : lanes).sort((a, b) => b.slept - a.slept).slice(0, ROWS_MAX);
    return worth.sort((a, b) => a.host - b.host || a.fd - b.fd || a.n - b.n);
  });
  // The calls of a descriptor: in one row, or in as many as overlap.
  function apart(rows) {
    const found = [], made = n => ({ host: call.host[rows[0]], fd: call.fd[rows[0]], n, rows: [], end: -1, waits: [], slept: 0 });
    if (rows.some((row, i) => i && call.t[row] < call.t[rows[i - 1]])) rows.sort((a, b) => call.t[a] - call.t[b]);
    for (const row of rows) {
      let lane = found.find(lane => lane.end <= call.t[row]);
      if (!lane) found.push(lane = made(found.length));
      lane.rows.push(row);
      lane.end = until(call, row);
    }
    return found;
  }
  const words = row => `${store.word("name", call.name[row])}(${store.word("args", call.args[row])})`;
  const ink = name => /recv|read|accept|select|poll/.test(name) ? "ack" : /send|write/.test(name) ? "seg" : /connect/.test(name) ? "h1" : "sack";
  return {
    id: "calls", title: "Calls", grid: false, height: () => 28 + 24 * Math.max(1, rows().length),
    unit: () => "what each program waited in: pale while a call lasted, strong while it slept",
    missing: () => rows().length ? "" : "No call is known: a capture has no programs, and a host that was not observed tells none.",
    draw(f) {
      const list = rows(), high = f.H / list.length, pad = 2 * f.PR;
      list.forEach((lane, n) => {
        const top = f.T + n * high + pad, tall = high - 2 * pad;
        if (n && list[n - 1].host !== lane.host) { f.c.fillStyle = colour("line"); f.c.fillRect(f.L, f.T + n * high - f.PR / 2, f.W, f.PR); }
        this.spans(f, lane, top, tall);
        this.names(f, lane, top, tall);
      });
    },
    spans(f, lane, top, tall) {
      for (const [table, list, alpha] of [[call, lane.rows, 0.22], [wait, lane.waits, 0.5]]) {
        f.c.globalAlpha = alpha;
        let last = -9;
        for (const row of list) {
          const end = until(table, row);
          if (end < f.x0 || table.t[row] > f.x1) continue;
          const a = Math.max(f.L, f.X(table.t[row])), b = Math.max(Math.min(f.R, f.X(end)), a + f.PR);
          const name = table === call ? store.word("name", call.name[row]) : this.nameOf(lane, row);
          if (f.log) f.log(table === call ? "call" : "wait", table.t[row], end, a, b, row);
          if (b - last < f.PR) continue;
          last = b;
          f.c.fillStyle = colour(ink(name));
          f.c.fillRect(a, top, b - a, tall);
        }
        f.c.globalAlpha = 1;
      }
    },
    nameOf(lane, row) { return store.word("what", wait.what[row]).split("(")[0]; },
    names(f, lane, top, tall) {
      let free = -1;
      for (const row of lane.rows) {
        const end = until(call, row);
        if (end < f.x0 || call.t[row] > f.x1) continue;
        const a = Math.max(f.L, f.X(call.t[row]), free), b = Math.min(f.R, f.X(end));
        if (b - a < 30 * f.PR) continue;
        const result = call.until[row] < 0 ? " … still waits" : ` → ${store.word("result", call.result[row])}`;
        const said = fitted(f, words(row) + result, b - a - 8 * f.PR);
        if (said) { text(f, said, a + 4 * f.PR, top + tall / 2, colour("fg")); free = b; }
      }
    },
    outside(f) { gutter(f, rows().map(lane => `${store.host(lane.host)} ${lane.fd < 0 ? "" : "fd " + lane.fd}`), f.H / Math.max(1, rows().length)); },
    words(from, until_) {
      const said = [];
      for (const lane of rows()) {
        let slept = 0;
        for (const row of lane.waits) slept += Math.max(0, Math.min(until(wait, row), until_) - Math.max(wait.t[row], from));
        if (slept > 0) said.push(`${store.host(lane.host)} fd ${lane.fd} slept ${span(slept)}`);
      }
      return said.length ? said.join(", ") + "." : `${count(call.rows, "call")}, none of which slept after ${moment(from)}.`;
    },
  };
}
