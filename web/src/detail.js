// All about one frame: its header, the facts about it, and the step of RFC 9293 that it meets at its receiver.

import { element } from "./plot.js";
import { bytes, moment, span } from "./format.js";
import { dump, fields } from "./packet.js";
import { stepsOf } from "./rfc.js";
import { label } from "./views/ladder.js";
import { above } from "./data.js";

export function headOf(store, row) {
  const starts = store.kept("head starts", () => {
    const sizes = store.tables.frame.head, out = new Float64Array(sizes.length + 1);
    for (let i = 0; i < sizes.length; i++) out[i + 1] = out[i] + sizes[i];
    return out;
  });
  return store.tables.heads.subarray(starts[row], starts[row + 1]);
}

export class Detail {
  constructor(store, timeline) {
    this.store = store;
    this.timeline = timeline;
    this.title = element("h2", { id: "detail-title" });
    this.body = element("div", { cls: "columns" });
    const step = (name, by) => {
      const button = element("button", { type: "button", text: name, title: by < 0 ? "frame before (,)" : "frame after (.)" });
      button.addEventListener("click", () => this.move(by));
      return button;
    };
    const close = element("button", { type: "button", text: "close", title: "Esc" });
    close.addEventListener("click", () => timeline.select(-1));
    this.section = element("aside", { id: "detail", "aria-labelledby": "detail-title", "aria-live": "polite" },
      element("div", { cls: "head" }, this.title, step("‹", -1), step("›", 1), close), this.body);
    this.section.hidden = true;
    timeline.on("frame", () => this.show(timeline.frame));
  }

  // To the next frame of what the ladder shows.
  move(by) {
    const { store, timeline } = this;
    const { rows, t } = timeline.all || timeline.conn < 0 ? store.frames("all", () => true) : store.frames("conn " + timeline.conn, (row, frame) => frame.conn[row] === timeline.conn);
    if (!rows.length) return;
    const at = timeline.frame < 0 ? (by > 0 ? above(t, timeline.window[0] - 1e-12) : above(t, timeline.window[1]) - 1) : rows.indexOf(timeline.frame) + by;
    const row = rows[Math.max(0, Math.min(rows.length - 1, at))], [from, until] = timeline.window, when = store.tables.frame.t[row];
    if (when < from || when > until) timeline.look(when - (until - from) / 2, when + (until - from) / 2);
    timeline.select(row);
  }

  show(row) {
    this.section.hidden = row < 0;
    document.body.classList.toggle("with-detail", row >= 0);
    if (row < 0) return;
    if (!this.store.isWhole) { this.store.whole.then(() => this.show(this.timeline.frame)); return; }
    const { store } = this, frame = store.tables.frame, way = store.meta.ways[frame.way[row]];
    this.title.textContent = `${store.host(way.source)} → ${store.host(way.target)}: ${label(store, row)}`;
    const parts = [this.part("Facts", this.facts(row))];
    const head = headOf(store, row), origin = head.length || frame.from[row] < 0 ? row : frame.from[row], data = headOf(store, origin);
    const header = data.length ? fields(data, frame.size[origin]) : this.told(row);
    const block = this.part("Header", header);
    if (data.length) block.append(element("pre", { text: dump(data), tabindex: "0", "aria-label": "the frame's bytes" }));
    if (data.length && data.length < frame.size[row]) block.append(element("p", { cls: "note", text: `${frame.size[row] - data.length} bytes of payload are not in this page.` }));
    parts.push(block);
    if (frame.conn[row] >= 0) parts.push(this.rfc(row));
    this.body.replaceChildren(...parts);
  }

  part(name, pairs) {
    const list = element("dl");
    for (const [term, value] of pairs) list.append(element("dt", { text: term }), element("dd", { text: value }));
    return element("div", { cls: "part" }, element("h3", { text: name }), list);
  }

  told(row) {
    const frame = this.store.tables.frame;
    return [["flags", this.store.word("flags", frame.flags[row])], ["seq, ack", `${frame.seq[row]}, ${frame.ack[row]} (relative)`], ["length", `${frame.len[row]} bytes of text`], ["window", bytes(frame.wnd[row])]];
  }

