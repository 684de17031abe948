// The one clock of all views: which stretch of time is shown, where the cursor is, what is chosen. Views listen.

export class Timeline {
  constructor(store) {
    this.store = store;
    this.whole = [store.begin, store.end];
    this.window = [...this.whole];
    this.cursor = null;
    this.conn = store.meta.chosen;
    this.side = 0;
    this.frame = -1;
    this.all = store.conns.length > 1 && store.tables.frame.rows <= 4000;
    this.hidden = new Set();
    this.listeners = { window: [], cursor: [], chosen: [], frame: [], hidden: [] };
    const conn = store.conns[this.conn];
    if (conn && conn.bytes[1] > conn.bytes[0]) this.side = 1;
  }

  on(what, listener) { this.listeners[what].push(listener); }
  tell(what) { for (const listener of this.listeners[what]) listener(); }

  // The number of the sender's end in the chosen direction; -1 without a connection.
  get sender() { return this.conn < 0 ? -1 : 2 * this.conn + this.side; }
  get receiver() { return this.conn < 0 ? -1 : 2 * this.conn + 1 - this.side; }

  look(from, until) {
    const [least, most] = this.whole;
    let width = Math.min(until - from, most - least);
    width = Math.max(width, 2e-6);
    from = Math.max(least, Math.min(from, most - width));
    if (from === this.window[0] && from + width === this.window[1]) return;
    this.window = [from, from + width];
    this.tell("window");
  }

  pan(share) { const [a, b] = this.window, by = (b - a) * share; this.look(a + by, b + by); }

  zoom(factor, around = (this.window[0] + this.window[1]) / 2) {
    const [a, b] = this.window;
    this.look(around - (around - a) * factor, around + (b - around) * factor);
  }

  reset() { this.look(...this.whole); }

  point(time) { if (time !== this.cursor) { this.cursor = time; this.tell("cursor"); } }

  choose(conn, side = this.side) {
    if (conn === this.conn && side === this.side) return;
    this.conn = conn;
    this.side = side;
    this.tell("chosen");
  }

  showAll(all) { this.all = all; this.tell("chosen"); }

  select(frame) { this.frame = frame; this.tell("frame"); }

  toggle(key) {
    if (!this.hidden.delete(key)) this.hidden.add(key);
    this.tell("hidden");
  }

  // --- a moment as an address: #t=2.1,4.5&c=0&d=1&f=812

  get hash() {
    const parts = this.store.meta.scene ? ["s=" + this.store.meta.scene] : [];
    const [a, b] = this.window;
    if (a !== this.whole[0] || b !== this.whole[1]) parts.push(`t=${round(a)},${round(b)}`);
    if (this.conn !== this.store.meta.chosen) parts.push("c=" + this.conn);
    if (this.side) parts.push("d=" + this.side);
    if (this.frame >= 0) parts.push("f=" + this.frame);
    return parts.length ? "#" + parts.join("&") : "";
  }

  // Go where an address says. What can't be read in it, or is not there, is passed over.
  follow(hash) {
    const words = new URLSearchParams(hash.replace(/^#/, ""));
    const conn = whole(words.get("c")), side = whole(words.get("d")), frame = whole(words.get("f"));
    this.choose(conn !== null && conn < this.store.conns.length ? conn : this.conn, side === null ? this.side : side & 1);
    const times = (words.get("t") ?? "").split(",").map(Number);
    if (times.length === 2 && times.every(isFinite) && times[1] > times[0]) this.look(times[0], times[1]);
    else if (times.length === 1 && words.has("t") && isFinite(times[0])) {
      const width = Math.min(this.whole[1] - this.whole[0], 0.5);
      this.look(times[0] - width / 2, times[0] + width / 2);
    }
    if (frame !== null && frame < this.store.tables.frame.rows) this.select(frame);
  }
}

function whole(word) { return word !== null && /^\d+$/.test(word) ? Number(word) : null; }
function round(time) { return Number(time.toFixed(9)); }
