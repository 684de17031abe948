// The whole run in a strip: what held the sender up, how far its text got, and which part is shown. Drag to choose a part.

import { above } from "./data.js";
import { timeTick } from "./format.js";
import { FONT, blocks, colour, frameOf, steps } from "./paint.js";
import { element, weather } from "./plot.js";
import { heldInk } from "./views/held.js";
import { edges } from "./views/sequence.js";

export class Overview {
  constructor(store, timeline) {
    this.store = store;
    this.timeline = timeline;
    this.box = element("div", { cls: "overview", role: "img", "aria-label": "the whole run; the part that the views show is framed" });
  }

  attach(width) {
    const { timeline, store } = this, ink = () => colour("mut");
    this.plot = new uPlot({
      width, height: 58, padding: [2, 16, 0, 0], legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 4 }, bind: { dblclick: () => () => { timeline.reset(); return null; } } },
      scales: { x: { time: false, range: () => timeline.whole }, y: { range: () => [0, Math.max(1, edges(store, timeline.sender).una.at(-1) ?? 1) * 1.1] } },
      axes: [{ size: 18, gap: 2, font: `10px ${FONT}`, stroke: ink, space: 84, ticks: { size: 3, width: 1, stroke: () => colour("line") }, grid: { show: false }, values: (plot, ticks, axis, space, step) => ticks.map(tick => timeTick(tick, step)) }, { size: () => this.plot && this.plot.width < 640 ? 58 : 124, values: () => [], ticks: { show: false }, grid: { show: false } }],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [plot => this.draw(plot)], setSelect: [plot => this.dragged(plot)] },
    }, [[...timeline.whole], [0, 1]], this.box);
    this.mark();
  }

  draw(plot) {
    const { store, timeline } = this, f = frameOf(plot, null);
    f.c.save();
    f.c.beginPath();
    f.c.rect(f.L, f.T, f.W, f.H);
    f.c.clip();
    weather(f, store, timeline);
    if (timeline.sender >= 0) {
      blocks(f, store.held(timeline.sender), f.B - 7 * f.PR, 7 * f.PR, { ink: heldInk });
      const flow = edges(store, timeline.sender);
      if (above(flow.t, f.x1) > 0) steps(f, flow, "una", colour("ack"), { wide: 1.4, fill: 0.12 });
    }
    f.c.restore();
  }

  dragged(plot) {
    if (this.marking || plot.select.width < 4) return;
    this.timeline.look(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
    this.mark();
  }

  mark() {
    const [from, until] = this.timeline.window, { whole } = this.timeline, left = this.plot.valToPos(from, "x"), right = this.plot.valToPos(until, "x");
    this.marking = true;
    this.box.classList.toggle("whole", from === whole[0] && until === whole[1]);
    this.plot.setSelect({ left, width: Math.max(2, right - left), top: 0, height: this.plot.over.clientHeight }, false);
    this.marking = false;
  }

  redraw() { if (this.plot) { this.plot.redraw(true, true); this.mark(); } }
  resize(width) { this.plot.setSize({ width, height: 58 }); this.mark(); }
}
