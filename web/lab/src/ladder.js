// The ladder: time downwards in the order of rows, arrows slanted. Only the rows that can be seen are in the document, so
// that a run of thousands of segments is drawn as fast as one of ten. Arrow keys go from segment to segment.
import { make, seconds, shape } from "./draw.js";
import { clipped, said } from "./said.js";
import { word } from "./words.js";

const GAP = 26, TOP = 8, MORE = 12, SHEET = 24;

export const rowTime = row => row.row === "arrow" ? row.sent_ns : row.at_ns ?? row.until_ns;

// How many of the rows, which are in the order of time, are there at a time.
export function countUntil(rows, t) {
  let low = 0, high = rows.length;
  while (low < high) { const middle = (low + high) >> 1; if (rowTime(rows[middle]) <= t) low = middle + 1; else high = middle; }
  return low;
}

export class Ladder {
  constructor(place, choose) {
    this.place = place;
    this.choose = choose;
    this.head = shape("svg", { class: "heads", height: 26 });
    this.picture = shape("svg", { class: "rows" });
    this.drawn = new Map();
    this.rows = [];
    this.slots = [];
    this.count = 0;
    place.replaceChildren(this.head, this.picture);
    place.addEventListener("scroll", () => this.fill());
    place.addEventListener("keydown", event => this.press(event));
    new ResizeObserver(() => { if (place.clientWidth && place.clientWidth !== this.width) this.lay(); }).observe(place);
  }

  // ``slots`` says which line each row is on: two ladders side by side share the lines of one clock.
  set(hosts, rows, slots) {
    Object.assign(this, { hosts, rows, slots, chosen: null, count: 0, stop: null });
    this.lay();
  }

  lay() {
    this.width = Math.max(this.place.clientWidth || 600, 300);
    const left = Math.max(66, this.width * .2), right = Math.max(24, this.width * .2), last = this.hosts.length - 1;
    this.x = new Map(this.hosts.map((name, number) => [name, last ? left + number * (this.width - left - right) / last : this.width / 2]));
    this.room = last > 0 ? (this.width - left - right) / last : this.width / 2;
    this.head.setAttribute("width", this.width);
    this.head.replaceChildren(...this.hosts.map((name, number) => { const text = shape("text", { x: this.x.get(name), y: 17, "text-anchor": number && number === last && this.width < 480 ? "end" : "middle", "font-weight": 600 }); text.textContent = name; return text; }));
    this.picture.setAttribute("width", this.width);
    for (const group of this.drawn.values()) group.remove();
    this.drawn.clear();
    this.lanes = this.hosts.map(name => shape("line", { class: "lane", x1: this.x.get(name), x2: this.x.get(name), y1: 0, y2: 0 }));
    this.picture.replaceChildren(...this.lanes);
    this.show(this.count, false);
  }

  // The lines that the first ``count`` rows take.
  lines(count) { return count ? this.slots[count - 1] + 1 : 0; }

  // Show the first ``count`` rows, and go where the last of them is. There are ``lines``, if the other ladder has more.
  show(count, isToFollow = true, lines = this.lines(count)) {
    this.count = count;
    const height = TOP + (lines + 1) * GAP;
    this.picture.setAttribute("height", height);
    for (const lane of this.lanes) lane.setAttribute("y2", height);
    if (isToFollow) this.place.scrollTop = height;
    this.fill();
  }

  // Put the rows that can be seen into the document, and take the others out; not the one that has the keyboard.
  fill() {
    if (this.place.querySelector(".sheet")) return;
    const from = Math.floor((this.place.scrollTop - TOP) / GAP) - MORE, until = Math.ceil((this.place.scrollTop + (this.place.clientHeight || 640)) / GAP) + MORE;
    const wanted = new Set();
    let first = 0, high = this.count;
    while (first < high) { const middle = (first + high) >> 1; if (this.slots[middle] < from) first = middle + 1; else high = middle; }
    for (let number = first; number < this.count && this.slots[number] <= until; number++) wanted.add(number);
    for (const [number, group] of this.drawn) if (!wanted.has(number) && !(number < this.count && group === document.activeElement)) { group.remove(); this.drawn.delete(number); }
    if (this.stop === null || this.stop >= this.count) this.stop = null;
    for (const number of wanted) {
      if (this.stop === null && this.rows[number].row === "arrow") this.stop = number;
      if (!this.drawn.has(number)) this.drawn.set(number, this.draw(number));
    }
    // In the order of rows, as a screen reader reads them.
    let before = this.lanes.at(-1) || null;
    for (const number of [...this.drawn.keys()].sort((a, b) => a - b)) {
      const group = this.drawn.get(number);
      if (group.previousSibling !== before) this.picture.insertBefore(group, before ? before.nextSibling : this.picture.firstChild);
      before = group;
      if (this.rows[number].row === "arrow") group.setAttribute("tabindex", number === this.stop ? "0" : "-1");
    }
  }

  draw(number) {
    const row = this.rows[number], y = TOP + this.slots[number] * GAP + 12;
    return row.row === "arrow" ? this.arrow(row, number, y) : this.note(row, y);
  }

