// /sql: the editor, the history, the result. See core.js for what it offers.
import { $, on, el, icon, api, page, mayWrite } from "./core.js";
import { asJson, isNested, read, written } from "./exact.js";

/** More rows than this are not shown: a browser gets slow, and nobody reads them. */
const MOST_SHOWN = 500;
const editor = $("[data-editor]"), area = $("textarea", editor), copy = $(":scope > div > pre", editor), lines = $(".lines", editor);
const output = $("[data-output]"), said = $("[data-said]"), dry = $("[data-dry]");

// -- The editor: a see-through textarea over its own coloured copy --

const words = /(--.*$|\/\*[\s\S]*?\*\/)|('(?:[^']|'')*')|\b(select|from|where|join|left|right|inner|outer|cross|on|and|or|as|in|is|not|null|group|order|by|limit|offset|desc|asc|having|with|union|all|distinct|update|set|insert|into|values|delete|returning|create|alter|drop|table|case|when|then|else|end|like|ilike|between|exists|true|false|using|lateral|cast)\b|\b(\d+(?:\.\d+)?)\b/gim;
const paint = () => {
  copy.replaceChildren();
  let at = 0;
  for (const found of area.value.matchAll(words)) {
    copy.append(area.value.slice(at, found.index), el("span", { class: found[1] ? "cm" : found[2] ? "s" : found[3] ? "k" : "n" }, found[0]));
    at = found.index + found[0].length;
  }
  copy.append(area.value.slice(at) + "\n");
  lines.textContent = area.value.split("\n").map((_, index) => index + 1).join("\n");
};
area.addEventListener("input", paint);
paint();
const write = (text) => { area.value = text; paint(); area.focus(); };
on("click", "[data-insert]", (it) => {
  // A name that is no plain word is quoted, as PostgreSQL wants it.
  const name = /^[a-z_][a-z0-9_]*$/.test(it.dataset.insert) ? it.dataset.insert : `"${it.dataset.insert.replaceAll('"', '""')}"`;
  area.focus();
  area.setRangeText(name, area.selectionStart, area.selectionEnd, "end");
  paint();
});

// -- The history, in this browser, for each person and workspace, until they log out --

const place = `kith_sql_${page.person}_${page.workspace}_${page.mode}`;
const past = () => { try { return JSON.parse(localStorage.getItem(place)) || []; } catch { return []; } };
const keep = (sql, note) => {
  try { localStorage.setItem(place, JSON.stringify([{ sql, note }, ...past().filter((it) => it.sql !== sql)].slice(0, 50))); } catch { /* It is full or switched off. */ }
  list();
};
const list = () => {
  const all = past();
  $("[data-past]").replaceChildren(...all.map((it) => {
    const button = el("button", { type: "button", title: it.sql }, el("span", { class: "mono cut" }, it.sql.replace(/\s+/g, " ")), el("span", { class: "push faint" }, it.note || ""));
    button.addEventListener("click", () => { $("#past").hidePopover(); write(it.sql); });
    return el("li", {}, button);
  }));
  if (!all.length) $("[data-past]").append(el("li", { class: "pad soft" }, "Nothing yet."));
};
list();

// -- The result --

const count = (number, word) => `${number.toLocaleString("en-GB")} ${word}${number === 1 ? "" : "s"}`;
const cell = (value, column) => {
  if (value === null || value === undefined) return el("td", { class: "null" }, el("i", {}, "NULL"));
  if (value === "") return el("td", { class: "empty" }, "");
  const isNumber = /^(smallint|integer|bigint|numeric|real|double precision|money|oid)/.test(column.type);
  const text = written(value);
  return el("td", { class: isNumber ? "num" : isNested(value) ? "mono" : "", title: text.length > 40 ? text.slice(0, 2000) : null }, text.slice(0, 2000));
};
const table = (data) => el("table", { class: "grid", "aria-label": "Result" },
  el("thead", {}, el("tr", {}, ...data.columns.map((it) => el("th", { scope: "col" }, it.name, el("small", { class: "mono" }, it.type))))),
  el("tbody", {}, ...data.rows.slice(0, MOST_SHOWN).map((row) => el("tr", {}, ...data.columns.map((it) => cell(row[it.name], it))))));
