// The segments of the time shown, as a table that anybody can read, copy and step through.

import { FRAMES_AT_ONCE, element } from "./plot.js";
import { above } from "./data.js";
import { moment, span } from "./format.js";
import { rows as shownRows } from "./views/ladder.js";

const PAGE = 200;
const COLUMNS = ["time", "from", "flags", "seq", "ack", "length", "window", "why", "fate", "took"];

export class SegmentTable {
  constructor(store, timeline) {
    this.store = store;
    this.timeline = timeline;
    this.page = 0;
    this.caption = element("caption");
    this.body = element("tbody");
    const head = element("tr");
    for (const name of COLUMNS) head.append(element("th", { text: name, scope: "col" }));
    this.before = element("button", { type: "button", text: "‹ before" });
    this.after = element("button", { type: "button", text: "after ›" });
    this.before.addEventListener("click", () => { this.page -= 1; this.fill(); });
    this.after.addEventListener("click", () => { this.page += 1; this.fill(); });
    this.section = element("section", { id: "segments", cls: "view", "aria-label": "table of segments" },
      element("div", { cls: "head" }, element("h2", { text: "Segments" }), element("span", { cls: "unit", text: "of the time shown; numbers are relative" }), this.before, this.after),
      element("div", { cls: "scroll", tabindex: "0" }, element("table", {}, this.caption, element("thead", {}, head), this.body)));
    this.body.addEventListener("click", event => {
      const row = event.target.closest("tr");
      if (row) timeline.select(Number(row.dataset.frame));
    });
    let later = 0;
    const soon = () => { clearTimeout(later); later = setTimeout(() => { this.page = 0; this.fill(); }, 60); };
    timeline.on("window", soon);
    timeline.on("chosen", soon);
    timeline.on("frame", () => this.mark());
    this.isDue = store.tables.frame.rows <= FRAMES_AT_ONCE;   // in a large run it is filled when it comes into sight
    if (!this.isDue) new IntersectionObserver((entries, observer) => {
      if (!entries[entries.length - 1].isIntersecting) return;
      observer.disconnect();
      this.isDue = true;
      this.fill();
    }, { rootMargin: "200px" }).observe(this.section);
  }

  fill() {
    if (!this.isDue) return;
    const { store, timeline } = this, frame = store.tables.frame, { rows, t } = shownRows(store, timeline);
    const first = above(t, timeline.window[0] - 1e-12), last = above(t, timeline.window[1]), from = first + this.page * PAGE, until = Math.min(last, from + PAGE);
    this.before.disabled = this.page === 0;
    this.after.disabled = until >= last;
    this.caption.textContent = last > first ? `${(from - first + 1).toLocaleString("en")} to ${(until - first).toLocaleString("en")} of ${(last - first).toLocaleString("en")} in the time shown` : "none in the time shown";
    const made = [];
    for (let i = from; i < until; i++) {
      const row = rows[i], way = store.meta.ways[frame.way[row]], tcp = frame.conn[row] >= 0, landed = store.landed(row);
      const cells = [moment(frame.t[row]), `${store.host(way.source)} → ${store.host(way.target)}`, tcp ? store.word("flags", frame.flags[row]) : "", tcp ? frame.seq[row] : "", tcp ? frame.ack[row] : "", tcp ? frame.len[row] : "", tcp ? frame.wnd[row] : "",
        tcp ? store.word("why", frame.why[row]) : store.word("text", frame.text[row]), store.word("fate", frame.fate[row]) || "under way", landed >= 0 ? span(landed - frame.t[row]) : ""];
      const line = element("tr");
      line.dataset.frame = row;
      line.className = `k-${store.kind(row)}` + (store.isLost(row) ? " lost" : "");
      cells.forEach((value, n) => line.append(element("td", { text: String(value), cls: n >= 3 && n <= 6 ? "number" : "" })));
      made.push(line);
    }
    this.body.replaceChildren(...made);
    this.mark();
  }

  mark() {
    for (const line of this.body.children) {
      const chosen = Number(line.dataset.frame) === this.timeline.frame;
      line.classList.toggle("chosen", chosen);
      if (chosen) line.setAttribute("aria-current", "true"); else line.removeAttribute("aria-current");
    }
  }
}
