// The data of a run: what the page was given, decoded. The format is src/estab/report/pack.py's; web/README.md tells it.

const SECONDS = new Set(["t", "until", "wait", "fly", "srtt", "rttvar", "rto", "sample", "due"]);

export async function decode(meta, packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = new Uint8Array(await new Response(stream).arrayBuffer());
  const tables = {};
  let at = 0;
  for (const [name, { rows, columns }] of Object.entries(meta.tables)) {
    if (name === "heads") continue;
    const raw = {};
    const ends = columns.some(([column]) => column === "conn");
    for (const [column, mode, planes] of columns) {
      if (ends && raw.side && !raw.end) raw.end = raw.conn.map((conn, row) => 2 * conn + raw.side[row]);
      raw[column] = grown(unpacked(data, at, rows, planes), mode, raw);
      at += rows * planes;
    }
    const table = tables[name] = { rows, ...raw };
    for (const column of Object.keys(raw)) if (SECONDS.has(column)) table[column] = seconds(raw[column]);
  }
  tables.heads = data.subarray(at, at + meta.tables.heads);
  return tables;
}

function unpacked(data, at, rows, planes) {
  const values = new Float64Array(rows);
  let factor = 1;
  for (let plane = 0; plane < planes; plane++, factor *= 256) {
    const start = at + plane * rows;
    if (plane === 0) for (let row = 0; row < rows; row++) values[row] = data[start + row];
    else for (let row = 0; row < rows; row++) { const byte = data[start + row]; if (byte) values[row] += byte * factor; }
  }
  for (let row = 0; row < rows; row++) {
    const value = values[row];
    values[row] = value % 2 ? -(value + 1) / 2 : value / 2;
  }
  return values;
}

function grown(values, mode, raw) {
  const [how, other] = mode.split(" ");
  const rows = values.length;
  if (how === "delta") {
    for (let row = 1; row < rows; row++) values[row] += values[row - 1];
  } else if (how === "plus") {
    const base = raw[other];
    for (let row = 0; row < rows; row++) values[row] += base[row];
  } else if (how === "back") {
    for (let row = 0; row < rows; row++) values[row] = values[row] === 0 ? -1 : row - values[row];
  } else if (how === "by" || how === "seq") {
    const keys = raw[how === "by" ? other : "end"], lengths = how === "seq" ? raw.len : null;
    const last = new Map();
    if (how === "seq") followed(values, keys, lengths);
    else for (let row = 0; row < rows; row++) {
      const value = values[row] + (last.get(keys[row]) ?? 0);
      values[row] = value;
      last.set(keys[row], value);
    }
  }
  return values;
}

function followed(values, keys, lengths) {
  const following = new Map();
  for (let row = 0; row < values.length; row++) {
    values[row] += following.get(keys[row]) ?? 0;
    following.set(keys[row], values[row] + lengths[row]);
  }
}

function seconds(values) {
  const out = new Float64Array(values.length);
  for (let row = 0; row < values.length; row++) out[row] = values[row] < 0 && values[row] >= -1 ? -1 : values[row] / 1e9;
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
  constructor(meta, tables) {
    this.meta = meta;
    this.tables = tables;
    this.origin = (meta.origin ?? 0) / 1e9;
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

  word(kind, number) { return this.meta.words[kind][number] ?? ""; }

  host(number) { return this.meta.hosts[number] ?? "outside"; }

  // The name of the host of one end, or its address where no host is known.
  hostOf(end) {
    const conn = this.conns[end >> 1];
    const number = conn.hosts[end & 1];
    return number >= 0 ? this.host(number) : conn.names[end & 1].replace(/:\d+$/, "");
  }

  connText(conn) {
    const [a, b] = [2 * conn.number, 2 * conn.number + 1].map(end => this.hostOf(end));
    return `${a} ${port(conn.names[0])} – ${b} ${port(conn.names[1])}`;
  }

  // The rows of a table that belong to one end (or way, or listener), as columns of their own.
  of(table, key, by = "end") {
    return this.kept(`${table} ${by} ${key}`, () => {
      const source = this.tables[table], rows = [];
      const keys = source[by];
      for (let row = 0; row < source.rows; row++) if (keys[row] === key) rows.push(row);
      const out = { rows: rows.length, row: Int32Array.from(rows) };
      for (const column of Object.keys(source)) if (column !== "rows") {
        const from = source[column], to = out[column] = new Float64Array(rows.length);
        for (let i = 0; i < rows.length; i++) to[i] = from[rows[i]];
      }
      return out;
    });
  }

  // Row numbers of the frames for which ``test`` holds, with their times.
  frames(name, test) {
    return this.kept("frames " + name, () => {
      const frame = this.tables.frame, rows = [];
      for (let row = 0; row < frame.rows; row++) if (test(row, frame)) rows.push(row);
      const t = new Float64Array(rows.length);
      for (let i = 0; i < rows.length; i++) t[i] = frame.t[rows[i]];
      return { rows: Int32Array.from(rows), t };
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
  isDropped(row) { return this.lost[this.tables.frame.fate[row]] === 2; }
  landed(row) {
    const frame = this.tables.frame;
    return frame.fly[row] < 0 ? -1 : frame.t[row] + frame.wait[row] + frame.fly[row];
  }

  // Why a frame was sent, as one of a few kinds that have a colour.
  kind(row) {
    const frame = this.tables.frame;
    if (!this.kinds) this.kinds = this.meta.words.why.map(kindOf);
    const kind = this.kinds[frame.why[row]];
    if (kind) return kind;
    if (frame.from[row] >= 0 && this.word("why", frame.why[row]) === "passed on") return this.kind(frame.from[row]);
    const flags = this.word("flags", frame.flags[row]);
    if (frame.bits[row] & 1) return "again";
    if (/[SFR]/.test(flags)) return "control";
    return frame.len[row] > 0 ? "data" : frame.conn[row] < 0 ? "other" : "ack";
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

function kindOf(why) {
  if (/probe/.test(why)) return "probe";
  if (/timeout|SYN-ACK \d/.test(why)) return "timeout";
  if (/fast retransmission/.test(why)) return "fast";
  if (/retransmission|copy of|duplicate that/.test(why)) return "again";
  if (why === "" || why === "passed on") return "";
  if (/^(acknowledgment|delayed|duplicate ack|challenge|window)/.test(why)) return "ack";
  return "";
}
