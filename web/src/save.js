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

class Message {
  constructor() { this.bytes = []; }
  varint(value) {
    let left = BigInt(value);
    if (left < 0n) left += 1n << 64n;
    while (left > 127n) { this.bytes.push(Number(left & 127n) | 128); left >>= 7n; }
    this.bytes.push(Number(left));
    return this;
  }
  number(field, value) { return this.varint(field << 3).varint(value); }
  data(field, bytes) { this.varint(field << 3 | 2).varint(bytes.length); for (const byte of bytes) this.bytes.push(byte); return this; }
  text(field, words) { return this.data(field, new TextEncoder().encode(words)); }
  message(field, message) { return this.data(field, message.bytes); }
}

class Trace {
  constructor() { this.packets = []; this.tracks = 0; this.first = true; }
  packet(message) {
    message.number(10, 1);
    if (this.first) { message.number(13, 1); this.first = false; }
    this.packets.push([message.time ?? -1, Uint8Array.from(new Message().message(1, message).bytes)]);
  }
  track(name, { parent = 0, process = -1, unit = 0 } = {}) {
    const uuid = ++this.tracks, made = new Message().number(1, uuid);
    if (process >= 0) made.message(3, new Message().number(1, process + 1).text(6, name)); else made.text(2, name);
    if (parent) made.number(5, parent);
    if (unit) made.message(8, new Message().number(3, unit));
    this.packet(new Message().message(60, made));
    return uuid;
  }
  event(seconds, track, type, { name = "", value = null, notes = {} } = {}) {
    const made = new Message().number(9, type).number(11, track);
    if (name) made.text(23, name);
    if (value !== null) made.number(30, Math.round(value));
    for (const [key, words] of Object.entries(notes)) made.message(4, new Message().text(10, key).text(6, String(words)));
    const packet = new Message().number(8, Math.round(Math.max(0, seconds) * 1e9)).message(11, made);
    packet.time = seconds;
    this.packet(packet);
  }
  slice(from, until, track, name, notes) { this.event(from, track, BEGIN, { name, notes }); this.event(until, track, END); }
  // Descriptions first, then events in order of time; of one time, ends before beginnings, as they were given.
  blob() {
    return this.packets.map(([time, bytes], n) => [time, n, bytes]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , bytes]) => bytes);
  }
}

export function trace(store) {
  const out = new Trace(), hosts = store.meta.hosts.map((name, n) => out.track(name, { process: n })), { call, wait, frame } = store.tables;
  const hostTrack = number => hosts[number] ?? 0;
  const lanes = new Map();
  for (const row of [...Array(call.rows).keys()].sort((a, b) => call.t[a] - call.t[b])) {
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
    for (const row of rows.sort((a, b) => wait.t[a] - wait.t[b])) {
      let n = ends.findIndex(lane => lane.end <= wait.t[row]);
      if (n < 0) { n = ends.length; ends.push({ end: -1, track: out.track("sleeps in", { parent: hostTrack(host) }) }); }
      ends[n].end = wait.until[row] < 0 ? store.end : wait.until[row];
      out.slice(wait.t[row], ends[n].end, ends[n].track, store.word("what", wait.what[row]));
    }
  }
  const ends = new Set(store.tables.state.end), flows = new Set(store.tables.flow.end);
  for (const end of [...new Set([...ends, ...flows])].filter(end => end >= 0).slice(0, 400)) {
    const conn = store.conns[end >> 1], name = `${conn.names[end & 1]} > ${conn.names[1 - (end & 1)]}`, parent = hostTrack(conn.hosts[end & 1]);
    const state = out.track(`state ${name}`, { parent });
    for (const [from, until, what] of stateSpans(store, end)) out.slice(from, until, state, what);
    const held = out.track(`held up by ${name}`, { parent });
    for (const [from, until, kind] of store.held(end)) out.slice(from, until, held, store.meta.held[kind]);
    const cc = store.of("cc", end), flow = store.of("flow", end);
    counter(out, `cwnd ${name}`, parent, 3, cc, i => cc.cwnd[i]);
    counter(out, `in flight ${name}`, parent, 3, flow, i => flow.nxt[i] - flow.una[i]);
    counter(out, `SRTT ${name}`, parent, 1, cc, i => Math.max(0, cc.srtt[i]) * 1e9);
  }
  store.meta.ways.forEach((way, number) => {
    const series = store.of("queue", number, "way");
    counter(out, `queue ${store.host(way.source)} > ${store.host(way.target)}`, hostTrack(way.source), 2, series, i => series.frames[i]);
  });
  const sent = store.meta.hosts.map((name, n) => out.track("frames sent", { parent: hosts[n] }));
  for (let row = 0; row < Math.min(frame.rows, 300000); row++) {
    const way = store.meta.ways[frame.way[row]];
    if (way.source < 0) continue;
    out.event(frame.t[row], sent[way.source], INSTANT, { name: store.word("flags", frame.flags[row]) || store.word("text", frame.text[row]), notes: { seq: frame.seq[row], length: frame.len[row], why: store.word("why", frame.why[row]), fate: store.word("fate", frame.fate[row]) } });
  }
  return out.blob();
}

function counter(out, name, parent, unit, series, value) {
  if (!series.rows) return;
  const track = out.track(name, { parent, unit });
  let before = null;
  for (let i = 0; i < series.rows; i++) {
    const now = value(i);
    if (now !== before) out.event(series.t[i], track, COUNTER, { value: now });
    before = now;
  }
}
