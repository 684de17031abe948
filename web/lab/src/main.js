// The lab's page: an experiment is run in the worker, and the time slider walks over what it gave.
import { EditorView, basicSetup } from "codemirror";
import { python } from "@codemirror/lang-python";
import { oneDark } from "@codemirror/theme-one-dark";
import { Engine } from "./engine.js";
import { WORDS, language, setLanguage, word } from "./words.js";
import { ladder, make, network, seconds, table } from "./draw.js";
import { pack, unpack } from "./share.js";
import { fields } from "../../src/packet.js";
import { stepsOf } from "../../src/rfc.js";
import { moment } from "./moment.js";

const $ = id => document.getElementById(id);
const WEATHER = [["delay", 0, 500, 5, "ms"], ["jitter", 0, 200, 5, "ms"], ["loss", 0, 50, 1, "%"], ["rate", 0, 100, 1, "Mbit"]];
let lessons = {}, lesson = null, experiment = null, editors = new Map(), run = null, chosen = null, base = "";

// --- words

function say(name, more = "") { $("status").textContent = (name ? word(name) : "") + more; }

function speak() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
  const kept = $("lesson").value;
  $("lesson").replaceChildren(...Object.entries(lessons[language()] || {}).map(([id, { title }]) => make("option", { value: id }, title)));
  if (kept) $("lesson").value = kept;
}

// --- the experiment

const engine = new Engine((kind, value) => {
  if (kind === "progress") say(value === "python" ? "loading" : "loading_estab");
  else if (kind === "ready") { say("ready"); document.body.dataset.ready = "yes"; }
  else if (kind === "failed") say("failed", value);
  else if (kind === "unable") { say("unable"); $("run").disabled = true; }
});

function show(given) {
  experiment = structuredClone(given);
  experiment.at ??= [];
  experiment.lose ??= [];
  editors = new Map();
  $("codes").replaceChildren(...experiment.hosts.filter(host => !host.router).map(host => {
    const place = make("div", {}), label = word("code_of", { host: host.name });
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    editors.set(host.name, new EditorView({ doc: host.code || "", parent: place, extensions: [basicSetup, python(), ...(dark ? [oneDark] : []), EditorView.contentAttributes.of({ "aria-label": label })] }));
    return make("div", {}, make("h3", {}, label), place);
  }));
  $("seed").value = experiment.seed ?? 0;
  weather();
  plan();
  $("result").hidden = true;
  run = null;
}

const nameOf = link => link.name || link.between.join("-");

function drawNetwork() {
  $("network").replaceChildren(network(experiment.hosts.map(host => host.name), experiment.links.map(link => ({ between: link.between, text: `${nameOf(link)}: ${WEATHER.map(([key]) => link[key]).filter(Boolean).join(", ")}` })), word("network")));
}

function weather() {
  drawNetwork();
  $("weather").replaceChildren(make("legend", {}, word("weather")), ...experiment.links.flatMap(link => WEATHER.map(([key, low, high, step, unit]) => {
    const value = parseFloat(link[key]) || 0, shown = make("output", {});
    const input = make("input", { type: "range", min: low, max: high, step, value, "aria-label": `${nameOf(link)} ${word(key)}` });
    const tell = () => { shown.textContent = key === "rate" && +input.value === 0 ? word("unlimited") : `${input.value} ${unit}`; };
    tell();
    input.addEventListener("input", () => {
      if (+input.value) link[key] = `${input.value}${unit}`; else delete link[key];
      tell();
      drawNetwork();
      later();
    });
    return make("label", {}, make("span", {}, `${experiment.links.length > 1 ? `${nameOf(link)} ` : ""}${word(key)}`), input, shown);
  })));
}

let timer = 0;
function later() { if (run) { clearTimeout(timer); timer = setTimeout(go, 120); } }

function plan() {
  const lines = [...experiment.at.map((action, number) => [word("planned", { t: action.time, what: action.do }), () => experiment.at.splice(number, 1)]),
    ...experiment.lose.map(([at, sender], number) => [word("lost_plan", { t: seconds(at), what: sender }), () => experiment.lose.splice(number, 1)])];
  $("plan").replaceChildren(...lines.map(([text, undo]) => make("li", {}, text, " ", make("button", { onclick: () => { undo(); plan(); go(); } }, word("undo")))));
}

