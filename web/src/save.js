// What the page can save: the frames as a capture (pcapng) and the run as a trace for Perfetto (native TrackEvent).

import { headOf } from "./detail.js";
import { isEthernet } from "./packet.js";
import { stateSpans } from "./views/states.js";

export function download(name, data, type) {
  const address = URL.createObjectURL(new Blob(data, { type })), link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// --- pcapng (draft-ietf-opsawg-pcapng): each frame once, where and when it was sent, cut to what the page has of it

export function capture(store) {
  const frame = store.tables.frame, blocks = [], numbers = new Map(), encoder = new TextEncoder();
  const option = (code, bytes) => { const out = new Uint8Array(4 + ((bytes.length + 3) & ~3)), view = new DataView(out.buffer); view.setUint16(0, code, true); view.setUint16(2, bytes.length, true); out.set(bytes, 4); return out; };
  const text = (code, words) => words ? option(code, encoder.encode(words).subarray(0, 60000)) : new Uint8Array(0);
  const end = new Uint8Array(4);
  const block = (kind, ...parts) => {
    const size = 12 + parts.reduce((sum, part) => sum + part.length, 0), out = new Uint8Array(size), view = new DataView(out.buffer);
    view.setUint32(0, kind, true);
    view.setUint32(4, size, true);
    view.setUint32(size - 4, size, true);
    let at = 8;
    for (const part of parts) { out.set(part, at); at += part.length; }
    blocks.push(out);
  };
  const section = new Uint8Array(16);
  new DataView(section.buffer).setUint32(0, 0x1a2b3c4d, true);
  new DataView(section.buffer).setUint16(4, 1, true);
  section.fill(255, 8);
  block(0x0a0d0d0a, section, text(1, [store.meta.title, store.meta.command].filter(Boolean).join("\n")), text(4, "estab"), end);
  let left_out = 0;
  for (let row = 0; row < frame.rows; row++) {
    const head = headOf(store, row);
    if (!head.length) { left_out += 1; continue; }
    const way = store.meta.ways[frame.way[row]], type = isEthernet(head, frame.size[row]) ? 1 : 101, key = `${store.host(way.source)}:${way.interface} ${type}`;
    if (!numbers.has(key)) {
      numbers.set(key, numbers.size);
      const body = new Uint8Array(8);
      new DataView(body.buffer).setUint16(0, type, true);
      block(1, body, text(2, `${store.host(way.source)}:${way.interface}`), option(9, Uint8Array.of(9)), end);
    }
    const ns = BigInt(Math.round(frame.t[row] * 1e9)) + BigInt(store.meta.epoch ?? 0), body = new Uint8Array(20), view = new DataView(body.buffer), padded = new Uint8Array((head.length + 3) & ~3);
    view.setUint32(0, numbers.get(key), true);
    view.setUint32(4, Number(ns >> 32n), true);
    view.setUint32(8, Number(ns & 0xffffffffn), true);
    view.setUint32(12, head.length, true);
    view.setUint32(16, frame.size[row], true);
    padded.set(head);
    const fate = store.word("fate", frame.fate[row]), said = [store.word("why", frame.why[row]), fate === "arrived" ? "" : fate].filter(Boolean).join("; ");
    block(6, body, padded, text(1, said), option(2, Uint8Array.of(2, 0, 0, 0)), end);
  }
  return { blocks, left_out };
}

// --- Perfetto: protobuf messages by hand, fields as in perfetto/trace/track_event

const BEGIN = 1, END = 2, INSTANT = 3, COUNTER = 4;
const STEP = 20000;
const WORDS_MAX = 100000;

// Bytes that grow. Numbers are whole, and below 2 ** 53.
class Writer {
  constructor(size = 256) { this.data = new Uint8Array(size); this.size = 0; }
  clear() { this.size = 0; return this; }
  room(more) {
    if (this.size + more <= this.data.length) return;
    const grown = new Uint8Array(Math.max(2 * this.data.length, this.size + more));
    grown.set(this.data.subarray(0, this.size));
    this.data = grown;
  }
  varint(value) {
    this.room(10);
    if (value < 0) {
      let left = BigInt.asUintN(64, BigInt(value));
      while (left > 127n) { this.data[this.size++] = Number(left & 127n) | 128; left >>= 7n; }
      value = Number(left);
    }
    while (value > 127) { this.data[this.size++] = value % 128 | 128; value = Math.floor(value / 128); }
    this.data[this.size++] = value;
    return this;
  }
  number(field, value) { return this.varint(field * 8).varint(value); }
  raw(field, bytes, size) {
    this.varint(field * 8 + 2).varint(size);
    this.room(size);
    if (size > 64) this.data.set(bytes.subarray(0, size), this.size);
    else for (let i = 0; i < size; i++) this.data[this.size + i] = bytes[i];
    this.size += size;
    return this;
  }
  message(field, writer) { return this.raw(field, writer.data, writer.size); }
}

class Trace {
  constructor() {
    this.out = new Writer(1 << 16);
    this.starts = [];
    this.times = [];
    this.tracks = 0;
    this.parts = [new Writer(), new Writer(), new Writer()];
    this.words = new Map();
    this.encoder = new TextEncoder();
  }
  text(writer, field, words) {
    let bytes = this.words.get(words);
    if (bytes === undefined) {
      if (this.words.size > WORDS_MAX) this.words.clear();
      this.words.set(words, bytes = this.encoder.encode(words));
    }
    return writer.raw(field, bytes, bytes.length);
  }
  packet(time, message) {
    message.number(10, 1);
    if (!this.starts.length) message.number(13, 1);
    this.starts.push(this.out.size);
    this.times.push(time);
    this.out.message(1, message);
  }
  track(name, { parent = 0, process = -1, unit = 0 } = {}) {
    const [packet, made, inner] = this.parts, uuid = ++this.tracks;
    made.clear().number(1, uuid);
    if (process >= 0) made.message(3, this.text(inner.clear().number(1, process + 1), 6, name)); else this.text(made, 2, name);
    if (parent) made.number(5, parent);
    if (unit) made.message(8, inner.clear().number(3, unit));
    this.packet(-1, packet.clear().message(60, made));
    return uuid;
  }
  event(seconds, track, type, { name = "", value = null, notes = null } = {}) {
    const [packet, made, inner] = this.parts;
    made.clear().number(9, type).number(11, track);
    if (name) this.text(made, 23, name);
    if (value !== null) made.number(30, Math.round(value));
    for (const key in notes) {
      this.text(inner.clear(), 10, key);
      if (typeof notes[key] === "number") inner.number(4, notes[key]); else this.text(inner, 6, notes[key]);
      made.message(4, inner);
    }
    this.packet(seconds, packet.clear().number(8, Math.round(Math.max(0, seconds) * 1e9)).message(11, made));
  }
  slice(from, until, track, name, notes) { this.event(from, track, BEGIN, { name, notes }); this.event(until, track, END); }
  // Descriptions first, then events in order of time; of one time, ends before beginnings, as they were given.
  blob() {
    const { starts, times, out } = this, order = new Uint32Array(starts.length), data = new Uint8Array(out.size);
    for (let n = 0; n < order.length; n++) order[n] = n;
    order.sort((a, b) => times[a] - times[b] || a - b);
    let at = 0;
    for (const n of order) {
      const end = n + 1 < starts.length ? starts[n + 1] : out.size;
      data.set(out.data.subarray(starts[n], end), at);
      at += end - starts[n];
    }
    return [data];
  }
}

// The trace at once.
export function trace(store) {
  const made = steps(store);
  for (;;) { const { done, value } = made.next(); if (done) return value; }
}

// The same in steps that say how far it is: a large run takes seconds.
export const traceSteps = store => steps(store);

function* steps(store) {
  const out = new Trace(), hosts = store.meta.hosts.map((name, n) => out.track(name, { process: n })), { call, wait, frame } = store.tables;
  const hostTrack = number => hosts[number] ?? 0;
  const told = (what, row, rows) => `${what} ${row.toLocaleString("en")} of ${rows.toLocaleString("en")}`;
  const lanes = new Map(), ordered = new Uint32Array(call.rows);
  for (let row = 0; row < call.rows; row++) ordered[row] = row;
  let number = 0;
  for (const row of ordered.sort((a, b) => call.t[a] - call.t[b] || a - b)) {
    if (number++ % STEP === 0) yield told("call", number, call.rows);
    const until = call.until[row] < 0 ? store.end : call.until[row];
    for (let n = 0; ; n++) {
      const key = `${call.host[row]} ${call.fd[row]} ${n}`;
      if (!lanes.has(key)) lanes.set(key, { end: -1, track: out.track(call.fd[row] < 0 ? "calls" : `calls on fd ${call.fd[row]}`, { parent: hostTrack(call.host[row]) }) });
      const lane = lanes.get(key);
      if (lane.end > call.t[row]) continue;
      lane.end = until;
      out.slice(call.t[row], until, lane.track, store.word("name", call.name[row]), { arguments: store.word("args", call.args[row]), result: store.word("result", call.result[row]) });
      break;
    }
  }
  const waits = new Map();
  for (let row = 0; row < wait.rows; row++) {
    const key = wait.host[row];
    if (!waits.has(key)) waits.set(key, []);
    waits.get(key).push(row);
  }
  for (const [host, rows] of waits) {
    const ends = [];
    number = 0;
    for (const row of rows.sort((a, b) => wait.t[a] - wait.t[b])) {
      if (number++ % STEP === 0) yield told("sleep", number, rows.length);
      let n = ends.findIndex(lane => lane.end <= wait.t[row]);
      if (n < 0) { n = ends.length; ends.push({ end: -1, track: out.track("sleeps in", { parent: hostTrack(host) }) }); }
      ends[n].end = wait.until[row] < 0 ? store.end : wait.until[row];
      out.slice(wait.t[row], ends[n].end, ends[n].track, store.word("what", wait.what[row]));
    }
  }
  const ends = new Set(store.tables.state.end), flows = new Set(store.tables.flow.end);
  for (const end of [...new Set([...ends, ...flows])].filter(end => end >= 0).slice(0, 400)) {
    const conn = store.conns[end >> 1], name = `${conn.names[end & 1]} > ${conn.names[1 - (end & 1)]}`, parent = hostTrack(conn.hosts[end & 1]);
    yield `connection ${name}`;
    const state = out.track(`state ${name}`, { parent });
    for (const [from, until, what] of stateSpans(store, end)) out.slice(from, until, state, what);
    const held = out.track(`held up by ${name}`, { parent });
    for (const [from, until, kind] of store.held(end)) out.slice(from, until, held, store.meta.held[kind]);
    const cc = store.of("cc", end), flow = store.of("flow", end);
    yield* counter(out, `cwnd ${name}`, parent, 3, cc, i => cc.cwnd[i]);
    yield* counter(out, `in flight ${name}`, parent, 3, flow, i => flow.nxt[i] - flow.una[i]);
    yield* counter(out, `SRTT ${name}`, parent, 1, cc, i => Math.max(0, cc.srtt[i]) * 1e9);
  }
  for (const [n, way] of store.meta.ways.entries()) {
    const series = store.of("queue", n, "way");
    yield* counter(out, `queue ${store.host(way.source)} > ${store.host(way.target)}`, hostTrack(way.source), 2, series, i => series.frames[i]);
  }
  const sent = store.meta.hosts.map((name, n) => out.track("frames sent", { parent: hosts[n] }));
  for (let row = 0; row < frame.rows; row++) {
    if (row % STEP === 0) yield told("frame", row, frame.rows);
    const way = store.meta.ways[frame.way[row]];
    if (way.source < 0) continue;
    out.event(frame.t[row], sent[way.source], INSTANT, { name: store.word("flags", frame.flags[row]) || store.word("text", frame.text[row]), notes: { seq: frame.seq[row], length: frame.len[row], why: store.word("why", frame.why[row]), fate: store.word("fate", frame.fate[row]) } });
  }
  yield "written in order of time";
  return out.blob();
}

function* counter(out, name, parent, unit, series, value) {
  if (!series.rows) return;
  const track = out.track(name, { parent, unit });
  let before = null;
  for (let i = 0; i < series.rows; i++) {
    if (i % STEP === 0) yield name;
    const now = value(i);
    if (now !== before) out.event(series.t[i], track, COUNTER, { value: now });
    before = now;
  }
}