  arrow(row, number, y) {
    const x = name => this.x.get(name), other = this.hosts.find(name => name !== row.sender) || row.sender;
    const from = x(row.sender) ?? x(other), lost = row.fate !== "arrived", to = x(row.receiver) ?? x(other), end = row.fate === "lost" ? from + (to - from) * .55 : to, sign = Math.sign(to - from) || 1, low = y + 10;
    const text = shape("text", { x: (from + to) / 2, y: y - 3, "text-anchor": "middle" }), time = shape("text", { x: 4, y: y + 3, class: "soft" });
    // What does not fit between the lanes is in the segment's own text, which is shown when it is chosen.
    const label = row.label.length * 6.3 > this.room + 20 ? row.label.replace(/ wnd=\d+/, "").replace(/ len=0$/, "") : row.label;
    text.textContent = label + (row.is_retransmission ? " ↻" : "") + (lost ? " ✕" : "");
    time.textContent = seconds(row.sent_ns);
    const group = shape("g", { class: row === this.chosen ? "hit chosen" : "hit", tabindex: "-1", role: "button", "aria-label": `${seconds(row.sent_ns)} ${row.sender} → ${row.receiver}: ${row.label}, ${said(row.fate)} ${said(row.reason)}` },
      shape("rect", { x: 0, y: y - 14, width: this.width, height: GAP }), time, text,
      shape("line", { class: `arrow${lost ? " lost" : ""}${row.is_retransmission ? " again" : ""}`, x1: from, y1: y, x2: end, y2: low }),
      shape("path", { class: lost ? "headlost" : "head", d: lost ? `M${end - 4},${low - 5} l8,10 M${end + 4},${low - 5} l-8,10` : `M${end},${low} l${-8 * sign},-5 l0,8 z` }));
    group.addEventListener("click", () => this.pick(number));
    group.addEventListener("focus", () => { this.stop = number; });
    return group;
  }

  note(row, y) {
    const last = this.hosts.length - 1, place = this.hosts.indexOf(row.host), at = place < 0 ? this.width / 2 : this.x.get(row.host), told = said(row.text || ""), isFirst = place === 0;
    const room = place < 0 ? this.width : isFirst ? this.width - at : place === last ? at - 60 : at - 60, long = Math.max(8, Math.floor((room - 12) / 6.8));
    const text = shape("text", { x: place < 0 ? at : at + (isFirst ? 7 : -7), y: y + 4, "text-anchor": place < 0 ? "middle" : isFirst ? "start" : "end", class: "soft" }), whole = shape("title");
    // Where both queues have no room, what happened to them has: how full they are stands in their boxes.
    const shown = row.kind === "queue" && clipped(told, long) !== told ? row.text.slice(row.text.indexOf(": ") + 2).split(", ").map(said).join(", ") : told;
    text.textContent = clipped(shown, long);
    whole.textContent = `${seconds(rowTime(row))} ${row.host ? `${row.host}: ` : ""}${told}`;
    text.append(whole);
    return shape("g", {}, text, ...(place < 0 ? [] : [shape("circle", { cx: at, cy: y, r: 3, class: "head" })]));
  }

  pick(number) {
    this.mark(number);
    this.choose(this.rows[number]);
  }

  mark(number) {
    this.chosen = number === null ? null : this.rows[number];
    this.picture.querySelector(".chosen")?.classList.remove("chosen");
    if (number !== null) this.drawn.get(number)?.classList.add("chosen");
  }

  press(event) {
    const now = this.stop;
    if (now === null || !event.target.classList?.contains("hit")) return;
    const arrows = (from, step) => { for (let number = from; number >= 0 && number < this.count; number += step) if (this.rows[number].row === "arrow") return number; return now; };
    const next = { ArrowDown: () => arrows(now + 1, 1), ArrowUp: () => arrows(now - 1, -1), Home: () => arrows(0, 1), End: () => arrows(this.count - 1, -1) }[event.key];
    if (next) { event.preventDefault(); this.go(next()); }
    else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.pick(now); }
  }

  go(number) {
    const y = TOP + this.slots[number] * GAP, { scrollTop, clientHeight } = this.place;
    this.stop = number;
    if (y < scrollTop + GAP || y > scrollTop + clientHeight - 2 * GAP) this.place.scrollTop = Math.max(0, y - clientHeight / 2);
    this.fill();
    this.drawn.get(number)?.focus({ preventScroll: true });
  }

  // For print: all rows, as pictures that fit on a page.
  whole(isWhole) {
    for (const sheet of this.place.querySelectorAll(".sheet")) sheet.remove();
    this.picture.style.display = isWhole ? "none" : "";
    if (!isWhole) { this.fill(); return; }
    for (const group of this.drawn.values()) group.remove();
    this.drawn.clear();
    for (let first = 0; first < this.count;) {
      const line = this.slots[first], top = TOP + line * GAP, groups = [];
      while (first < this.count && this.slots[first] < line + SHEET) groups.push(this.draw(first++));
      const height = (Math.min(this.slots[first - 1], line + SHEET - 1) - line + 1) * GAP;
      const lanes = this.hosts.map(name => shape("line", { class: "lane", x1: this.x.get(name), x2: this.x.get(name), y1: top, y2: top + height }));
      this.place.append(shape("svg", { class: "sheet", width: this.width, height, viewBox: `0 ${top} ${this.width} ${height}` }, ...lanes, ...groups));
    }
  }
}

// The lines of several ladders on one clock: what happened at the same time begins on the same line.
export function slotsOf(lists) {
  const slots = lists.map(() => []), places = lists.map(() => 0);
  for (let line = 0; ;) {
    const times = lists.map((rows, number) => places[number] < rows.length ? rowTime(rows[places[number]]) : Infinity), time = Math.min(...times);
    if (time === Infinity) return slots;
    let most = 0;
    lists.forEach((rows, number) => {
      let used = 0;
      while (places[number] < rows.length && rowTime(rows[places[number]]) === time) { slots[number].push(line + used++); places[number]++; }
      most = Math.max(most, used);
    });
    line += most;
  }
}

export function ladderPlace(id) {
  return make("div", { ...(id ? { id } : {}), class: "ladder", role: "group", "aria-label": word("ladder_help"), tabindex: "0" });
}