const note = (tone, name, ...text) => el("p", { class: "note " + tone }, icon(name), el("span", {}, ...text));
const show = (data, meta) => {
  const parts = [];
  if (meta.truncated) parts.push(note("wait", "triangle-alert", `The result is cut: it is larger than 10,000 rows or 10 MiB. The first ${count(data.rows.length, "row")} came${data.rows.length > MOST_SHOWN ? `, the first ${MOST_SHOWN} are shown` : ""}.`));
  else if (data.rows.length > MOST_SHOWN) parts.push(note("wait", "triangle-alert", `The result is cut: the first ${MOST_SHOWN} of ${count(data.rows.length, "row")} are shown.`));
  if (meta.dry_run) {
    const touched = Object.entries(meta.affected).map(([name, verbs]) => `${name}: ${Object.entries(verbs).filter(([, many]) => many).map(([verb, many]) => `${many} ${verb}`).join(", ")}`);
    parts.push(note("ok", "info", touched.length ? `Dry run: nothing was kept. It would change ${touched.join("; ")}.` : "Dry run: nothing was kept, and no row would change."));
    const values = (sides) => [sides.from === null ? null : el("del", {}, asJson(sides.from)), " ", sides.to === null ? null : el("ins", {}, asJson(sides.to))];
    if (meta.changes.length) {
      parts.push(el("ul", { class: "rows pad-x" }, ...meta.changes.map((change) => el("li", {}, el("span", { class: "chip" }, change.verb), el("code", {}, `${change.table} ${written(change.id)}`),
        el("span", { class: "cut soft" }, ...Object.entries(change.changes).flatMap(([column, sides]) => [column + " ", ...values(sides), " "]))))));
    }
    if (meta.changes_truncated) parts.push(el("p", { class: "pad soft" }, "These are the first 200 changes."));
  }
  parts.push(data.columns.length ? table(data) : el("p", { class: "pad soft" }, `${data.command}: ${count(data.rowCount, "row")}.`));
  output.replaceChildren(...parts);
};
/** Where a position, in characters from 1, is: its line and its column. */
const placeOf = (sql, position) => {
  const before = [...sql].slice(0, position - 1).join("").split("\n");
  return [before.length, [...before.at(-1)].length + 1];
};
const refused = (sql, error) => {
  const { code, position, hint, detail } = error.body, parts = [el("b", {}, error.message)];
  if (position) {
    const [line, column] = placeOf(sql, position);
    parts.push(el("span", { class: "soft" }, `Line ${line}, column ${column} (position ${position})`), el("pre", { class: "mono" }, `${sql.split("\n")[line - 1] ?? ""}\n${" ".repeat(column - 1)}^`));
  }
  if (code) parts.push(el("span", { class: "soft" }, `Code ${code}`));
  if (detail) parts.push(el("span", {}, detail));
  if (hint) parts.push(el("span", {}, "Hint: " + hint));
  output.replaceChildren(el("div", { class: "note bad refusal", role: "alert" }, icon("circle-alert"), el("div", {}, ...parts)));
};

let busy = false, isNext = false;
const send = async () => {
  const whole = area.value, { selectionStart: from, selectionEnd: to } = area;
  // A selection is sent alone, as other consoles do it.
  const sql = to > from && whole.slice(from, to).trim() ? whole.slice(from, to) : whole;
  if (!sql.trim()) return;
  if (busy) {
    // What the editor holds when the running statement ends is sent then.
    isNext = true;
    said.textContent = "Running… The next statement follows.";
    return;
  }
  busy = true;
  $("[data-run]").disabled = true;
  said.textContent = "Running…";
  // An old result beside a new statement would be read as its own.
  output.replaceChildren();
  const started = performance.now();
  try {
    const { data, meta } = await api("POST", "sql", { sql }, mayWrite && dry?.checked ? { "X-Dry-Run": "true" } : {}, read);
    const took = `${Math.round(performance.now() - started)} ms`;
    show(data, meta);
    said.textContent = `${data.command}, ${count(data.rowCount ?? data.rows.length, "row")}, ${took}`;
    keep(sql, took);
  } catch (error) {
    said.textContent = "";
    if (error.body) { refused(sql, error); keep(sql, "error"); } else throw error;
  } finally {
    busy = false;
    $("[data-run]").disabled = false;
    if (isNext) { isNext = false; send(); }
  }
};
on("click", "[data-run]", send);
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("dialog[open]")) { event.preventDefault(); send(); }
});
