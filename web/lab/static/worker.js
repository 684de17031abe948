// Python in a worker: it loads Pyodide and estab, and runs what the page sends. A run that spins is ended with the worker.
import { loadPyodide } from "./pyodide.mjs";

const tell = (kind, value) => postMessage({ kind, value });
const canSwitch = "Suspending" in WebAssembly;

async function start() {
  tell("progress", "python");
  const python = await loadPyodide({ indexURL: "./", stdout: text => tell("out", text), stderr: text => tell("out", text) });
  tell("progress", "estab");
  const answer = await fetch("./estab.zip");
  if (!answer.ok) throw new Error(`estab.zip: ${answer.status}`);
  python.unpackArchive(await answer.arrayBuffer(), "zip", { extractDir: "/estab" });
  await python.runPythonAsync("import sys; sys.dont_write_bytecode = True; sys.path.insert(0, '/estab')\nimport estab; estab.Network");
  return python;
}

const ready = canSwitch ? start() : Promise.reject(new Error("no JSPI"));
ready.then(() => tell("ready"), error => tell(canSwitch ? "failed" : "unable", String(error)));

// ``source`` is run as a module of its own with ``given``, a text; what its ``main(given)`` returns, a text, is the answer.
onmessage = async ({ data: { number, source, given } }) => {
  try {
    const python = await ready;
    const names = python.toPy({ given });
    const value = await python.runPythonAsync(`${source}\nmain(given)`, { globals: names });
    names.destroy();
    postMessage({ kind: "answer", number, value });
  } catch (error) {
    postMessage({ kind: "error", number, value: String(error.message || error) });
  }
};