function now() {
  for (const host of experiment.hosts) if (editors.has(host.name)) host.code = editors.get(host.name).state.doc.toString();
  experiment.seed = Math.max(0, Math.floor(+$("seed").value || 0));
  return experiment;
}

// --- running

let isRunning = false, isOwed = false;
async function go() {
  if (isRunning) { isOwed = true; return; }
  isRunning = true;
  $("run").disabled = true;
  $("stop").disabled = false;
  say("running");
  try {
    const began = performance.now();
    const given = JSON.parse(await engine.ask("run_experiment", JSON.stringify(now())));
    document.body.dataset.took = String(Math.round(performance.now() - began));
    shown(given);
    say("done");
  } catch (error) {
    if (error.message !== "stopped") say("", error.message);
    else say("stopped");
  } finally {
    isRunning = false;
    $("run").disabled = false;
    $("stop").disabled = true;
  }
  if (isOwed) { isOwed = false; await go(); }
}

function shown(given) {
  const before = run ? timeNow() : 0;
  run = given;
  $("result").hidden = false;
  const bad = Boolean(run.error);
  $("outcome").className = bad ? "bad" : "";
  if (!run.is_built) { $("outcome").textContent = `${word("refused")} ${run.error}`; run = null; return; }
  $("outcome").textContent = (bad ? `${word("ended_badly", { t: seconds(run.now_ns) })}\n${run.error}` : word("ended") + seconds(run.now_ns)) + (run.waiting.length && !bad ? `\n${run.waiting.join("\n")}` : "");
  run.times = [...new Set([...run.rows.flatMap(row => row.row === "arrow" ? [row.sent_ns, row.received_ns ?? row.sent_ns] : [row.at_ns ?? row.until_ns]), ...run.changes.map(change => change[1]), run.now_ns])].sort((a, b) => a - b);
  $("time").max = run.times.length - 1;
  const place = before ? run.times.findLastIndex(time => time <= before) : run.times.length - 1;
  $("time").value = Math.max(0, place);
  $("story").textContent = run.story;
  $("calls").replaceChildren(table([word("time"), word("host"), word("call"), word("result"), word("changed")], run.calls.map(call => [seconds(call.at_ns), call.host, `${call.fd >= 0 ? `fd ${call.fd}: ` : ""}${call.name}(${call.arguments})`, `${call.result}${call.waits.length ? ` · ${word("waits")}: ${call.waits.join("; ")}` : ""}`, [...call.changes, ...call.fields].join(" · ")])));
  chosen = null;
  document.body.dataset.hash = run.hash;
  draw();
}

const timeNow = () => run.times[+$("time").value] ?? 0;

function draw() {
  const t = timeNow(), at = moment(run, t), hosts = run.hosts;
  $("now").textContent = seconds(t);
  $("time").setAttribute("aria-valuetext", seconds(t));
  const rows = run.rows.filter(row => (row.row === "arrow" ? row.sent_ns : row.at_ns ?? row.until_ns) <= t);
  $("ladder").replaceChildren(ladder(hosts, rows, chosen, choose));
  $("ladder").scrollTop = $("ladder").scrollHeight;
  $("sockets").replaceChildren(at.sockets.length ? table([word("host"), word("state"), word("local"), word("peer"), word("unread"), word("unacked")], at.sockets.map(one => [one.host, one.state, one.local, one.peer, one.receive, one.send])) : make("p", {}, word("no_sockets")));
  $("queues").replaceChildren(...(at.queues.length ? at.queues.map(queue) : [make("p", {}, word("no_queues"))]));
  const open = at.sockets.filter(one => one.cwnd);
  $("windows").replaceChildren(open.length ? table([word("host"), word("peer"), word("in_flight"), word("cwnd"), word("window"), word("rto")], open.map(one => [one.host, one.peer, one.flight, one.cwnd, one.window, seconds(one.rto)])) : make("p", {}, word("nothing")));
  $("output").textContent = run.out.filter(([when]) => when <= t).map(([when, host, text]) => `${seconds(when)}  ${host ? `${host}| ` : ""}${text}`).join("\n") || word("nothing");
  breaks(t, at);
}

