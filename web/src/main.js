// The page: reads its data, puts the views under each other on one clock, and answers keys and addresses.

import { Store, above, decode, packedBytes } from "./data.js";
import { bytes, count, moment, span } from "./format.js";
import { forgetColours } from "./paint.js";
import { FRAMES_AT_ONCE, Panel, element } from "./plot.js";
import { Timeline } from "./timeline.js";
import { Detail } from "./detail.js";
import { SegmentTable } from "./table.js";
import { capture, download, trace, traceSteps } from "./save.js";
import { Overview } from "./overview.js";
import { heldView } from "./views/held.js";
import { ladderView } from "./views/ladder.js";
import { sequenceView, edges } from "./views/sequence.js";
import { flightView } from "./views/flight.js";
import { rttView } from "./views/rtt.js";
import { ratesView } from "./views/rates.js";
import { statesView } from "./views/states.js";
import { buffersView } from "./views/buffers.js";
import { callsView } from "./views/calls.js";
import { weatherView } from "./views/weather.js";

const VIEWS = [heldView, ladderView, sequenceView, flightView, rttView, ratesView, statesView, buffersView, callsView, weatherView];
const CHOICES_MAX = 500;
const BUSY_MS = 60;   // for so long the page does not answer while it writes a trace
const PAPER_WIDTH = 700;   // pixels of CSS between the margins of A4 and of US letter
const HELP = [
  ["drag", "zoom into a stretch, in all views"], ["double click, Esc, 0", "the whole run"], ["← →", "move"], ["+ −", "zoom"],
  [", .", "the frame before, the frame after"], ["[ ]", "the bookmark before, the bookmark after"], ["x", "turn to the other direction"], ["a", "all traffic, or this connection only"],
  ["d", "light, dark"], ["?", "this list"],
];

async function start() {
  const began = performance.now();
  const metas = [...document.querySelectorAll("script.estab-meta")], data = document.querySelectorAll("script.estab-data");
  const asked = Number(new URLSearchParams(location.hash.slice(1)).get("s") ?? 0), scene = metas[asked] ? asked : 0;
  const meta = JSON.parse(metas[scene].textContent);
  meta.scene = scene;
  meta.scenes = metas.map((block, n) => n === scene ? meta.title : JSON.parse(block.textContent).title);
  const store = new Store(meta, await decode(meta, packedBytes(data[scene].textContent)));
  // A large run is shown before all of it is there; an address that leads into it needs the whole.
  if (store.tables.frame.rows <= FRAMES_AT_ONCE || location.hash.length > 1) await store.whole;
  const page = new Page(store, document.getElementById("app"));
  window.estab = { store, timeline: page.timeline, panels: page.panels, page, capture, trace };
  page.show();
  await Promise.all(page.list.map(panel => panel.looked));
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  performance.mark("estab-drawn");
  document.body.dataset.drawn = "yes";
  if (!store.isWhole) {
    await store.whole;
    page.completed();
  }
  performance.mark("estab-whole");
  document.body.dataset.ready = "yes";
}

class Page {
  constructor(store, host) {
    this.store = store;
    this.host = host;
    this.timeline = new Timeline(store);
    setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    this.views = VIEWS.map(view => view(store, this.timeline));
    this.panels = Object.fromEntries(this.views.map((view, n) => [view.id, new Panel(view, store, this.timeline, n + 1)]));
    this.list = Object.values(this.panels);
    this.detail = new Detail(store, this.timeline);
    this.table = new SegmentTable(store, this.timeline);
    this.overview = new Overview(store, this.timeline);
    this.pending = false;
  }

