// A view's frame: a heading with keys, a canvas with axes, cursor and zoom (uPlot), the weather under it, and words for
// those who do not see it. A view is a record; web/README.md says of what.

import { above } from "./data.js";
import { moment, timeTick } from "./format.js";
import { FONT, colour, frameOf, hatched } from "./paint.js";

export const FRAMES_AT_ONCE = 100_000;
const HEIGHT_UNSEEN = 200;
const STEPS = [];
for (let power = -9; power < 6; power++) for (const digit of [1, 2, 5]) STEPS.push(digit * 10 ** power);

export function element(tag, { cls = "", text = null, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const SWATCHES = {
  line: [["M0 5H20", 2]], dash: [["M0 5H20", 2, "5 3"]], bar: [["M4 1V9M10 1V9M16 1V9", 2]], cross: [["M6 1L14 9M6 9L14 1", 2]],
  dot: [["M3 5h3M9 3h3M15 6h3", 3]], ring: [["M10 2a3 3 0 1 0 .01 0", 1.4]], area: [["M0 5H20", 8]], arrow: [["M1 1L17 8l-5 0M17 8l-3-4", 1.6]],
};

function swatch(ink, kind) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 10");
  svg.setAttribute("aria-hidden", "true");
  for (const [shape, wide, dash] of SWATCHES[kind]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", shape);
    path.setAttribute("fill", "none");
    path.setAttribute("stroke", `var(--${ink})`);
    path.setAttribute("stroke-width", wide);
    if (dash) path.setAttribute("stroke-dasharray", dash);
    if (kind === "area") path.setAttribute("opacity", ".4");
    svg.append(path);
  }
  return svg;
}

// Cuts and losses, behind whatever a view draws.
export function weather(f, store, timeline) {
  const { c, X, PR } = f;
  for (const band of store.bands) if (band.until > band.from) hatched(f, band.from, band.until, colour("cut"));
  const lost = timeline.all || timeline.conn < 0 ? store.frames("lost all", row => store.isLost(row))
    : store.frames("lost " + timeline.conn, (row, frame) => frame.conn[row] === timeline.conn && store.isLost(row));
  const first = above(lost.t, f.x0), last = above(lost.t, f.x1), few = last - first < f.W / PR / 14;
  c.beginPath();
  let before = -9;
  for (let i = first; i < last; i++) {
    const x = Math.round(X(lost.t[i])) + 0.5;
    if (x === before) continue;
    before = x;
    c.moveTo(x, f.T);
    c.lineTo(x, few ? f.B : f.T + 5 * PR);
  }
  c.strokeStyle = colour("re");
  c.globalAlpha = few ? 0.22 : 0.5;
  c.lineWidth = PR;
  c.stroke();
  c.globalAlpha = 1;
}

const words = given => typeof given === "function" ? given() : given ?? "";

export class Panel {
  constructor(view, store, timeline, number) {
    this.view = view;
    this.store = store;
    this.timeline = timeline;
    this.marks = null;
    this.paints = 0;
    this.isSeen = false;
    this.hasKeys = false;
    this.missing = "";
    this.readings = [];
    this.isStale = true;
    const id = "view-" + view.id;
    this.heading = element("h2", { id: id + "-title", text: `${number}. ${view.title}` });
    this.unit = element("span", { cls: "unit", text: "" });
    this.keys = element("span", { cls: "keys" });
    this.words = element("p", { cls: "sr", id: id + "-words" });
    this.box = element("div", { cls: "canvas", role: "img", "aria-labelledby": id + "-title", "aria-describedby": id + "-words" });
    this.none = element("p", { cls: "none" });
    this.none.hidden = true;
    this.section = element("section", { id, cls: "view" }, element("div", { cls: "head" }, this.heading, this.unit, this.keys),
      ...(view.above ? [view.above] : []), this.box, this.none, this.words);
  }

  attach(host, width) {
    host.append(this.section);
    this.makeKeys();
    const { view, timeline } = this, ink = () => colour("mut"), font = `11px ${FONT}`;
    const self = this;
    this.plot = new uPlot({
      width, height: this.height(), padding: [6, 16, view.axis === false ? 4 : 0, 0], legend: { show: false }, pxAlign: 1,
      cursor: {
        sync: { key: "estab", scales: ["x", null], filters: { pub: type => type === "mousemove" || type === "mouseleave" } },
        y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 5 },
        bind: {
          dblclick: () => () => { timeline.reset(); return null; },
        },
      },
      scales: { x: { time: false, range: () => timeline.window }, y: { range: () => self.range() } },
      axes: [
        { show: view.axis !== false, size: 22, gap: 3, font, incrs: STEPS, space: 84, stroke: ink,
          ticks: { size: 4, width: 1, stroke: () => colour("line") }, grid: { width: 1, stroke: () => colour("grid") },
          values: (plot, ticks, axis, space, step) => ticks.map(tick => timeTick(tick, step)) },
        { size: () => self.gutter(), gap: 4, font, stroke: ink, space: 26,
          ticks: { show: view.grid !== false, size: 4, width: 1, stroke: () => colour("line") },
          grid: { show: view.grid !== false, width: 1, stroke: () => colour("grid") },
          values: (plot, ticks) => view.grid === false ? ticks.map(() => "") : view.values(ticks) },
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: {
        drawClear: [plot => { if (view.weather !== false) weather(frameOf(plot, null), self.store, timeline); }],
        draw: [plot => self.draw(plot)],
        setCursor: [plot => { if (plot.cursor.event && plot.cursor.left >= 0) timeline.point(plot.posToVal(plot.cursor.left, "x")); }],
        setSelect: [plot => self.dragged(plot)],
      },
    }, [[timeline.whole[0], timeline.whole[1]], [0, 1]], this.box);
    // A press and a release at one place is a click; with a way between them it was a drag.
    let pressed = null;
    const { over } = this.plot;
    over.addEventListener("mousedown", event => { pressed = [event.clientX, event.clientY]; }, true);
    over.addEventListener("click", event => {
      if (pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 5) this.click(this.plot, event);
    }, true);
    this.looked = new Promise(done => new IntersectionObserver(entries => {
      this.isSeen = entries[entries.length - 1].isIntersecting;
      if (this.isSeen && this.isStale) { this.redraw(); this.describe(); }
      done();
    }, { rootMargin: "200px" }).observe(this.section));
    this.settle();
  }

  // As long as nobody sees it, any height does: the view would have to look at its rows to know.
  height() {
    if (!this.isDue()) return HEIGHT_UNSEEN;
    return typeof this.view.height === "function" ? this.view.height() : this.view.height;
  }
  gutter() { return this.plot && this.plot.width < 640 ? 58 : 124; }

  range() {
    const [low, high] = this.view.range && this.isDue() ? this.view.range(...this.timeline.window) : [0, 1];
    return isFinite(low) && isFinite(high) && high > low ? [low, high] : [0, 1];
  }

  // In a large run, what nobody sees is not drawn until somebody does, nor a view whose tables have not come yet.
  isDue() {
    if (!this.view.opens && !this.store.isWhole) return false;
    return this.isSeen || this.marks !== null || this.store.tables.frame.rows <= FRAMES_AT_ONCE;
  }

  draw(plot) {
    this.isStale = !this.isDue();
    if (this.isStale) return;
    const f = frameOf(plot, this.marks ? (...mark) => this.marks.push(mark) : null), { c } = f;
    c.save();
    c.beginPath();
    c.rect(f.L, f.T, f.W, f.H);
    c.clip();
    this.view.draw(f);
    this.chosenFrame(f);
    c.restore();
    if (this.view.outside) { c.save(); this.view.outside(f); c.restore(); }
    this.paints += 1;
  }

  // The frame that was clicked, as a line through every view.
  chosenFrame(f) {
    const row = this.timeline.frame;
    if (row < 0) return;
    const x = Math.round(f.X(this.store.tables.frame.t[row])) + 0.5;
    f.c.beginPath();
    f.c.moveTo(x, f.T);
    f.c.lineTo(x, f.B);
    f.c.strokeStyle = colour("fg");
    f.c.setLineDash([3 * f.PR, 3 * f.PR]);
    f.c.lineWidth = f.PR;
    f.c.stroke();
    f.c.setLineDash([]);
  }

  click(plot, event) {
    if (!this.view.hit) return;
    const box = plot.over.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    const f = frameOf(plot, null);
    const row = this.view.hit(f, f.L + (event.clientX - box.left) * ratio, f.T + (event.clientY - box.top) * ratio);
    if (row >= 0) this.timeline.select(row);
  }

  dragged(plot) {
    const { left, width } = plot.select;
    if (width < 5) return;
    const from = plot.posToVal(left, "x"), until = plot.posToVal(left + width, "x");
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.timeline.look(from, until);
  }

  makeKeys() {
    this.keys.replaceChildren();
    this.readings = [];
    this.hasKeys = this.isDue();
    if (!this.hasKeys) return;
    this.unit.textContent = [words(this.view.unit), this.store.sampledText(this.view.told?.() ?? [])].filter(Boolean).join("; ");
    const keys = typeof this.view.keys === "function" ? this.view.keys() : this.view.keys ?? [];
    for (const key of keys) {
      const button = element("button", { cls: "key", type: "button", "aria-pressed": String(!this.timeline.hidden.has(key.id)), title: "show or hide" });
      button.append(swatch(key.ink, key.kind), key.name);
      if (key.value) {
        const value = element("b");
        button.append(" ", value);
        this.readings.push([value, key.value]);
      }
      button.addEventListener("click", () => {
        this.timeline.toggle(key.id);
        button.setAttribute("aria-pressed", String(!this.timeline.hidden.has(key.id)));
      });
      this.keys.append(button);
    }
  }

  read(time) { for (const [place, value] of this.readings) place.textContent = value(time); }

  // What stands around the canvas.
  settle() {
    if (!this.isDue()) return;
    const missing = this.missing = this.view.missing ? this.view.missing() : "";
    this.none.hidden = !missing;
    this.none.textContent = missing;
    this.box.hidden = Boolean(missing);
    if (this.view.update) this.view.update(...this.timeline.window);
  }

  // The same in words, for who does not see it. Looks at all rows in view: done when there is time.
  describe() {
    if (!this.isDue()) return;
    const { missing } = this, [from, until] = this.timeline.window;
    this.words.textContent = missing || `From ${moment(from)} to ${moment(until)}: ` + (this.view.words ? this.view.words(from, until) : "");
  }

  redraw() {
    if (!this.plot) return;
    this.isStale = true;
    if (!this.isDue()) return;
    this.settle();
    if (!this.hasKeys) this.makeKeys();
    const [min, max] = this.timeline.window;
    const height = this.height();
    if (height !== this.plot.height) this.plot.setSize({ width: this.plot.width, height });
    this.plot.setScale("x", { min, max });
  }

  resize(width) { this.plot.setSize({ width, height: this.height() }); }

  // Chosen anew: other keys and units.
  renew() { this.makeKeys(); this.redraw(); }
}