function queue({ host, listener, kind, entries, depth, limit }) {
  const size = Math.min(Math.max(limit, depth, 1), 16), slots = Array.from({ length: size }, (_, number) => make("span", { class: number < depth ? "slot full" : "slot" }, entries[number] ?? (number < depth ? "•" : "")));
  const name = kind === "half-open" ? word("half_open") : kind === "accept" ? word("accept") : kind;
  return make("div", { class: depth >= limit ? "queue over" : "queue", role: "group", "aria-label": `${host} ${listener} ${name}: ${depth}/${limit}` }, make("span", {}, `${host} ${listener.split(">")[0]} · ${name} ${depth}/${limit}${depth >= limit ? ` (${word("full")})` : ""}`), ...slots);
}

// --- breaking things at the time of the slider

function breaks(t) {
  const time = `${Math.max(t, 0)}ns`, add = what => () => { experiment.at.push({ time, do: what }); experiment.at.sort((a, b) => parseFloat(a.time) - parseFloat(b.time)); plan(); go(); };
  const done = what => experiment.at.filter(action => parseFloat(action.time) <= t && action.time.endsWith("ns") && what.includes(action.do)).at(-1)?.do;
  const button = (label, what, act) => make("button", { onclick: act }, word(label, { what }));
  $("break").replaceChildren(
    ...experiment.links.map(link => { const name = nameOf(link), isCut = done([`${name}.cut`, `${name}.heal`]) === `${name}.cut`; return button(isCut ? "heal" : "cut", name, add(`${name}.${isCut ? "heal" : "cut"}`)); }),
    ...experiment.hosts.map(({ name }) => { const isOff = done([`${name}.power_off`, `${name}.power_on`]) === `${name}.power_off`; return button(isOff ? "power_on" : "power_off", name, add(`${name}.${isOff ? "power_on" : "power_off"}`)); }));
}

