// The lab's page: an experiment is run in the worker, and the time slider walks over what it gave.
import { Bench } from "./bench.js";
import { Engine, canRun } from "./engine.js";
import { FILES } from "./keep.js";
import { WORDS, language, setLanguage, word } from "./words.js";
import { View, timesOf } from "./view.js";
import { countUntil, slotsOf } from "./ladder.js";
import { differences, figures } from "./compare.js";
import { make, seconds, table } from "./draw.js";
import { pack, unpack } from "./share.js";
import { fields } from "../../src/packet.js";
import { stepsOf } from "../../src/rfc.js";
import { moment } from "./moment.js";
import { learn, said } from "./said.js";

const $ = id => document.getElementById(id);
// ``run`` is what is shown; ``kept`` an earlier experiment with its run, beside it, if two are compared.
let lessons = {}, lesson = null, run = null, kept = null, times = [], views = {}, wanted = null;

// --- words

function say(name, more = "") { $("status").textContent = (name ? word(name) : "") + more; }

function speak() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
  const chosen = $("lesson").value;
  $("lesson").replaceChildren(...Object.entries(lessons[language()] || {}).map(([id, { title }]) => make("option", { value: id }, title)));
  if (chosen) $("lesson").value = chosen;
  if (!canRun) $("run").textContent = word("play");
  $("runs").after($("detail"));
  views = { now: new View("", choose), kept: new View("kept-", choose) };
  $("runs").replaceChildren(views.kept.element, views.now.element);
}

// --- the experiment

const bench = new Bench(() => { if (run) go(); });
const engine = canRun ? new Engine((kind, value) => {
  if (kind === "progress") say(value === "python" ? "loading" : "loading_estab");
  else if (kind === "ready") { say("ready"); $("loading").hidden = true; document.body.dataset.ready = "yes"; }
  else if (kind === "failed") { say("failed", value); $("loading").hidden = true; }
}) : null;

function show(experiment) {
  bench.isLocked = !canRun;
  bench.show(experiment);
  $("result").hidden = true;
  run = kept = wanted = null;
  if (!canRun) play();
}

// --- running

let isRunning = false, isOwed = false, number = 0;
async function go() {
  if (!canRun) { await play(); return; }
  if (isRunning) { isOwed = true; return; }
  isRunning = true;
  $("run").disabled = true;
  $("stop").disabled = false;
  say("running");
  number++;
  try {
    const began = performance.now(), experiment = structuredClone(bench.now());
    // What is there of a run that lasts is shown while it goes on.
    const took = () => String(Math.round(performance.now() - began));
    delete document.body.dataset.first;
    const part = text => { shown(named(JSON.parse(text)), experiment); document.body.dataset.first ??= took(); };
    const given = named(JSON.parse(await engine.ask("run_first", JSON.stringify(experiment), part)));
    shown(given, experiment);
    document.body.dataset.took = took();
    document.body.dataset.first ??= document.body.dataset.took;
    say("done");
    if (run && !isOwed) rest(number);
  } catch (error) {
    say(error.message === "stopped" ? "stopped" : "", error.message === "stopped" ? "" : error.message);
  } finally {
    isRunning = false;
    $("run").disabled = false;
    $("stop").disabled = true;
  }
  if (isOwed) { isOwed = false; await go(); }
}

// A run whose rows come as values only, in a third of the bytes: each gets the names of its fields.
function named(given) {
  if (given.fields) given.rows = given.rows.map(values => {
    const row = { row: values[0] }, names = given.fields[values[0]];
    for (let place = 0; place < names.length; place++) row[names[place]] = values[place + 1];
    return row;
  });
  return given;
}

// The story, the calls and the frames of a run, once it is drawn and no other was asked for.
async function rest(which) {
  await new Promise(done => setTimeout(done, 60));
  if (which !== number || !run) return;
  const mine = run, given = JSON.parse(await engine.ask("run_rest", language()).catch(() => "{}"));
  if (which === number && given.hash) tell(Object.assign(mine, given));
}

