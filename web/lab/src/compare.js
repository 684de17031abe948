// Two runs side by side: how their experiments differ, and their figures up to a moment.
import { countUntil } from "./ladder.js";
import { seconds } from "./draw.js";
import { word } from "./words.js";

export const WEATHER = [["delay", 0, 500, 5, "ms"], ["jitter", 0, 200, 5, "ms"], ["loss", 0, 50, 1, "%"], ["rate", 0, 100, 1, "Mbit"]];
export const nameOf = link => link.name || link.between.join("-");

const UNITS = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

// A duration as scenario files write it, in nanoseconds.
export function nanoseconds(text) {
  if (typeof text === "number") return text * 1e9;
  return Math.round([...String(text).matchAll(/([\d.]+)\s*(ns|us|ms|s|m|h)?/g)].reduce((sum, [, number, unit]) => sum + number * UNITS[unit || "s"], 0));
}

// An action in words: when, and what with.
export function actionText({ time, do: what, ...more }) {
  return word("planned", { t: seconds(nanoseconds(time)), what: [what, ...Object.entries(more).map(([key, value]) => `${key}=${value}`)].join(" ") });
}

function linesThatDiffer(a, b) {
  const count = lines => lines.reduce((map, line) => map.set(line, (map.get(line) || 0) + 1), new Map());
  const [before, after] = [count(a.split("\n")), count(b.split("\n"))];
  const missing = (one, other) => [...one].reduce((sum, [line, times]) => sum + Math.max(0, times - (other.get(line) || 0)), 0);
  return Math.max(missing(before, after), missing(after, before));
}

// What is different in the second experiment, a sentence each.
export function differences(before, after) {
  const found = [], only = (list, other, text) => list.filter(one => !other.some(another => JSON.stringify(another) === JSON.stringify(one))).map(text);
  if (before.seed !== after.seed) found.push(word("differs", { what: word("seed"), before: before.seed, after: after.seed }));
  for (const link of after.links) {
    const old = before.links.find(one => nameOf(one) === nameOf(link)) || {};
    for (const [key] of WEATHER) if ((old[key] ?? "") !== (link[key] ?? "")) found.push(word("differs", { what: `${nameOf(link)} ${word(key)}`, before: old[key] ?? word("without"), after: link[key] ?? word("without") }));
  }
  for (const host of after.hosts) {
    const old = before.hosts.find(one => one.name === host.name) || {};
    if ((old.code || "") !== (host.code || "")) found.push(word("code_differs", { host: host.name, n: linesThatDiffer(old.code || "", host.code || "") }));
    if (JSON.stringify(old.settings || {}) !== JSON.stringify(host.settings || {})) found.push(word("settings_differ", { host: host.name, before: settings(old), after: settings(host) }));
  }
  found.push(...only(before.at || [], after.at || [], action => word("only_before", { what: actionText(action) })), ...only(after.at || [], before.at || [], action => word("only_after", { what: actionText(action) })));
  found.push(...only(before.lose || [], after.lose || [], name => word("only_before", { what: word("lost_plan", { name }) })), ...only(after.lose || [], before.lose || [], name => word("only_after", { what: word("lost_plan", { name }) })));
  return found;
}

const settings = host => Object.entries(host.settings || {}).map(([name, value]) => `${name}=${value}`).join(", ") || word("without");

// The figures of a run up to a time, each with its name.
export function figures(run, t, at) {
  const arrows = run.rows.slice(0, countUntil(run.rows, t)).filter(row => row.row === "arrow");
  const arrived = arrows.filter(row => row.received_ns != null && row.received_ns <= t && row.fate === "arrived");
  return [
    [word("fig_sent"), arrows.length], [word("fig_again"), arrows.filter(row => row.is_retransmission).length], [word("fig_lost"), arrows.filter(row => row.fate === "lost").length],
    [word("fig_bytes"), arrived.reduce((sum, row) => sum + row.length, 0)], [word("fig_sockets"), at.sockets.filter(one => one.state !== "LISTEN").length],
    [word("fig_waiting"), at.queues.reduce((sum, one) => sum + one.depth, 0)], [word("fig_lines"), run.out.filter(([when]) => when <= t).length],
    [word("fig_end"), seconds(run.now_ns)], [word("fig_error"), run.error ? run.error.split("\n")[0] : word("without")],
  ];
}
