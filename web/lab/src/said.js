// What tells a run, in the page's language: the catalogue of estab/observe/languages.py, and its rules.
import { language } from "./words.js";

const HOLE = /\{([*;^]?)(\w+)\}/g, LISTS = { "*": [", ", "、"], ";": ["; ", "；"] };
const known = {};

function sentence(english, other) {
  const lists = {}, letters = english.replace(HOLE, "").length;
  let pattern = "", at = 0;
  for (const hole of english.matchAll(HOLE)) {
    const [whole, kind, name] = hole;
    pattern += escaped(english.slice(at, hole.index));
    pattern += name === "s" ? "s?" : `(?<${name}>${kind === "^" ? "[A-Z][A-Za-z0-9-]*" : ".+?"})`;
    if (LISTS[kind]) lists[name] = LISTS[kind];
    at = hole.index + whole.length;
  }
  // The longest piece between holes is looked for first: that is faster than the pattern.
  const needle = english.split(/\{[*;^]?\w+\}/).reduce((a, b) => b.length > a.length ? b : a);
  return { letters, lists, needle, other, pattern: new RegExp(`^${pattern}${escaped(english.slice(at))}$`, "s") };
}

const escaped = text => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

export function learn(catalogues) {
  for (const [name, catalogue] of Object.entries(catalogues)) {
    const pairs = Object.entries(catalogue), hasHole = text => text.search(HOLE) >= 0;
    known[name] = { texts: new Map(pairs.filter(([english]) => !hasHole(english))), sentences: pairs.filter(([english]) => hasHole(english)).map(pair => sentence(...pair)).sort((a, b) => b.letters - a.letters) };
  }
}

export function said(text) {
  const here = known[language()];
  if (!here || !text) return text;
  if (!here.texts.has(text)) here.texts.set(text, translated(here, text));
  return here.texts.get(text);
}

function translated(here, text) {
  for (const { pattern, lists, needle, other } of here.sentences) {
    const match = text.includes(needle) ? pattern.exec(text) : null;
    if (match) return other.replace(HOLE, (_, kind, name) => { const value = match.groups?.[name] ?? "", list = lists[name]; return list ? value.split(list[0]).map(said).join(list[1]) : said(value); });
  }
  return text;
}

// A text with room for so many letters; a Chinese character takes the room of two.
export function clipped(text, room) {
  let used = 0;
  for (let place = 0; place < text.length; place++) {
    used += /[\u2e80-\u9fff\uff00-\uff60]/.test(text[place]) ? 2 : 1;
    if (used > room) return `${text.slice(0, Math.max(place - 1, 1))}…`;
  }
  return text;
}