function choose(row) {
  chosen = row;
  draw();
  const bytes = Uint8Array.from((row.hex || "").match(/../g) || [], pair => parseInt(pair, 16));
  const list = pairs => make("dl", {}, ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const before = moment(run, row.received_ns ?? row.sent_ns, true).find(row.receiver, row.connection);
  const steps = stepsOf({ flags: row.flags, seq: row.seq, ack: row.ack, length: row.length }, { state: before?.state || (row.flags === "S" ? "LISTEN" : ""), una: -1, nxt: -1, rcvNxt: -1, rcvWnd: 0 });
  const lines = Array.isArray(steps.steps[0]) ? steps.steps : [steps.steps];
  $("detail").replaceChildren(
    make("h3", {}, `${row.sender} → ${row.receiver}: ${row.label}`),
    make("p", {}, `${word("sent")} ${seconds(row.sent_ns)}, ${row.received_ns == null ? word("never") : `${word("received")} ${seconds(row.received_ns)}`} · ${word("why")}: ${row.why} · ${word("fate")}: ${row.fate}${row.reason ? `, ${row.reason}` : ""} ${row.on_link}`),
    ...(row.frame ? [make("button", { onclick: () => { experiment.lose.push([row.sent_ns, row.sender, row.frame]); plan(); go(); } }, word("lose"))] : []),
    make("h3", {}, word("step", { s: steps.section })), make("ol", {}, ...lines.map(([, text]) => make("li", {}, text))),
    make("p", {}, make("a", { href: "https://www.rfc-editor.org/rfc/rfc9293#section-3.10.7", rel: "noreferrer" }, word("docs"))),
    make("h3", {}, word("header")), list(bytes.length ? fields(bytes, bytes.length) : []));
}

// --- keeping

function keep(name, data, type) {
  const link = make("a", { href: URL.createObjectURL(new Blob([data], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function kept(name) {
  say("running");
  const value = await engine.ask(name, JSON.stringify(now()));
  say("done");
  return value;
}

async function address() {
  const text = await pack({ lesson: lesson?.id, experiment: now(), at: run ? timeNow() : 0 });
  base = `#${text}`;
  history.replaceState(null, "", base);
  return location.href;
}

async function scenario() {
  const files = experiment.hosts.filter(host => (host.code || "").trim()).map(host => `\n# --- ${host.name}.py\n${host.code.split("\n").map(line => `# ${line}`).join("\n")}`);
  keep("experiment.toml", await kept("scenario_of") + files.join(""), "application/toml");
}

// --- lessons

// The lessons' own text, which tools/lessons.py wrote as HTML from Markdown; a link can't bring any.
const inline = html => [...new DOMParser().parseFromString(html, "text/html").body.childNodes];

function open(id) {
  const found = (lessons[language()] || {})[id];
  if (!found) return;
  lesson = { ...found, id };
  $("lesson").value = id;
  const prose = new DOMParser().parseFromString(found.html, "text/html");
  $("prose").replaceChildren(...prose.body.childNodes);
  $("question").replaceChildren();
  if (found.choices.length) {
    const said = make("p", { role: "status", "aria-live": "polite" });
    $("question").replaceChildren(make("h3", { id: "asked" }, ...inline(found.question)), make("div", { role: "radiogroup", "aria-labelledby": "asked" }, ...found.choices.map((choice, number) => make("label", {}, make("input", { type: "radio", name: "choice", value: number }), " ", ...inline(choice)))),
      make("button", { onclick: () => answer(said) }, word("check_answer")), said);
  }
}

async function answer(said) {
  const picked = document.querySelector("input[name=choice]:checked");
  if (!picked) { said.className = "wrong"; said.textContent = word("choose"); return; }
  const truth = +await engine.ask("answer_of", JSON.stringify({ experiment: lesson.experiment, check: lesson.check }));
  const isRight = truth === +picked.value;
  said.className = isRight ? "right" : "wrong";
  said.replaceChildren(isRight ? word("right") : word("wrong"), ...(isRight ? [] : inline(lesson.choices[truth])));
}

async function begin() {
  const languages = ["en", "zh"];
  setLanguage(localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en"));
  $("language").value = language();
  lessons = await (await fetch("lessons.json")).json();
  speak();
  say("loading");
  const first = Object.keys(lessons.en)[0];
  const asked = location.hash.slice(1);
  if (asked.startsWith("lesson=")) { open(asked.slice(7)); show((lesson || {}).experiment || lessons[language()][first].experiment); }
  else if (asked) {
    try {
      const given = await unpack(asked);
      if (given.lesson) open(given.lesson);
      show(given.experiment);
      run = null;
      await go();
      if (run && given.at) { $("time").value = Math.max(0, run.times.findLastIndex(time => time <= given.at)); draw(); }
    } catch (error) { say("bad_link"); open(first); show(lessons[language()][first].experiment); }
  } else { open(first); show(lesson.experiment); }
  $("language").addEventListener("change", () => {
    if (!languages.includes($("language").value)) return;
    setLanguage($("language").value);
    localStorage.setItem("language", language());
    const id = lesson?.id, kept = now(), was = run;
    speak();
    if (id) open(id);
    show(kept);
    if (was) shown(was);
    say("ready");
  });
}

$("run").addEventListener("click", go);
$("stop").addEventListener("click", () => engine.stop());
$("time").addEventListener("input", draw);
$("back").addEventListener("click", () => { $("time").value = +$("time").value - 1; draw(); });
$("next").addEventListener("click", () => { $("time").value = +$("time").value + 1; draw(); });
$("lesson").addEventListener("change", () => { open($("lesson").value); show(lesson.experiment); history.replaceState(null, "", `#lesson=${lesson.id}`); });
$("share").addEventListener("click", async () => { const text = await address(); try { await navigator.clipboard.writeText(text); say("copied"); } catch { say("link_is"); } });
$("save-toml").addEventListener("click", scenario);
$("save-test").addEventListener("click", async () => keep("test_experiment.py", await kept("test_of"), "text/x-python"));
$("save-pcapng").addEventListener("click", async () => { const { pcapng } = JSON.parse(await kept("report_of")); keep("run.pcapng", Uint8Array.from(pcapng.match(/../g), pair => parseInt(pair, 16)), "application/octet-stream"); });
$("save-report").addEventListener("click", async () => keep("run.html", JSON.parse(await kept("report_of")).page, "text/html"));
document.addEventListener("keydown", event => { if (event.ctrlKey && event.key === "Enter") go(); });
globalThis.lab = { now, engine, WORDS, run: () => run };
begin();
