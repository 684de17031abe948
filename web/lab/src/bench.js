// The experiment as one sees and changes it: programs, network, weather, and what is planned for which moment.
import { EditorView, basicSetup } from "codemirror";
import { EditorState } from "@codemirror/state";
import { python } from "@codemirror/lang-python";
import { oneDark } from "@codemirror/theme-one-dark";
import { WEATHER, actionText, nameOf, nanoseconds } from "./compare.js";
import { make, network } from "./draw.js";
import { word } from "./words.js";

// The theme's grey on its own ground has too little contrast.
const DARKER = EditorView.theme({ "&": { backgroundColor: "#0f141a" }, ".cm-gutters": { backgroundColor: "#0f141a", color: "#9aa4af" }, ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "#1b232c" } }, { dark: true });
const $ = id => document.getElementById(id);

export class Bench {
  // ``change`` is called when the experiment was changed by a slider, a button or an undo, so that it is run again.
  constructor(change) {
    this.change = change;
    this.editors = new Map();
    this.isLocked = false;
    this.experiment = null;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", () => { if (this.experiment) this.show(this.now()); });
  }

  show(given) {
    const experiment = this.experiment = structuredClone(given);
    experiment.at ??= [];
    experiment.lose = (experiment.lose || []).filter(name => typeof name === "string");
    this.editors = new Map();
    $("codes").replaceChildren(...experiment.hosts.filter(host => !host.router).map(host => this.editor(host)));
    $("seed").value = experiment.seed ?? 0;
    $("seed").disabled = this.isLocked;
    this.weather();
    this.plan();
  }

  editor(host) {
    const place = make("div", {}), label = word("code_of", { host: host.name });
    this.editors.set(host.name, new EditorView({ doc: host.code || "", parent: place, extensions: [basicSetup, python(), ...(this.dark.matches ? [DARKER, oneDark] : []), EditorState.readOnly.of(this.isLocked), EditorView.contentAttributes.of({ "aria-label": label })] }));
    return make("div", {}, make("h3", {}, label), place);
  }

  now() {
    for (const host of this.experiment.hosts) if (this.editors.has(host.name)) host.code = this.editors.get(host.name).state.doc.toString();
    this.experiment.seed = Math.max(0, Math.floor(+$("seed").value || 0));
    return this.experiment;
  }

  draw() {
    const { hosts, links } = this.experiment;
    $("network").replaceChildren(network(hosts.map(host => host.name), links.map(link => ({ between: link.between, text: `${nameOf(link)}: ${WEATHER.map(([key]) => link[key]).filter(Boolean).join(", ")}` })), word("network")));
  }

  weather() {
    const { links } = this.experiment;
    this.draw();
    $("weather").replaceChildren(make("legend", {}, word("weather")), ...links.flatMap(link => WEATHER.map(([key, low, high, step, unit]) => {
      const value = parseFloat(link[key]) || 0, shown = make("output", {});
      const input = make("input", { type: "range", min: low, max: high, step, value, "aria-label": `${nameOf(link)} ${word(key)}`, ...(this.isLocked ? { disabled: "" } : {}) });
      const tell = () => { shown.textContent = key === "rate" && +input.value === 0 ? word("unlimited") : `${input.value} ${unit}`; input.setAttribute("aria-valuetext", shown.textContent); };
      tell();
      input.addEventListener("input", () => {
        if (+input.value) link[key] = `${input.value}${unit}`; else delete link[key];
        tell();
        this.draw();
        this.change();
      });
      return make("label", {}, make("span", {}, `${links.length > 1 ? `${nameOf(link)} ` : ""}${word(key)}`), input, shown);
    })));
  }

  // What is planned, each with a button that takes it back.
  plan() {
    const { at, lose } = this.experiment, lines = [...at.map((action, number) => [actionText(action), () => at.splice(number, 1)]), ...lose.map((name, number) => [word("lost_plan", { name }), () => lose.splice(number, 1)])];
    $("plan").replaceChildren(...lines.map(([text, undo]) => make("li", {}, text, " ", make("button", { "aria-label": `${word("undo")}: ${text}`, ...(this.isLocked ? { disabled: "" } : {}), onclick: () => { undo(); this.plan(); this.change(); } }, word("undo")))));
  }

  add(action) {
    this.experiment.at.push(action);
    this.experiment.at.sort((a, b) => nanoseconds(a.time) - nanoseconds(b.time));
    this.plan();
    this.change();
  }

  lose(name) {
    if (!this.experiment.lose.includes(name)) this.experiment.lose.push(name);
    this.plan();
    this.change();
  }

  // The buttons that break something at the time of the slider.
  breaks(t, at) {
    const { hosts, links } = this.experiment, time = `${Math.max(t, 0)}ns`;
    const done = what => this.experiment.at.filter(action => nanoseconds(action.time) <= t && what.includes(action.do)).at(-1)?.do;
    const button = (label, what, act) => make("button", { onclick: () => this.add({ time, ...act }) }, word(label, { what }));
    const listeners = at.sockets.filter(one => one.state === "LISTEN");
    $("break").replaceChildren(
      ...links.map(link => { const name = nameOf(link), isCut = done([`${name}.cut`, `${name}.heal`]) === `${name}.cut`; return button(isCut ? "heal" : "cut", name, { do: `${name}.${isCut ? "heal" : "cut"}` }); }),
      ...hosts.map(({ name }) => { const isOff = done([`${name}.power_off`, `${name}.power_on`]) === `${name}.power_off`; return button(isOff ? "power_on" : "power_off", name, { do: `${name}.${isOff ? "power_on" : "power_off"}` }); }),
      ...listeners.map(one => this.backlog(one, at, time)));
  }

  backlog({ host, connection, local }, at, time) {
    const port = +local.split(":").at(-1), known = at.queues.find(one => one.host === host && one.listener === connection && one.kind === "accept");
    const input = make("input", { type: "number", min: 0, max: 4096, step: 1, value: known ? Math.max(0, known.limit - 1) : 1, "aria-label": word("backlog_of", { what: `${host}:${port}` }) });
    const act = () => { if (input.value !== "" && input.validity.valid) this.add({ time, do: `${host}.set_backlog`, port, backlog: +input.value }); };
    input.addEventListener("keydown", event => { if (event.key === "Enter" && !event.ctrlKey) act(); });
    return make("span", { class: "backlog" }, make("label", {}, word("backlog_of", { what: `${host}:${port}` }), " ", input), " ", make("button", { onclick: act }, word("set_backlog")));
  }
}