function tell(whole) {
  const arrows = whole.rows.filter(row => row.row === "arrow");
  arrows.forEach((row, place) => { row.frame ??= whole.frames[place]; });
  $("story").textContent = whole.stories?.[language()] ?? whole.story;
  $("calls").replaceChildren(table([word("time"), word("host"), word("call"), word("result"), word("changed")], whole.calls.map(call => [seconds(call.at_ns), call.host, `${call.fd >= 0 ? `fd ${call.fd}: ` : ""}${call.name}(${call.arguments})`, [said(call.result), ...call.waits.map(wait => `${word("waits")}: ${said(wait)}`)].join("\n"), [...call.changes.map(([label, text]) => `${said(label)}: ${said(text)}`), ...(call.more ? [word("more_changes", { n: call.more })] : [])].join("\n")])));
  document.body.dataset.hash = whole.hash;
}

function shown(given, experiment) {
  $("result").hidden = false;
  if (!given.is_built) {
    $("refused").textContent = `${word("refused")} ${given.error}`;
    $("refused").hidden = false;
    $("views").hidden = true;
    run = null;
    return;
  }
  $("refused").hidden = true;
  $("views").hidden = false;
  run = given;
  run.experiment = experiment;
  $("detail").replaceChildren();
  lay();
}

// Put one run or two on the page, on one clock.
function lay() {
  const isPair = Boolean(kept);
  $("runs").classList.toggle("pair", isPair);
  views.kept.element.hidden = !isPair;
  $("compare").setAttribute("aria-pressed", String(isPair));
  $("compare").textContent = word(isPair ? "compare_end" : "compare");
  $("compare").hidden = !canRun;
  $("comparison").hidden = !isPair;
  const runs = isPair ? [kept, run] : [run], slots = slotsOf(runs.map(one => one.rows));
  if (isPair) {
    kept.isOfCure = kept.cured === JSON.stringify(run.experiment);
    views.kept.show(kept, word(kept.isOfCure ? "run_uncured" : "run_before"), slots[0]);
  }
  views.now.show(run, isPair ? word(kept.isOfCure ? "run_cured" : "run_after") : "", slots.at(-1));
  views.now.title.hidden = !isPair;
  if (isPair) {
    const told = differences(kept.experiment, run.experiment);
    $("differences").replaceChildren(...(told.length ? told : [word("no_difference")]).map(text => make("li", {}, text)));
  }
  times = [...new Set(runs.flatMap(timesOf))].sort((a, b) => a - b);
  $("time").max = times.length - 1;
  $("time").value = wanted === null ? times.length - 1 : Math.max(0, countTimes(wanted) - 1);
  draw();
}

function countTimes(t) { let count = 0, high = times.length; while (count < high) { const middle = (count + high) >> 1; if (times[middle] <= t) count = middle + 1; else high = middle; } return count; }

const timeNow = () => times[+$("time").value] ?? 0;

// Somebody has moved the slider: another run is shown at the same time, or at its end.
function moved() {
  wanted = +$("time").value >= times.length - 1 ? null : timeNow();
  draw();
}

function draw() {
  if (!run) return;
  const t = timeNow();
  $("now").textContent = seconds(t);
  $("time").setAttribute("aria-valuetext", seconds(t));
  const lines = kept ? Math.max(views.now.lines(t), views.kept.lines(t)) : undefined, at = views.now.draw(t, lines);
  if (kept) {
    const before = views.kept.draw(t, lines), [a, b] = [figures(kept, t, before), figures(run, t, at)];
    $("figures").replaceChildren(table([word("figures", { t: seconds(t) }), word(kept.isOfCure ? "uncured" : "before"), word(kept.isOfCure ? "cured" : "after")], a.map(([name, value], place) => [name, value, b[place][1]])));
    for (const row of $("figures").querySelectorAll("tbody tr")) if (row.cells[1].textContent !== row.cells[2].textContent) row.className = "differs";
  }
  if (canRun) bench.breaks(t, at);
}

function compare() {
  if (!run || run.is_part) return;
  kept = kept ? null : Object.assign(structuredClone(run), { experiment: structuredClone(run.experiment) });
  lay();
  say(kept ? "kept_beside" : "done");
}

// --- one segment

