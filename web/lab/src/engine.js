// Python in a worker, as a function that gives a promise. ``stop`` ends it, whatever it does, and starts another.

// Whether this browser can suspend WebAssembly, as programs that block ask for.
export const canRun = "Suspending" in WebAssembly;

export class Engine {
  constructor(tell) {
    this.tell = tell;
    this.number = 0;
    this.start();
  }

  start() {
    this.waiting = new Map();
    this.worker = new Worker("worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = event => this.tell("failed", event.message || "worker.js");
  }

  hear({ kind, number, value }) {
    if (kind !== "answer" && kind !== "error" && kind !== "part") { this.tell(kind, value); return; }
    const one = this.waiting.get(number);
    if (kind === "part") { one?.part?.(value); return; }
    this.waiting.delete(number);
    if (one) (kind === "answer" ? one.done : one.failed)(kind === "answer" ? value : new Error(value));
  }

  // ``part`` is called with what comes before the answer.
  ask(name, given, part = null) {
    const number = ++this.number, source = part ? `from estab.trial.experiment import ${name}\nmain = lambda given: ${name}(given, emit)` : `from estab.trial.experiment import ${name} as main`;
    return new Promise((done, failed) => {
      this.waiting.set(number, { done, failed, part });
      this.worker.postMessage({ number, source, given });
    });
  }

  stop() {
    this.worker.terminate();
    for (const { failed } of this.waiting.values()) failed(new Error("stopped"));
    this.start();
  }
}
