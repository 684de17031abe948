// Keep the memory of a Python that has imported estab: node snapshot.mjs PYODIDE ESTAB.zip STDLIB.zip OUT [CORE.wasm].
// A page that loads it need not start Python, nor import anything (static/worker.js).
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { pathToFileURL } from "node:url";
import { withCore } from "./static/core.mjs";

// Python asks once, when it starts, whether stacks can be switched, and its memory keeps the answer. The page's browser can
// (the others load nothing); Node can't without this, and need not: nothing waits here.
if (!("Suspending" in WebAssembly)) {
  WebAssembly.Suspending = class { constructor(called) { return called; } };
  WebAssembly.promising = called => async (...given) => called(...given);
}

const [folder, estab, library, target, core] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const { default: create } = await import(pathToFileURL(`${folder}/pyodide.asm.mjs`).href);
const createPyodideModule = core ? withCore(create, WebAssembly.compile(readFileSync(core))) : create;
const python = await loadPyodide({ indexURL: folder, stdLibURL: library, _makeSnapshot: true, createPyodideModule });
python.FS.writeFile("/estab.zip", readFileSync(estab));
python.runPython(`
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "/estab.zip")
# What the page calls, what a run imports when it is first needed, and what programs like to import.
import estab.trial.experiment, estab.observe.story, estab.observe.ladder, estab.observe.ladder_text
import estab.observe.capture, estab.observe.pcapng, estab.report.page, estab.report.columns
import asyncio, concurrent.futures, json, queue, random, select, selectors, struct, threading
import estab
for name in estab.__all__:
    try:
        getattr(estab, name)
    except ImportError:  # of a room that the page does not have
        pass
import gc
gc.collect()
`);
writeFileSync(target, gzipSync(python.makeMemorySnapshot(), { level: 6 }));