  show() {
    const { store, timeline } = this;
    this.reading = element("p", { cls: "reading", "aria-live": "off" });
    this.top = element("div", { cls: "sticky" }, this.overview.box, this.toolbar(), this.reading);
    const plots = element("main");
    this.host.append(this.header(), this.top, plots, this.table.section, this.footer(), this.detail.section, this.help());
    const width = this.width();
    this.overview.attach(width);
    for (const panel of this.list) panel.attach(plots, width);
    this.table.fill();
    this.describe();
    timeline.on("window", () => this.later(false));
    timeline.on("chosen", () => this.later(true));
    timeline.on("hidden", () => this.later(false));
    timeline.on("frame", () => { this.later(false); if (timeline.frame >= 0) timeline.point(store.tables.frame.t[timeline.frame]); });
    timeline.on("cursor", () => this.read());
    if (location.hash) timeline.follow(location.hash);
    this.read();
    addEventListener("hashchange", () => { if (location.hash !== this.timeline.hash) this.timeline.follow(location.hash); });
    addEventListener("keydown", event => this.key(event));
    let resizing = 0;
    addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => this.resize(), 80); });
    addEventListener("beforeprint", () => this.beforePrint());
    addEventListener("afterprint", () => this.afterPrint());
  }

  // The last tables have come: the views that need them are drawn.
  completed() {
    for (const panel of this.list) if (!panel.view.opens) panel.renew();
    this.read();
    this.describe();
  }

  // On paper all is light, drawn and open, whoever had seen it before.
  beforePrint() {
    this.before = { theme: document.documentElement.dataset.theme, closed: [...document.querySelectorAll("details:not([open])")] };
    setTheme("light");
    this.showAll(true);
    this.resize(PAPER_WIDTH);
    for (const details of this.before.closed) details.open = true;
  }

  afterPrint() {
    setTheme(this.before.theme);
    this.showAll(false);
    this.resize();
    for (const details of this.before.closed) details.open = false;
  }

  showAll(all) { for (const panel of this.list) panel.marks = all ? [] : null; }
  width() { return Math.max(280, this.host.clientWidth - parseFloat(getComputedStyle(this.host).paddingLeft) * 2); }
  resize(width = this.width()) { this.overview.resize(width); for (const panel of this.list) panel.resize(width); this.redraw(false); }

  // Draws once a frame of the screen, however much has changed.
  later(anew) {
    this.anew ||= anew;
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      const renew = this.anew;
      this.anew = false;
      this.redraw(renew);
      history.replaceState(null, "", this.timeline.hash || location.pathname.split("/").pop() || ".");
    });
  }

  // Words for screen readers, a view after the other, once nothing has moved for a while.
  describe() {
    clearTimeout(this.describing);
    let next = 0;
    const step = () => { this.list[next].describe(); if (++next < this.list.length) this.describing = setTimeout(step, 5); };
    this.describing = setTimeout(step, 150);
  }

  redraw(anew) {
    this.describe();
    for (const panel of this.list) anew ? panel.renew() : panel.redraw();
    this.overview.redraw();
    if (anew) this.choices();
    this.read();
  }

  header() {
    const { store } = this, { meta } = store;
    const head = element("header", {}, element("h1", { text: meta.title || "A run" }), this.saves());
    if (meta.scenes.length > 1) {
      const choice = element("select", { "aria-label": "run" });
      meta.scenes.forEach((title, n) => choice.append(element("option", { value: String(n), text: `${n + 1} of ${meta.scenes.length}: ${title}` })));
      choice.value = String(meta.scene);
      choice.addEventListener("change", () => { location.hash = "s=" + choice.value; location.reload(); });
      head.append(element("p", { cls: "setting" }, choice));
    }
    const facts = [count(new Set(meta.hosts.filter((_, host) => !meta.switches.includes(host)).map(addressOf)).size, "host"), count(store.conns.length, "connection"), count(store.tables.frame.rows, "frame"), `${span(store.end - store.begin)} of ${meta.real ? "real time" : meta.capture ? "capture" : "virtual time"}`];
    head.append(element("p", { cls: "setting", text: facts.join(" · ") }));
    if (meta.command) head.append(element("p", { cls: "setting" }, "again: ", element("code", { text: meta.command })));
    if (meta.notes.length) {
      const notes = element("ul", { cls: "notes" });
      for (const note of meta.notes) notes.append(element("li", { text: note }));
      head.append(notes);
    }
    if (meta.findings.length) head.append(this.findings());
    return head;
  }

  // What the doctor found: each leads to its connection and its time.
  findings() {
    const list = element("section", { cls: "findings", "aria-label": "findings" }, element("h2", { text: count(this.store.meta.findings.length, "finding") }));
    this.store.meta.findings.forEach(([title, subject, conn, side, from, until, evidence, notices, cures], n) => {
      const shown = element("details", n === 0 ? { open: "" } : {}), pairs = element("dl");
      const go = button("show", "its connection and its time", event => {
        event.preventDefault();
        const room = Math.max((until - from) / 1e9 / 8, 0.02);
        this.go([title, from / 1e9 - room, until / 1e9 + room, conn, side]);
      });
      shown.append(element("summary", {}, element("b", { text: title }), ` ${subject} · ${moment(from / 1e9)}` + (until > from ? ` for ${span((until - from) / 1e9)}` : "") + " ", go), pairs);
      for (const [name, words] of [["evidence", evidence], ["the program", notices ? [notices] : []], ["to do", cures]]) for (const line of words) pairs.append(element("dt", { text: name }), element("dd", { text: line }));
      list.append(shown);
    });
    return list;
  }

  toolbar() {
    const { store, timeline } = this;
    this.conn = element("select", { "aria-label": "connection" });
    this.direction = button("", "turn to the other direction (x)", () => timeline.choose(timeline.conn, 1 - timeline.side));
    this.all = element("input", { type: "checkbox", id: "all" });
    this.all.addEventListener("change", () => timeline.showAll(this.all.checked));
    this.conn.addEventListener("change", () => timeline.choose(Number(this.conn.value)));
    const order = [...store.conns].sort((a, b) => (b.number === store.meta.chosen) - (a.number === store.meta.chosen) || Math.max(...b.bytes) - Math.max(...a.bytes) || a.number - b.number);
    for (const conn of order.slice(0, CHOICES_MAX)) this.conn.append(element("option", { value: String(conn.number), text: `${store.connText(conn)}, ${bytes(Math.max(...conn.bytes, 0))}` }));
    if (order.length > CHOICES_MAX) this.conn.append(element("option", { disabled: "", text: `… and ${order.length - CHOICES_MAX} with less text` }));
    const marks = element("span", { cls: "marks", role: "group", "aria-label": "bookmarks" }, button("whole run", "the whole run (Esc)", () => timeline.reset()));
    this.marks = store.meta.marks.map(([name, from, until, conn, side]) => [name, from / 1e9, until / 1e9, conn, side]);
    for (const mark of this.marks) marks.append(button(mark[0], moment(mark[1]), () => this.go(mark)));
    const which = store.conns.length ? [this.conn, this.direction] : [];
    const all = store.conns.length > 1 || store.frames("no tcp", (row, frame) => frame.conn[row] < 0).rows.length ? [element("label", { for: "all", cls: "all" }, this.all, "all traffic")] : [];
    const bar = element("div", { cls: "bar" }, ...which, ...all, marks);
    this.choices();
    return bar;
  }

  saves() {
    const { store } = this;
    return element("span", { cls: "saves" }, button("save pcapng", "the frames of this page as a capture", () => this.saveCapture()),
      button("save Perfetto trace", "the run as a trace for ui.perfetto.dev", () => this.saveTrace()),
      button("light / dark", "d", () => this.turnTheme()), button("?", "keys", () => this.toggleHelp()));
  }

  choices() {
    const { timeline, store } = this;
    this.conn.value = String(timeline.conn);
    this.all.checked = timeline.all;
    if (timeline.sender >= 0) this.direction.textContent = `${store.hostOf(timeline.sender)} → ${store.hostOf(timeline.receiver)}`;
  }

  go([, from, until, conn, side]) {
    if (conn >= 0) this.timeline.choose(conn, side);
    this.timeline.look(from, until);
  }

  async saveTrace() {
    await this.store.whole;
    const steps = traceSteps(this.store);
    let step = steps.next(), since = performance.now();
    for (; !step.done; step = steps.next()) if (performance.now() - since > BUSY_MS) {
      this.reading.textContent = `run.pftrace: ${step.value}`;
      await new Promise(done => setTimeout(done));
      since = performance.now();
    }
    download("run.pftrace", step.value, "application/octet-stream");
    this.read();
  }

  async saveCapture() {
    await this.store.whole;
    const { blocks, left_out } = capture(this.store);
    download("run.pcapng", blocks, "application/octet-stream");
    if (left_out) this.reading.textContent = `run.pcapng: ${count(left_out, "frame")} left out, of which this page has no bytes.`;
  }

  footer() {
    return element("footer", {}, element("p", { text: "One file: nothing in it comes from elsewhere, and nothing leaves it. " + (this.store.meta.payload ? "It has the payload of the frames." : "It has no payload, only headers.") }));
  }

  help() {
    const list = element("dl");
    for (const [key, what] of HELP) list.append(element("dt", { text: key }), element("dd", { text: what }));
    this.helpBox = element("aside", { id: "help", "aria-label": "keys" }, element("div", { cls: "head" }, element("h2", { text: "Keys and mouse" }), button("close", "?", () => this.toggleHelp())), list);
    this.helpBox.hidden = true;
    return this.helpBox;
  }

  toggleHelp() { this.helpBox.hidden = !this.helpBox.hidden; }

  turnTheme() {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    this.redraw(false);
  }

  // What is under the cursor, in a line.
  read() {
    const { store, timeline } = this, time = timeline.cursor ?? timeline.window[0];
    for (const panel of this.list) panel.read(time);
    const parts = [element("b", { text: moment(time) })];
    const say = (name, value) => { if (value) parts.push(` · ${name} `, element("b", { text: value })); };
    if (timeline.sender >= 0) {
      const { sender } = timeline, flow = edges(store, sender), cc = store.isWhole ? store.of("cc", sender) : { rows: 0 };
      say("held up by", this.views[0].reading(time));
      say("in flight", flow.rows ? bytes(store.at(flow, "flight", time)) : "");
      say("cwnd", cc.rows ? bytes(store.at(cc, "cwnd", time)) : "");
      say("RTO", cc.rows ? span(store.at(cc, "rto", time)) : "");
      say("timer", cc.rows ? this.timer(cc, time) : "");
      const frame = store.tables.frame, own = store.frames("conn " + timeline.conn, (row, table) => table.conn[row] === timeline.conn), last = above(own.t, time) - 1;
      if (last >= 0) {
        const row = own.rows[last];
        say("last frame", `${store.host(store.meta.ways[frame.way[row]].source)} [${store.word("flags", frame.flags[row])}] seq ${frame.seq[row]} length ${frame.len[row]}`);
      }
    }
    this.reading.replaceChildren(...parts);
  }

  // The armed timer of the sender, and how long it still has.
  timer(cc, time) {
    const i = above(cc.t, time) - 1, left = i < 0 || cc.due[i] < 0 ? -1 : cc.t[i] + cc.due[i] - time;
    const names = { on: "retransmission", persist: "window probe", keepalive: "keepalive", delack: "delayed ACK", timewait: "end" };
    return left < 0 ? "" : `${names[this.store.word("timer", cc.timer[i])] ?? "?"} in ${span(left)}`;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const { timeline } = this;
    const jump = by => {
      const [a, b] = timeline.window, order = by > 0 ? this.marks : [...this.marks].reverse();
      const mark = order.find(([, from, until]) => by > 0 ? from > a + 1e-9 || (from === a && until > b + 1e-9) : from < a - 1e-9);
      if (mark) this.go(mark);
    };
    const acts = {
      ArrowLeft: () => timeline.pan(-0.25), ArrowRight: () => timeline.pan(0.25), "+": () => timeline.zoom(0.5), "=": () => timeline.zoom(0.5), "-": () => timeline.zoom(2), "−": () => timeline.zoom(2),
      Escape: () => timeline.frame >= 0 ? timeline.select(-1) : timeline.reset(), 0: () => timeline.reset(), ",": () => this.detail.move(-1), ".": () => this.detail.move(1),
      "[": () => jump(-1), "]": () => jump(1), x: () => timeline.choose(timeline.conn, 1 - timeline.side), a: () => timeline.showAll(!timeline.all), d: () => this.turnTheme(), "?": () => this.toggleHelp(),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

// Of an end of the loopback, which is shown as a host of its own, the address.
function addressOf(host) { return host.replace(/^(\[.*\]|[\d.]+):\d+$/, "$1"); }

function button(words, title, act) {
  const made = element("button", { type: "button", text: words, title });
  made.addEventListener("click", act);
  return made;
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  forgetColours();
}

start().catch(error => {
  document.getElementById("app").append(element("p", { cls: "failed", text: `This page could not be drawn: ${error.message}. It needs a browser of 2023 or later.` }));
  throw error;
});
