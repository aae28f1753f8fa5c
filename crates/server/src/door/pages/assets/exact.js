// JSON with its numbers digit for digit. JSON.parse reads 9007199254740993 as 9007199254740992, and 1.50 as 1.5.

/** A number that JavaScript's own would change. Its text is that of the JSON. */
class ExactNumber {
  constructor(text) { this.text = text; }
  toString() { return this.text; }
  toJSON() { return this.text; }
}

/** The JSON from which an array or an object was read. */
const sources = new WeakMap();

/** Reads JSON. A number whose digits would change is an ExactNumber. */
export const read = (text) => {
  const space = /[ \t\n\r]*/y, number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y, string = /"(?:[^"\\]|\\.)*"/y, word = /true|false|null/y;
  let at = 0;
  const match = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const take = (letter) => {
    match(space);
    if (text[at] !== letter) return false;
    at += 1;
    return true;
  };
  const need = (found) => { if (!found) throw new SyntaxError(`This is no JSON at ${at}.`); return found; };
  const value = () => {
    match(space);
    const from = at;
    if (text[at] === '"') return JSON.parse(need(match(string)));
    if (take("[")) {
      const all = [];
      if (!take("]")) {
        do all.push(value()); while (take(","));
        need(take("]"));
      }
      sources.set(all, text.slice(from, at));
      return all;
    }
    if (take("{")) {
      const all = Object.create(null);
      if (!take("}")) {
        do {
          match(space);
          const key = JSON.parse(need(match(string)));
          need(take(":"));
          all[key] = value();
        } while (take(","));
        need(take("}"));
      }
      sources.set(all, text.slice(from, at));
      return all;
    }
    const digits = match(number);
    if (digits !== undefined) return String(Number(digits)) === digits ? Number(digits) : new ExactNumber(digits);
    return JSON.parse(need(match(word)));
  };
  const all = value();
  match(space);
  need(at === text.length);
  return all;
};

/** A value as people read it: a text as it is, anything else as it stood in the JSON. */
export const written = (value) => typeof value === "string" ? value : sources.get(value) ?? String(value);
/** A value as JSON, with the same digits. */
export const asJson = (value) => typeof value === "string" ? JSON.stringify(value) : written(value);
/** Whether a value is an array or an object. */
export const isNested = (value) => sources.has(value);
