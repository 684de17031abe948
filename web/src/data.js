// The data of a run: what the page was given, decoded. The format is src/estab/report/pack.py's; web/README.md tells it.

import { span } from "./format.js";

const SECONDS = new Set(["t", "until", "wait", "fly", "srtt", "rttvar", "rto", "sample", "due"]);

// Inflates the tables that a page opens with; ``rest`` of what it gives inflates the others.
export async function decode(meta, packed) {
  const { first, heads, ...described } = meta.tables, tables = {}, opening = new Part(packed.subarray(0, first.bytes)), later = new Part(packed.subarray(first.bytes));
  for (const [name, { rows, columns }] of Object.entries(described)) {
    const part = first.tables.includes(name) ? opening : later;
    const table = tables[name] = { rows, names: columns.map(([column]) => column) }, raw = {};
    for (const [column, mode, planes] of columns) {
      const start = part.size;
      lazy(raw, column, () => grown(unpacked(part.data, start, rows, planes, mode), mode, raw));
      const shift = column === "t" || column === "until" ? meta.origin : 0;
      lazy(table, column, () => SECONDS.has(column) ? seconds(raw[column], shift) : raw[column]);
      part.size += rows * planes;
    }
    if (table.names.includes("conn")) lazy(raw, "end", () => ends(raw.conn, raw.side));
  }
  const at = later.size;
  later.size += heads;
  await opening.inflate();
  const rest = async () => {
    await later.inflate(true);
    tables.heads = later.data.subarray(at);
  };
  return { tables, rest };
}

const PIECE = 131072;

// Tables that are compressed together.
class Part {
  constructor(packed) { this.packed = packed; this.size = 0; this.data = null; }

  // In pieces, so that nothing is kept twice; ``gently`` lets the page answer between two of them.
  async inflate(gently = false) {
    const { packed } = this, { readable, writable } = new DecompressionStream("gzip"), reader = readable.getReader(), data = new Uint8Array(this.size);
    const fed = feed(writable.getWriter(), packed, gently);
    fed.catch(() => {});   // the reader meets it as well
    let at = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      data.set(value, at);
      at += value.length;
    }
    await fed;
    this.data = data;
    this.packed = null;
  }
}

async function feed(writer, packed, gently) {
  for (let at = 0; at < packed.length; at += PIECE) {
    await writer.write(packed.subarray(at, at + PIECE));
    if (gently) await new Promise(done => setTimeout(done));
  }
  await writer.close();
}

export function packedBytes(text) {
  const letters = atob(text), packed = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) packed[i] = letters.charCodeAt(i);
  return packed;
}

// A field that is made when it is first asked for: most columns of a large run are never looked at.
function lazy(object, name, make) {
  Object.defineProperty(object, name, {
    configurable: true, enumerable: true,
    get() { const value = make(); Object.defineProperty(object, name, { value, enumerable: true }); return value; },
  });
}

function ends(conns, sides) {
  const out = new Int32Array(conns.length);
  for (let row = 0; row < out.length; row++) out[row] = 2 * conns[row] + sides[row];
  return out;
}

// Bytes of planes into numbers, and zigzag undone: in 32 bits where that is enough. What is not added up stays small.
function unpacked(data, at, rows, planes, mode) {
  const Values = mode !== "plain" || planes > 4 ? Float64Array : planes > 1 ? Int32Array : Int8Array, values = new Values(rows);
  if (planes === 0) return values;
  const low = data.subarray(at, at + rows), second = planes > 1 ? data.subarray(at + rows, at + 2 * rows) : null;
  const third = planes > 2 ? data.subarray(at + 2 * rows, at + 3 * rows) : null, fourth = planes > 3 ? data.subarray(at + 3 * rows, at + 4 * rows) : null;
  for (let row = 0; row < rows; row++) {
    let bits = low[row];
    if (second !== null) bits |= second[row] << 8;
    if (third !== null) bits |= third[row] << 16;
    if (fourth !== null) bits |= fourth[row] << 24;
    values[row] = planes > 4 ? bits >>> 0 : (bits >>> 1) ^ -(bits & 1);
  }
  if (planes <= 4) return values;
  for (let plane = 4, factor = 2 ** 32; plane < planes; plane++, factor *= 256) {
    const start = at + plane * rows;
    for (let row = 0; row < rows; row++) { const byte = data[start + row]; if (byte) values[row] += byte * factor; }
  }
  for (let row = 0; row < rows; row++) {
    const value = values[row], half = Math.floor(value / 2);
    values[row] = value - 2 * half ? -half - 1 : half;
  }
  return values;
}

