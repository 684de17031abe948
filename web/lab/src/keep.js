// What can be kept of an experiment: files of several kinds.
import { make } from "./draw.js";

export function keep(name, data, type) {
  const link = make("a", { href: URL.createObjectURL(new Blob([data], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// What each button writes; ``ask`` runs a function of estab on the experiment.
export const FILES = {
  "save-toml": async (ask, experiment) => {
    const codes = experiment.hosts.filter(host => (host.code || "").trim()).map(host => `\n# --- ${host.name}.py\n${host.code.split("\n").map(line => `# ${line}`).join("\n")}`);
    keep("experiment.toml", await ask("scenario_of") + codes.join(""), "application/toml");
  },
  "save-test": async ask => keep("test_experiment.py", await ask("test_of"), "text/x-python"),
  "save-pcapng": async ask => { const { pcapng } = JSON.parse(await ask("report_of")); keep("run.pcapng", Uint8Array.from(pcapng.match(/../g), pair => parseInt(pair, 16)), "application/octet-stream"); },
  "save-report": async ask => keep("run.html", JSON.parse(await ask("report_of")).page, "text/html"),
};
