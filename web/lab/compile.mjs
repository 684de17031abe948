// Compile the Python files of an archive by the very Python that will import them:
// node compile.mjs PYODIDE IN.zip OUT.zip KIND.
// KIND is "cache" (__pycache__ beside the sources, for an unpacked archive) or "beside" (x.pyc, for one that is imported as it is).
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, source, target, kind] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const python = await loadPyodide({ indexURL: folder });
python.FS.writeFile("/in.zip", readFileSync(source));
await python.runPythonAsync(`
import importlib.util, sys, zipfile
from importlib._bootstrap_external import _code_to_hash_pyc
def place(name):
    folder, _, file = name.rpartition("/")
    if ${kind === "cache" ? "True" : "False"}:
        return f"{folder}/__pycache__/{file[:-3]}.{sys.implementation.cache_tag}.pyc".lstrip("/")
    return name + "c"
with zipfile.ZipFile("/in.zip") as given, zipfile.ZipFile("/out.zip", "w", zipfile.ZIP_DEFLATED) as made:
    for one in given.infolist():
        data = given.read(one)
        item = zipfile.ZipInfo(one.filename, (1980, 1, 1, 0, 0, 0))
        item.compress_type = zipfile.ZIP_DEFLATED
        made.writestr(item, data)
        if one.filename.endswith(".py"):
            try:
                code = compile(data, ("/estab/" if ${kind === "cache" ? "True" : "False"} else "/lib/python314.zip/") + one.filename, "exec", dont_inherit=True)
            except SyntaxError:
                continue
            item = zipfile.ZipInfo(place(one.filename), (1980, 1, 1, 0, 0, 0))
            item.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(item, _code_to_hash_pyc(code, importlib.util.source_hash(data), False))
`);
writeFileSync(target, python.FS.readFile("/out.zip"));