function grown(values, mode, raw) {
  const [how, other] = mode.split(" "), rows = values.length;
  if (how === "delta") {
    for (let row = 1; row < rows; row++) values[row] += values[row - 1];
  } else if (how === "plus") {
    const base = raw[other];
    for (let row = 0; row < rows; row++) values[row] += base[row];
  } else if (how === "back") {
    for (let row = 0; row < rows; row++) values[row] = values[row] === 0 ? -1 : row - values[row];
  } else if (how === "by" || how === "seq") {
    followed(values, raw[how === "by" ? other : "end"], how === "seq" ? raw.len : null);
  }
  return values;
}

// Each value is what it is more than the last one with its key (and the length there). Keys are from -2 up.
function followed(values, keys, lengths) {
  let most = 0;
  for (let row = 0; row < keys.length; row++) if (keys[row] > most) most = keys[row];
  const last = new Float64Array(most + 3);
  for (let row = 0; row < values.length; row++) {
    const key = keys[row] + 2, value = values[row] += last[key];
    last[key] = lengths === null ? value : value + lengths[row];
  }
}

function seconds(values, shift) {
  const out = new Float64Array(values.length);
  for (let row = 0; row < values.length; row++) { const value = values[row]; out[row] = value === -1 ? -1 : (value - shift) / 1e9; }
  return out;
}

// How many values of a sorted column are not above ``value``.
export function above(column, value) {
  let low = 0, high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] <= value) low = middle + 1; else high = middle;
  }
  return low;
}

// Questions that several views ask of one run.
export class Store {
  constructor(meta, { tables, rest }) {
    this.meta = meta;
    this.tables = tables;
    this.rest = rest;
    this.isWhole = false;
    this.begin = meta.begin / 1e9;
    this.end = Math.max(meta.end / 1e9, this.begin + 1e-6);
    this.cache = new Map();
    this.conns = meta.conns.map(([a, b, hostA, hostB, since, until, bytesA, bytesB, frames], number) => ({
      number, names: [a, b], hosts: [hostA, hostB], since: since / 1e9, until: until / 1e9, bytes: [bytesA, bytesB], frames,
    }));
    this.bands = meta.bands.map(band => ({
      ...band, from: band.from / 1e9, until: band.until < 0 ? this.end : band.until / 1e9,
    }));
    this.lost = new Uint8Array(meta.words.fate.map(word => word.startsWith("lost") ? 1 : word.startsWith("dropped") ? 2 : 0));
  }

  // The tables that a page does not open with: in a large run the first views are drawn before they come.
  get whole() { return this.arriving ??= this.rest().then(() => { this.isWhole = true; }); }

  // How often the kernel was asked of an end, in seconds; 0 for an end whose TCP tells all.
  sampledEvery(end) { return (this.kept("sampled", () => new Map(this.meta.sampled ?? [])).get(end) ?? 0) / 1e9; }

  // What is said of the rows of such ends.
  sampledText(all) {
    return all.filter(end => this.sampledEvery(end)).map(end => `${this.hostOf(end)}'s kernel sampled every ${span(this.sampledEvery(end))}`).join(", ");
  }

  word(kind, number) { return this.meta.words[kind][number] ?? ""; }

  host(number) { return this.meta.hosts[number] ?? "outside"; }

  // The name of the host of one end, or its address where no host is known.
  hostOf(end) {
    const conn = this.conns[end >> 1];
    const number = conn.hosts[end & 1];
    return number >= 0 ? this.host(number) : conn.names[end & 1].replace(/:\d+$/, "");
  }

  connText(conn) {
    const [a, b] = [2 * conn.number, 2 * conn.number + 1].map(end => this.hostOf(end)), ends = conn.names.map(port);
    return [a, b].map((name, n) => name.endsWith(ends[n]) ? name : `${name} ${ends[n]}`).join(" – ");
  }

  // The rows of a table that belong to one end (or way, or listener), as columns of their own.
  of(table, key, by = "end") {
    return this.kept(`${table} ${by} ${key}`, () => {
      const source = this.tables[table], keys = source[by];
      let size = 0;
      for (let row = 0; row < source.rows; row++) if (keys[row] === key) size += 1;
      const rows = new Int32Array(size), out = { rows: size, row: rows };
      for (let row = 0, i = 0; i < size; row++) if (keys[row] === key) rows[i++] = row;
      for (const column of source.names) lazy(out, column, () => size === source.rows ? source[column] : gathered(source[column], rows));
      return out;
    });
  }

