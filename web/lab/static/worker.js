// Python in a worker: it loads Pyodide and estab, and runs what the page sends. A run that spins is ended with the worker.
//
// ``estab.snapshot`` is the memory of a Python that has imported estab, made by tools/build_lab.py and deflated: it takes
// the place of starting Python and importing some 480 modules. If it can't be used, that is done.
import { loadPyodide } from "./pyodide.mjs";
import { hasCore } from "./built.js";
import { withCore } from "./core.mjs";

const tell = (kind, value) => postMessage({ kind, value });
const canSwitch = "Suspending" in WebAssembly;
const OPTIONS = { indexURL: "./", stdout: text => tell("out", text), stderr: text => tell("out", text) };

async function get(name) {
  const answer = await fetch(`./${name}`);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer;
}

async function inflated(name) {
  const body = (await get(name)).body.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(body).arrayBuffer());
}

// What makes Pyodide's module, with the compiled core if the page has one. A browser that keeps what it compiled takes that.
async function maker() {
  const compiled = hasCore ? WebAssembly.compileStreaming(get("estab.core.wasm")) : null;
  compiled?.catch(() => {});
  const { default: create } = await import("./pyodide.asm.mjs");
  return hasCore ? withCore(create, compiled) : create;
}

async function fromSnapshot() {
  const memory = inflated("estab.snapshot"), create = maker();
  memory.catch(() => {});
  const createPyodideModule = async settings => {
    const module = await (await create)(settings), kept = await memory, before = module.HEAP8.length;
    // How C calls functions of any signature depends on the engine that runs: so this field is the new memory's own.
    const field = (module.__PyRuntime + module.HEAP32[module.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET >> 2]) >> 2;
    new Int32Array(kept.buffer, new Uint32Array(kept.buffer)[1])[field] = module.HEAP32[field];
    // The memory grows when something is allocated; what is allocated here is overwritten by the snapshot.
    while (module.HEAP8.length < kept.length) if (!module._malloc(4 << 20)) throw new Error("no memory");
    module.HEAP8.fill(0, before);
    return module;
  };
  return loadPyodide({ ...OPTIONS, createPyodideModule, _loadSnapshot: memory });
}

async function start() {
  tell("progress", "python");
  const sources = get("estab.zip").then(answer => answer.arrayBuffer());
  let python;
  try {
    python = await fromSnapshot();
  } catch (error) {
    tell("out", `the snapshot was not used: ${error}`);
    try {
      python = await loadPyodide({ ...OPTIONS, createPyodideModule: await maker() });
    } catch (error) {
      tell("out", `the compiled core was not used: ${error}`);
      python = await loadPyodide(OPTIONS);
    }
    tell("slow");
  }
  tell("progress", "estab");
  python.FS.writeFile("/estab.zip", new Uint8Array(await sources));
  await python.runPythonAsync("import sys; sys.dont_write_bytecode = True\nif '/estab.zip' not in sys.path: sys.path.insert(0, '/estab.zip')\nimport estab.trial.experiment");
  return python;
}

const ready = canSwitch ? start() : Promise.reject(new Error("no JSPI"));
ready.then(() => tell("ready"), error => tell(canSwitch ? "failed" : "unable", String(error)));

// ``source`` is run as a module of its own with ``given``, a text; what its ``main(given)`` returns, a text, is the answer.
// It may ``emit`` texts before that.
onmessage = async ({ data: { number, source, given } }) => {
  try {
    const python = await ready;
    const names = python.toPy({ given });
    names.set("emit", text => postMessage({ kind: "part", number, value: text }));
    const value = await python.runPythonAsync(`${source}\nmain(given)`, { globals: names });
    names.destroy();
    postMessage({ kind: "answer", number, value });
  } catch (error) {
    postMessage({ kind: "error", number, value: String(error.message || error) });
  }
};
