// The compiled core, a WebAssembly library. It is loaded right after Pyodide's own, before anything else takes memory or an
// entry of the table of functions: so it is at the same place each time, and a kept memory of Python fits wherever it is used.
//
// ``withCore`` gives the function that makes Pyodide's module, with the core in it; ``compiled`` is a promise of the core.
export const withCore = (create, compiled) => settings => new Promise((done, failed) => {
  const instantiate = settings.instantiateWasm;
  settings.instantiateWasm = (imports, receive) => instantiate(imports, (instance, module) => {
    compiled.then(core => {
      receive(instance, module);
      settings.loadWebAssemblyModule(core, { nodelete: true }, "estab.core.wasm");
    }).catch(failed);
  });
  create(settings).then(done, failed);
});