  // Row numbers of the frames for which ``test`` holds, with their times.
  frames(name, test) {
    return this.kept("frames " + name, () => {
      const frame = this.tables.frame, rows = new Int32Array(frame.rows);
      let size = 0;
      for (let row = 0; row < frame.rows; row++) if (test(row, frame)) rows[size++] = row;
      const found = rows.slice(0, size);
      return { rows: found, t: size === frame.rows ? frame.t : gathered(frame.t, found) };
    });
  }

  kept(name, make) {
    let found = this.cache.get(name);
    if (found === undefined) {
      if (this.cache.size > 400) this.cache.clear();
      this.cache.set(name, found = make());
    }
    return found;
  }

  // What an end's column says at a time; null before its first row.
  at(series, column, time) {
    const row = above(series.t, time) - 1;
    return row < 0 ? null : series[column][row];
  }

  isLost(row) { return this.lost[this.tables.frame.fate[row]] === 1; }
  // Lost here, or on a later link by which a router passed it on.
  isLostLater(row) {
    const later = this.kept("lost later", () => {
      const { rows, from, bits, fate } = this.tables.frame, out = new Uint8Array(rows);
      for (let at = rows - 1; at >= 0; at--) {
        if (this.lost[fate[at]] === 1) out[at] = 1;
        if (out[at] && from[at] >= 0 && !(bits[at] & 2)) out[from[at]] = 1;
      }
      return out;
    });
    return later[row] === 1;
  }
  isDropped(row) { return this.lost[this.tables.frame.fate[row]] === 2; }
  landed(row) {
    const frame = this.tables.frame;
    return frame.fly[row] < 0 ? -1 : frame.t[row] + frame.wait[row] + frame.fly[row];
  }

  // Why a frame was sent, as one of a few kinds that have a colour.
  kind(row) {
    this.kinds ??= this.allKinds();
    return KIND_NAMES[this.kinds[row]];
  }

  allKinds() {
    const { rows, why, from, bits, flags, len, conn } = this.tables.frame, { words } = this.meta, out = new Uint8Array(rows);
    const told = words.why.map(word => KIND_NAMES.indexOf(kindOf(word))), passed = words.why.indexOf("passed on"), controls = words.flags.map(word => /[SFR]/.test(word));
    const [data, again, ack, control, other] = ["data", "again", "ack", "control", "other"].map(name => KIND_NAMES.indexOf(name));
    for (let row = 0; row < rows; row++) {
      const kind = told[why[row]];
      out[row] = kind >= 0 ? kind : why[row] === passed && from[row] >= 0 ? out[from[row]] : bits[row] & 1 ? again
        : controls[flags[row]] ? control : len[row] > 0 ? data : conn[row] < 0 ? other : ack;
    }
    return out;
  }

  // Spans in which one end was held up by one thing: [from, until, kind].
  held(end) {
    return this.kept("held spans " + end, () => {
      const rows = this.of("held", end), spans = [];
      for (let i = 0; i < rows.rows; i++) {
        const until = i + 1 < rows.rows ? rows.t[i + 1] : this.end;
        if (until > rows.t[i]) spans.push([rows.t[i], until, rows.kind[i]]);
      }
      return spans;
    });
  }
}

function gathered(column, rows) {
  const out = new column.constructor(rows.length);
  for (let i = 0; i < rows.length; i++) out[i] = column[rows[i]];
  return out;
}

export function port(name) { return name.slice(name.lastIndexOf(":")); }

export const KINDS = {
  data: ["new data", "seg"],
  fast: ["fast retransmission", "re"],
  timeout: ["retransmission after a timeout", "rto"],
  probe: ["probe", "probe"],
  again: ["sent again", "again"],
  ack: ["acknowledgment", "ack"],
  control: ["SYN, FIN, RST", "ctl"],
  other: ["not TCP", "mut"],
};

const KIND_NAMES = Object.keys(KINDS);

function kindOf(why) {
  if (/probe/.test(why)) return "probe";
  if (/timeout|SYN-ACK \d/.test(why)) return "timeout";
  if (/fast retransmission/.test(why)) return "fast";
  if (/retransmission|copy of|duplicate that/.test(why)) return "again";
  if (why === "" || why === "passed on") return "";
  if (/^(acknowledgment|delayed|duplicate ack|challenge|window)/.test(why)) return "ack";
  return "";
}