  facts(row) {
    const { store } = this, frame = store.tables.frame, pairs = [["sent", moment(frame.t[row])]];
    const why = store.word("why", frame.why[row]);
    if (why) pairs.push(["why", why]);
    const call = this.call(row);
    if (call) pairs.push(["by", call]);
    if (frame.bits[row] & 1) pairs.push(["again", "all of it was sent before"]);
    if (frame.wait[row] > 0) pairs.push(["in the queue", span(frame.wait[row])]);
    const fate = store.word("fate", frame.fate[row]) || "still under way at the end, or never seen to arrive", landed = store.landed(row);
    pairs.push(["fate", fate + (landed >= 0 ? `, ${span(landed - frame.t[row])} after it was sent` : "")]);
    const odd = [[2, "a copy"], [4, "marked CE on the way"], [8, "damaged on the way"], [16, "held back by the link"]].filter(([bit]) => frame.bits[row] & bit).map(([, said]) => said);
    if (odd.length) pairs.push(["on the way", odd.join(", ")]);
    if (frame.conn[row] >= 0) {
      pairs.push(["relative", `seq ${frame.seq[row]}, ack ${frame.ack[row]}, ${frame.len[row]} bytes of text, window ${bytes(frame.wnd[row])}`]);
      const end = 2 * frame.conn[row] + frame.side[row], cc = store.of("cc", end), flow = store.of("flow", end), t = frame.t[row];
      if (flow.rows) pairs.push(["the sender then", `SND.UNA ${store.at(flow, "una", t)}, SND.NXT ${store.at(flow, "nxt", t)}, cwnd ${bytes(store.at(cc, "cwnd", t))}, RTO ${span(store.at(cc, "rto", t))}, ${store.word("ca", store.at(cc, "ca", t) ?? 0)}`]);
    }
    return pairs;
  }

  call(row) {
    const { store } = this, frame = store.tables.frame, call = store.tables.call, number = frame.call[row];
    if (number < 0) return "";
    const host = store.meta.ways[frame.way[row]].source;
    for (let i = 0; i < call.rows; i++) if (call.number[i] === number && call.host[i] === host) return `${store.word("name", call.name[i])}(${store.word("args", call.args[i])}) on fd ${call.fd[i]}`;
    return "";
  }

  rfc(row) {
    const { store } = this, frame = store.tables.frame, end = 2 * frame.conn[row] + 1 - frame.side[row], landed = store.landed(row);
    if (store.isLost(row) || landed < 0) return this.part("RFC 9293", [["", "It never arrived: no step is taken. The sender learns of it by what does not come back."]]);
    const way = store.meta.ways[frame.way[row]], conn = store.conns[frame.conn[row]];
    if (conn.hosts[end & 1] >= 0 && conn.hosts[end & 1] !== way.target) return this.part("RFC 9293", [["", `${store.host(way.target)} only passes it on.`]]);
    const before = landed - 1e-10, state = store.of("state", end), flow = store.of("flow", end), peer = store.of("flow", end ^ 1);
    const name = state.rows ? store.word("state", store.at(state, "state", before) ?? 0) || (this.listens(end) ? "LISTEN" : "CLOSED") : this.listens(end) ? "LISTEN" : "";
    if (!name) return this.part("RFC 9293", [["", "The receiver's state is not known here."]]);
    const found = stepsOf({ flags: store.word("flags", frame.flags[row]), seq: frame.seq[row], ack: frame.ack[row], length: frame.len[row] },
      { state: name, una: store.at(flow, "una", before) ?? -1, nxt: store.at(flow, "nxt", before) ?? -1, rcvNxt: this.expected(row, end, before), rcvWnd: store.at(store.of("buffer", end), "rcvwnd", before) ?? 0, peer });
    return this.part(`RFC 9293, section ${found.section}: ${found.title}`, found.steps);
  }

  listens(end) {
    const name = this.store.conns[end >> 1].names[end & 1];
    return this.store.meta.listeners.some(([, listener]) => listener.replace(/^.*:/, "") === name.replace(/^.*:/, ""));
  }

  // RCV.NXT of the receiver before a segment: what it acknowledged last, or what came in order since.
  expected(row, end, before) {
    const { store } = this, frame = store.tables.frame;
    const conn = end >> 1, arrived = store.kept(`arrivals ${end}`, () => {
      const rows = [...store.frames("conn " + conn, (r, f) => f.conn[r] === conn).rows].filter(r => frame.side[r] !== (end & 1) && !store.isLost(r) && store.landed(r) >= 0);
      rows.sort((a, b) => store.landed(a) - store.landed(b));
      const t = [], next = [], gaps = [];
      let expected = -1;
      for (const r of rows) {
        const flags = store.word("flags", frame.flags[r]), size = frame.len[r] + (flags.includes("S") ? 1 : 0) + (flags.includes("F") ? 1 : 0);
        if (flags.includes("S") && expected < 0) expected = frame.seq[r] + size;
        else if (size) gaps.push([frame.seq[r], frame.seq[r] + size]);
        for (let moved = true; moved;) {
          moved = false;
          for (let i = gaps.length - 1; i >= 0; i--) if (gaps[i][0] <= expected) { if (gaps[i][1] > expected) { expected = gaps[i][1]; moved = true; } gaps.splice(i, 1); }
        }
        t.push(store.landed(r));
        next.push(expected);
      }
      return { t: Float64Array.from(t), next };
    });
    const i = above(arrived.t, before) - 1;
    return i < 0 ? -1 : arrived.next[i];
  }
}