function choose(row, view) {
  for (const one of Object.values(views)) if (one !== view && one.run) one.ladder.mark(null);
  const bytes = Uint8Array.from((row.frame?.[3] || "").match(/../g) || [], pair => parseInt(pair, 16));
  const list = pairs => make("dl", {}, ...pairs.flatMap(([name, text]) => [make("dt", {}, said(name)), make("dd", {}, text.split(", ").map(said).join(", "))]));
  const before = moment(view.run, row.received_ns ?? row.sent_ns, true).find(row.receiver, row.connection);
  const steps = stepsOf({ flags: row.flags, seq: row.seq, ack: row.ack, length: row.length }, { state: before?.state || (row.flags === "S" ? "LISTEN" : ""), una: -1, nxt: -1, rcvNxt: -1, rcvWnd: 0 });
  const lines = Array.isArray(steps.steps[0]) ? steps.steps : [steps.steps], canLose = canRun && view === views.now && row.frame && row.fate !== "lost";
  view.ladder.place.after($("detail"));
  $("detail").replaceChildren(
    make("h3", {}, `${row.sender} → ${row.receiver}: ${row.label}`),
    make("p", {}, `${word("sent")} ${seconds(row.sent_ns)}, ${row.received_ns == null ? word("never") : `${word("received")} ${seconds(row.received_ns)}`} · ${word("why")}: ${said(row.why)} · ${word("fate")}: ${said(row.fate)}${row.reason ? `, ${said(row.reason)}` : ""} ${said(row.on_link)}`),
    ...(canLose ? [make("button", { onclick: () => lose(row) }, word("lose"))] : []),
    make("h3", {}, word("step", { s: steps.section })), make("ol", {}, ...lines.map(([, text]) => make("li", {}, said(text)))),
    make("p", {}, make("a", { href: "https://www.rfc-editor.org/rfc/rfc9293#section-3.10.7", rel: "noreferrer" }, word("docs"))),
    make("h3", {}, word("header")), list(bytes.length ? fields(bytes, bytes.length) : []));
  $("detail").scrollIntoView({ block: "nearest" });
}

async function lose(row) {
  say("running");
  try {
    bench.lose(await engine.ask("name_of", JSON.stringify({ experiment: run.experiment, frame: row.frame })));
  } catch (error) { say("", error.message); }
}

// --- without JSPI: what was recorded when the page was built

async function play() {
  const id = lesson?.id;
  if (!id) return;
  say("running");
  try {
    const answer = await fetch(`recorded/${id}.json`);
    if (!answer.ok) throw new Error(`recorded/${id}.json: ${answer.status}`);
    const given = await answer.json();
    if (lesson?.id !== id) return;
    lesson.recorded = given.answer;
    shown(given.run, bench.now());
    tell(run);
    say("played");
  } catch (error) { say("", error.message); }
}

// --- keeping

async function address() {
  const text = await pack({ lesson: lesson?.id, experiment: bench.now(), at: run ? timeNow() : 0, ...(kept ? { beside: kept.experiment } : {}) });
  history.replaceState(null, "", `#${text}`);
  return location.href;
}

// --- lessons

// The lessons' own text, which tools/lessons.py wrote as HTML from Markdown; a link can't bring any.
const inline = html => [...new DOMParser().parseFromString(html, "text/html").body.childNodes];

function open(id) {
  const found = (lessons[language()] || {})[id];
  if (!found) return;
  lesson = { ...found, id };
  $("lesson").value = id;
  $("prose").replaceChildren(...inline(found.html));
  $("question").replaceChildren();
  $("cure-line").hidden = !(found.cure && canRun);
  $("cure-told").replaceChildren(...inline(found.told || ""));
  if (found.choices.length) {
    const said = make("p", { role: "status", "aria-live": "polite" });
    $("question").replaceChildren(make("h3", { id: "asked" }, ...inline(found.question)), make("div", { role: "radiogroup", "aria-labelledby": "asked" }, ...found.choices.map((choice, place) => make("label", {}, make("input", { type: "radio", name: "choice", value: place }), " ", ...inline(choice)))),
      make("button", { onclick: () => answer(said) }, word("check_answer")), said);
  }
}

async function answer(said) {
  const picked = document.querySelector("input[name=choice]:checked");
  if (!picked) { said.className = "wrong"; said.textContent = word("choose"); return; }
  const truth = canRun ? +await engine.ask("answer_of", JSON.stringify({ experiment: lesson.experiment, check: lesson.check })) : lesson.recorded;
  const isRight = truth === +picked.value;
  said.className = isRight ? "right" : "wrong";
  said.replaceChildren(isRight ? word("right") : word("wrong"), ...(isRight ? [] : inline(lesson.choices[truth])));
}

