// Compile the Python files of an archive by the very Python that will import them:
// node compile.mjs PYODIDE IN.zip OUT.zip PLACE. The bytecode, x.pyc beside x.py, says that it is in the archive PLACE.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, source, target, place] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const python = await loadPyodide({ indexURL: folder });
python.FS.writeFile("/in.zip", readFileSync(source));
await python.runPythonAsync(`
import importlib.util, zipfile
from importlib._bootstrap_external import _code_to_hash_pyc
with zipfile.ZipFile("/in.zip") as given, zipfile.ZipFile("/out.zip", "w", zipfile.ZIP_DEFLATED) as made:
    for one in given.infolist():
        data = given.read(one)
        item = zipfile.ZipInfo(one.filename, (1980, 1, 1, 0, 0, 0))
        item.compress_type = zipfile.ZIP_DEFLATED
        made.writestr(item, data)
        if one.filename.endswith(".py"):
            try:
                code = compile(data, ${JSON.stringify(place)} + "/" + one.filename, "exec", dont_inherit=True)
            except SyntaxError:
                continue
            item = zipfile.ZipInfo(one.filename + "c", (1980, 1, 1, 0, 0, 0))
            item.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(item, _code_to_hash_pyc(code, importlib.util.source_hash(data), False))
`);
writeFileSync(target, python.FS.readFile("/out.zip"));
