// The views of one run at one moment: ladder, sockets, queues, windows, output.
import { Ladder, countUntil, ladderPlace } from "./ladder.js";
import { make, seconds, table } from "./draw.js";
import { moment } from "./moment.js";
import { said } from "./said.js";
import { word } from "./words.js";

export class View {
  // ``name`` comes before the ids of its parts: "" for the run that can be changed.
  constructor(name, choose) {
    const id = part => `${name}${part}`, part = what => make("div", { id: id(what) });
    this.title = make("h3", { class: "run-title", id: id("run-title") });
    this.outcome = make("p", { id: id("outcome"), class: "outcome", ...(name ? {} : { role: "status", "aria-live": "polite" }) });
    this.parts = Object.fromEntries(["sockets", "queues", "windows"].map(what => [what, part(what)]));
    this.output = make("pre", { id: id("output"), tabindex: "0", "aria-label": word("output") });
    const place = ladderPlace(id("ladder"));
    this.ladder = new Ladder(place, row => choose(row, this));
    const section = (title, ...children) => [make("h3", {}, word(title)), ...children];
    this.element = make("section", { class: "run" }, this.title, this.outcome,
      make("div", { class: "columns" },
        make("div", {}, ...section("ladder", place)),
        make("div", {}, ...section("queues", this.parts.queues), ...section("sockets", this.parts.sockets), ...section("windows", this.parts.windows), ...section("output", this.output))));
    this.run = null;
  }

  show(run, title, slots) {
    this.run = run;
    this.title.textContent = title;
    const isBad = Boolean(run.error), ended = run.is_part ? word("so_far", { t: seconds(run.now_ns) }) : word("ended") + seconds(run.now_ns), notes = [...(isBad ? [] : run.waiting.map(said)), ...(run.missed || []).map(name => word("missed", { name }))];
    this.outcome.className = isBad ? "outcome bad" : "outcome";
    this.outcome.textContent = [isBad ? `${word("ended_badly", { t: seconds(run.now_ns) })}\n${run.error}` : ended, ...notes].join("\n");
    this.ladder.set(run.hosts, run.rows, slots);
    // Alone it stands under the heading of all that happened.
    if (title) this.element.setAttribute("aria-labelledby", this.title.id); else this.element.removeAttribute("aria-labelledby");
  }

  // The lines that its ladder has at a time.
  lines(t) { return this.ladder.lines(countUntil(this.run.rows, t)); }

  // Draw it as it was at a time. Returns what was so.
  draw(t, lines) {
    const run = this.run, at = moment(run, t);
    this.ladder.show(countUntil(run.rows, t), true, lines);
    const put = (name, ...children) => this.parts[name].replaceChildren(...children);
    put("sockets", at.sockets.length ? table([word("host"), word("state"), word("local"), word("peer"), word("unread"), word("unacked")], at.sockets.map(one => [one.host, one.state, one.local, one.peer, one.receive, one.send])) : make("p", {}, word("no_sockets")));
    put("queues", ...(at.queues.length ? at.queues.map(queue) : [make("p", {}, word("no_queues"))]));
    const open = at.sockets.filter(one => one.cwnd);
    put("windows", open.length ? table([word("host"), word("peer"), word("in_flight"), word("cwnd"), word("window"), word("rto")], open.map(one => [one.host, one.peer, one.flight, one.cwnd, one.window, seconds(one.rto)])) : make("p", {}, word("nothing")));
    this.output.textContent = run.out.filter(([when]) => when <= t).map(([when, host, text]) => `${seconds(when)}  ${host ? `${host}| ` : ""}${text}`).join("\n") || word("nothing");
    return at;
  }
}

// A queue as boxes. Of a long one those that are taken are drawn, and a free one; so it does not push away what is below.
function queue({ host, listener, kind, entries, depth, limit, overflows }) {
  const size = limit > 16 ? Math.min(depth + 1, 16) : Math.max(limit, depth, 1), slots = Array.from({ length: size }, (_, number) => make("span", { class: number < depth ? "slot full" : "slot" }, entries[number] ?? (number < depth ? "•" : "")));
  const name = kind === "half-open" ? word("half_open") : kind === "accept" ? word("accept") : kind, said = `${name} ${depth}/${limit}${depth >= limit ? ` (${word("full")})` : ""}`;
  return make("div", { class: depth >= limit ? "queue over" : "queue", role: "group", "aria-label": `${host} ${listener} ${said}` }, make("span", {}, `${host} ${listener.split(">")[0]} · ${said}`), ...slots, ...(limit > size ? ["…"] : []),
    ...(overflows ? [make("span", { class: "bad" }, word("overflows", { n: overflows }))] : []));
}

// All times at which something happens in a run: the steps of the slider.
export function timesOf(run) {
  return [...run.rows.flatMap(row => row.row === "arrow" ? [row.sent_ns, row.received_ns ?? row.sent_ns] : [row.at_ns ?? row.until_ns]), ...run.changes.map(change => change[1]), run.now_ns];
}