// The lesson's experiment without its cure, and with it, side by side.
async function cure() {
  show(lesson.experiment);
  await go();
  if (!run) return;
  compare();
  bench.show({ ...lesson.experiment, ...lesson.cure.experiment, hosts: lesson.experiment.hosts.map(host => ({ ...host, ...(lesson.cure.hosts[host.name] || {}) })) });
  kept.cured = JSON.stringify(bench.now());
  await go();
  look($("result"));
}

async function openLink(asked) {
  const given = await unpack(asked);
  if (given.lesson) open(given.lesson);
  if (!canRun) { show(lesson.experiment); return; }
  show(given.beside || given.experiment);
  await go();
  if (given.beside && run) { compare(); bench.show(given.experiment); await go(); }
  if (run && given.at) { $("time").value = Math.max(0, countTimes(given.at) - 1); moved(); }
}

async function begin() {
  // #lesson=NAME names a lesson; &lang=zh a language; &embedded: in a frame of another page, where it runs at once.
  const asked = location.hash.slice(1), wanted = new URLSearchParams(asked), named = wanted.get("lesson");
  const isEmbedded = wanted.has("embedded");
  document.body.classList.toggle("embedded", isEmbedded);
  setLanguage(wanted.get("lang") || localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en"));
  $("language").value = language();
  lessons = await (await fetch("lessons.json")).json();
  learn(await (await fetch("sentences.json")).json());
  speak();
  $("unable").hidden = canRun;
  $("loading").hidden = !canRun;
  if (canRun && !document.body.dataset.ready) say("loading");
  const first = Object.keys(lessons.en)[0];
  if (asked && named === null) {
    try { await openLink(asked); } catch { say("bad_link"); open(first); show(lesson.experiment); }
  } else { open(lessons.en[named] ? named : first); show(lesson.experiment); if (isEmbedded) go(); }
  $("language").addEventListener("change", () => {
    setLanguage($("language").value);
    localStorage.setItem("language", language());
    const id = lesson?.id, experiment = bench.now();
    speak();
    if (id) open(id);
    bench.show(experiment);
    if (run) { $("detail").replaceChildren(); lay(); if (run.story) tell(run); if (canRun) rest(number); }
    say(canRun ? "ready" : "played");
  });
}

// What a button has brought is looked at: on a small screen it is below.
function look(element) {
  const { top } = element.getBoundingClientRect();
  if (top < 0 || top > innerHeight * .6) element.scrollIntoView({ block: "start" });
}

$("run").addEventListener("click", async () => { await go(); look($("result")); });
$("stop").addEventListener("click", () => { delete document.body.dataset.ready; $("loading").hidden = false; engine.stop(); });
$("compare").addEventListener("click", compare);
$("cure").addEventListener("click", cure);
$("time").addEventListener("input", moved);
for (const [id, step] of [["back", -1], ["next", 1]]) $(id).addEventListener("click", () => { $("time").value = +$("time").value + step; moved(); });
$("lesson").addEventListener("change", () => { open($("lesson").value); show(lesson.experiment); history.replaceState(null, "", `#lesson=${lesson.id}`); });
$("share").addEventListener("click", async () => { const text = await address(); try { await navigator.clipboard.writeText(text); say("copied"); } catch { say("link_is"); } });
for (const [id, write] of Object.entries(FILES)) {
  $(id).disabled = !canRun;
  $(id).addEventListener("click", async () => {
    say("running");
    try { await write(name => engine.ask(name, JSON.stringify(bench.now())), bench.now()); say("done"); } catch (error) { say("", error.message); }
  });
}
// What one ladder is scrolled to, the other is.
addEventListener("scroll", event => {
  if (!kept || !event.target.classList?.contains("ladder")) return;
  const other = event.target === views.now.ladder.place ? views.kept.ladder.place : views.now.ladder.place;
  if (other.scrollTop !== event.target.scrollTop) other.scrollTop = event.target.scrollTop;
}, true);
const forPrint = isPrint => { for (const view of Object.values(views)) if (view.run) view.ladder.whole(isPrint); };
addEventListener("beforeprint", () => forPrint(true));
addEventListener("afterprint", () => forPrint(false));
matchMedia("print").addEventListener("change", event => forPrint(event.matches));
document.addEventListener("keydown", event => { if (event.ctrlKey && event.key === "Enter") go(); });
globalThis.lab = { said, stepsOf, fields, choose: (row, view = views.now) => choose(row, view), now: () => bench.now(), engine, WORDS, run: () => run, kept: () => kept, countUntil };
begin();
