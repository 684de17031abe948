// 1. Who held the connection up: shares of the time shown, as a bar; and when, as a row for each direction.

import { above } from "../data.js";
import { element } from "../plot.js";
import { bytes, count, moment, percent, rate, span } from "../format.js";
import { blocks, colour, gutter, width } from "../paint.js";

const DARK_INK = new Set([1, 3, 4, 6]);

export function heldInk(kind) { return colour("h" + kind); }
export function heldOn(kind) { return DARK_INK.has(kind) ? "#14171a" : kind === 0 ? colour("fg") : colour("on-h"); }

// Seconds of each kind within a stretch of time.
export function shares(spans, from, until) {
  const sums = new Map();
  for (const [a, b, kind] of spans) {
    const part = Math.min(b, until) - Math.max(a, from);
    if (part > 0) sums.set(kind, (sums.get(kind) ?? 0) + part);
  }
  return [...sums].sort((x, y) => (x[0] === 0) - (y[0] === 0) || y[1] - x[1]);   // what waits for nobody is last
}

// How far an end's text had got: sent once, and acknowledged.
function delivered(store, end, from, until) {
  const flow = store.of("flow", end);
  const text = store.conns[end >> 1].bytes[end & 1];   // the FIN that was acknowledged, too, is no byte of it
  const at = time => { const row = above(flow.t, time) - 1; return row < 0 ? 0 : Math.min(text, Math.max(0, flow.una[row] - 1)); };
  return Math.max(0, at(until) - at(from));
}

// The run in a sentence or two, for the direction that was chosen and the time shown.
export function verdict(store, timeline, from, until) {
  if (timeline.sender < 0) return "No connection was seen.";
  const sender = timeline.sender, names = [store.hostOf(sender), store.hostOf(sender ^ 1)];
  const conn = store.conns[timeline.conn], width = until - from;
  const known = store.of("flow", sender).rows > 0;
  const moved = known ? delivered(store, sender, from, until) : Math.max(0, conn.bytes[timeline.side]);
  let said = `${names[0]} → ${names[1]}: ${bytes(moved)} ${known ? "acknowledged" : "seen"} in ${span(width)} (${rate(moved / width)}).`;
  const parts = shares(store.held(sender), from, until).filter(([kind, time]) => kind !== 0 && time > 0.005 * width);
  if (parts.length) {
    const [first, ...rest] = parts.map(([kind, time]) => `${store.meta.held[kind]} ${percent(time / width)} (${span(time)})`);
    said += ` What it waited for most: ${first}` + (rest.length ? `; then ${rest.slice(0, 2).join(", ")}` : "") + ".";
  }
  const lost = store.frames("lost " + timeline.conn, (row, frame) => frame.conn[row] === timeline.conn && store.isLost(row));
  const inView = above(lost.t, until) - above(lost.t, from);
  if (inView) said += ` ${count(inView, "frame was", "frames were")} lost.`;
  return said;
}

export function heldView(store, timeline) {
  const bar = element("div", { cls: "shares", role: "img", "aria-label": "shares of the time shown" });
  const legend = element("div", { cls: "legend" });
  const line = element("p", { cls: "verdict", "aria-live": "polite" });
  const sides = () => [timeline.sender, timeline.receiver];
  return {
    told: () => [timeline.sender, timeline.receiver], id: "held", opens: true, title: "Who held it up", unit: () => "what each sender waited for; the bar is the share of the time shown",
    above: element("div", {}, line, bar, legend), grid: false, height: () => 26 + 2 * 24,
    missing: () => timeline.sender < 0 ? "No connection was seen."
      : sides().some(end => store.held(end).length) ? ""
        : store.meta.findings.length ? "No transfer here was long enough to be told phase by phase. What the doctor found stands above."
          : "What held the senders up is not known here: it is in no packet.",
    update(from, until) {
      line.textContent = verdict(store, timeline, from, until);
      bar.replaceChildren();
      legend.replaceChildren();
      const parts = shares(store.held(timeline.sender), from, until);
      for (const [kind, time] of parts) {
        const share = time / (until - from), name = store.meta.held[kind];
        const piece = element("span", { cls: `share h${kind}`, title: `${name}: ${span(time)}`, text: share > 0.06 ? name : "" });
        piece.style.width = share * 100 + "%";
        bar.append(piece);
        const chip = element("span", { cls: "chip" });
        chip.append(element("i", { cls: `h${kind}` }), name + " ", element("b", { text: percent(share) }), " " + span(time));
        legend.append(chip);
      }
      bar.hidden = !parts.length;
    },
    draw(f) {
      const high = f.H / 2, pad = 2 * f.PR;
      sides().forEach((end, n) => blocks(f, store.held(end), f.T + n * high + pad, high - 2 * pad, {
        ink: heldInk, label: kind => store.meta.held[kind], inkOn: heldOn,
      }));
    },
    outside: f => gutter(f, sides().map(end => {
      const name = store.hostOf(end), words = name + " sends";
      return width(f, words) <= f.L - 12 * f.PR ? words : name;
    }), f.H / 2),
    words(from, until) {
      return shares(store.held(timeline.sender), from, until)
        .map(([kind, time]) => `${store.meta.held[kind]} ${span(time)}`).join(", ") || "nothing is known";
    },
    reading(time) {
      const found = store.held(timeline.sender).find(([a, b]) => time >= a && time < b);
      return found ? store.meta.held[found[2]] : "";
    },
    at: moment,
  };
}
