// The import of a CSV file: reads it, matches its columns with fields, tries it, sends it in parts, and offers the way back.
import { $, $$, alarm, api, attempt, el, hintForPeople, icon, on, toast, told } from "./core.js";

const box = $("#import");
/** The rows that are sent at a time. */
const PART = 500;
/** The rows that the preview shows, and that are tried. */
const SHOWN = 5, TRIED = 500;

// -- Reading the file --

/** The text of a file: UTF-8, UTF-16 with a mark, or else Windows-1252, which spreadsheets write. */
const textOf = async (file) => {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try { return new TextDecoder("utf-8", { fatal: true }).decode(bytes); } catch { return new TextDecoder("windows-1252").decode(bytes); }
};
/** The candidate that the first row has most of, outside quotes. */
const delimiterOf = (text) => {
  const counts = { ",": 0, ";": 0, "\t": 0, "|": 0 };
  let quoted = false;
  for (const letter of text) {
    if (letter === '"') quoted = !quoted;
    else if (!quoted && (letter === "\n" || letter === "\r")) break;
    else if (!quoted && letter in counts) counts[letter] += 1;
  }
  return Object.entries(counts).reduce((best, it) => (it[1] > best[1] ? it : best))[0];
};
/** The rows of a CSV text, each with its number in the file, without those that are empty. */
const parse = (text) => {
  const delimiter = delimiterOf(text), rows = [];
  let row = [], cell = "", quoted = false, number = 1, at = 0;
  const endCell = () => { row.push(cell); cell = ""; };
  const endRow = () => {
    endCell();
    if (row.some((it) => it.trim() !== "")) rows.push({ number, cells: row });
    row = [];
    number += 1;
  };
  for (; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') { cell += '"'; at += 1; }
      else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === delimiter) endCell();
    else if (letter === "\n") endRow();
    else if (letter === "\r") { if (text[at + 1] !== "\n") endRow(); }
    else cell += letter;
  }
  if (cell !== "" || row.length) endRow();
  return rows;
};
const quoted = (cell) => (/[",\n\r]|^\s|\s$/.test(cell) ? '"' + cell.replaceAll('"', '""') + '"' : cell);
/** A cell of a file for spreadsheets, which must not take it for a formula: with a guard, as an export writes it. The API reads it back. */
const harmless = (cell) => (/^'*[=+\-@\t\r]/.test(cell) ? "'" + cell : cell);
const unguarded = (cell) => (/^'+[=+\-@\t\r]/.test(cell) ? cell.slice(1) : cell);
const line = (cells) => cells.map(quoted).join(",") + "\r\n";

// -- The page --

/** @type {{headers: string[], rows: {number: number, cells: string[]}[]}} */
let file = null;
let refused = [], runId = null;
const fields = () => JSON.parse(box.dataset.fields);
const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
/** Other names under which files have these fields. */
const SYNONYMS = {
  email: ["mail", "emailaddress", "e-mail"], first_name: ["given name", "forename", "vorname", "firstname"], last_name: ["surname", "family name", "nachname", "lastname"],
  phone: ["telephone", "phone number", "mobile", "tel"], title: ["job title", "position", "role"], domain: ["website", "url", "web"], name: ["company", "company name", "deal", "deal name"], amount: ["value", "deal value"],
};
const guess = (header) => fields().find(({ name, label }) =>
  [name, label, ...(SYNONYMS[name] ?? [])].some((it) => plain(it) === plain(header)) || plain(name.replace(/^custom\./, "")) === plain(header))?.name ?? "";

const work = () => $("#import-work");
const chosen = () => $$("[data-column]", box).map((it) => it.value);
const query = () => {
  const parameters = new URLSearchParams({ table: box.dataset.table });
  chosen().forEach((field, at) => { if (field) parameters.append(`map[${at}]`, field); });
  return parameters;
};
/** Rows as a file in which the columns are numbered, because headers may be empty or the same. */
const part = (rows) => new Blob([line(file.headers.map((_, at) => String(at))) + rows.map(({ cells }) => line(cells.length < file.headers.length ? file.headers.map((_, at) => cells[at] ?? "") : cells)).join("")]);
const send = async (rows, headers) => {
  const { data, meta } = await api("POST", "imports?" + query(), part(rows), { "Content-Type": "text/csv", ...headers });
  // The rows of a part are numbered from 2 on, below the names.
  const back = ({ row, reason, hint }) => ({ row: rows[row - 2].number, cells: rows[row - 2].cells, reason: hintForPeople(hint) ? `${reason} ${hint}` : reason });
  return { ...data, refused: data.refused.map(back), meta };
};
const count = (number, one, many = one + "s") => `${number.toLocaleString("en-US")} ${number === 1 ? one : many}`;

const match = (header, at) => {
  const id = "column-" + at, select = el("select", { class: "pick", id, "data-column": at, autocomplete: "off" }, el("option", { value: "" }, "Leave out"));
  const wanted = guess(header);
  for (const { name, label } of fields()) select.append(el("option", { value: name, ...(name === wanted ? { selected: true } : {}) }, label));
  return el("div", { class: "field" }, el("label", { for: id }, header || `Column ${at + 1}`), select);
};

const show = (name) => {
  refused = [];
  const matches = el("div", { class: "matches" }, ...file.headers.map(match));
  const button = el("button", { type: "button", class: "btn main", "data-import": true }, icon("upload"), "Import");
  work().replaceChildren(
    el("section", { class: "sect", "aria-labelledby": "columns-heading" },
      el("header", {}, el("h2", { id: "columns-heading" }, "Columns")),
      el("p", { class: "soft" }, `${name}: ${count(file.rows.length, "row")}. Which field is each column of the file?`), matches),
    el("section", { class: "sect", "aria-labelledby": "preview-heading" },
      el("header", {}, el("h2", { id: "preview-heading" }, "Preview")),
      el("div", { id: "preview" }), el("p", { id: "tried", role: "status", class: "soft" })),
    el("p", { class: "btns" }, button),
    el("div", { id: "outcome", class: "form" }));
  preview();
};

/** The first rows by their fields, and what a dry run says of them. */
const preview = async () => {
  const used = chosen().map((field, at) => ({ field, at })).filter(({ field }) => field);
  const labels = Object.fromEntries(fields().map(({ name, label }) => [name, label]));
  const head = el("tr", {}, ...used.map(({ field }) => el("th", { scope: "col" }, labels[field])));
  const body = file.rows.slice(0, SHOWN).map(({ cells }) => el("tr", {}, ...used.map(({ at }) => el("td", {}, unguarded(cells[at] ?? "")))));
  const table = el("table", { class: "grid plain", "aria-label": "Preview" }, el("thead", {}, head), el("tbody", {}, ...body));
  $("#preview").replaceChildren(used.length
    ? el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "The first rows" }, table)
    : el("p", { class: "soft" }, "Choose a field for at least one column."));
  $("[data-import]").disabled = !used.length || !file.rows.length;
  $("#tried").textContent = "";
  if (!used.length || !file.rows.length) return;
  const asked = query().toString();
  try {
    const some = file.rows.slice(0, TRIED), tried = await send(some, { "X-Dry-Run": "true" });
    if (asked !== query().toString()) return;
    const of = some.length < file.rows.length ? `Of the first ${count(some.length, "row")}, ` : "";
    const words = `${count(tried.created, "is", "are")} new, ${count(tried.updated, "is", "are")} updated, ${tried.refused.length} would be refused.`;
    $("#tried").textContent = of + words + (tried.refused.length ? ` Row ${tried.refused[0].row}: ${tried.refused[0].reason}` : "");
  } catch (error) {
    if (asked === query().toString()) $("#tried").replaceChildren(...told(error));
  }
};

const run = async () => {
  runId = "import-" + new Date().toISOString().replace(/[:.]/g, "-") + "-" + Math.random().toString(36).slice(2, 8);
  refused = [];
  const totals = { created: 0, updated: 0 };
  const bar = el("progress", { max: file.rows.length, value: 0, "aria-label": "Import" });
  const said = el("p", { role: "status" });
  $("#outcome").replaceChildren(bar, said);
  for (const it of $$("select, input, button", box)) it.disabled = true;
  let sent = 0, stopped = null;
  try {
    for (; sent < file.rows.length; sent += PART) {
      const rows = file.rows.slice(sent, sent + PART);
      const done = await send(rows, { "X-Run-Id": runId, "X-Reason": "Import of a file" });
      totals.created += done.created;
      totals.updated += done.updated;
      refused.push(...done.refused);
      bar.value = Math.min(sent + PART, file.rows.length);
      said.textContent = `${bar.value.toLocaleString("en-US")} of ${count(file.rows.length, "row")}`;
    }
  } catch (error) { stopped = error; }
  for (const it of $$("select, input, button", box)) it.disabled = false;
  const kept = totals.created + totals.updated;
  said.replaceChildren(
    el("b", {}, `${count(totals.created, "record")} created`), `, ${totals.updated.toLocaleString("en-US")} updated, ${refused.length.toLocaleString("en-US")} refused.`,
    ...(stopped ? [` The import stopped after ${count(Math.min(sent, file.rows.length), "row")}.`] : []));
  if (stopped) alarm(stopped);
  const acts = el("p", { class: "btns" });
  if (refused.length) acts.append(el("button", { type: "button", class: "btn", "data-errors": true }, icon("download"), "Download errors"));
  if (kept) acts.append(el("button", { type: "button", class: "btn", "data-undo-import": true }, icon("undo-2"), "Undo"));
  acts.append(el("a", { class: "btn bare", href: box.dataset.back }, "Open the table"));
  const rows = refused.slice(0, 20).map(({ row, reason }) => el("tr", {}, el("td", { class: "num" }, String(row)), el("td", {}, reason)));
  $("#outcome").append(...(refused.length ? [el("table", { class: "grid plain", "aria-label": "Refused rows" },
    el("thead", {}, el("tr", {}, el("th", { class: "num", scope: "col" }, "Row"), el("th", { scope: "col" }, "Reason"))), el("tbody", {}, ...rows))] : []), acts);
};

if (box) {
  on("change", "#import-file", (input) => attempt(async () => {
    const [it] = input.files;
    if (!it) return;
    const [names, ...rows] = parse((await textOf(it)).replace(/^\ufeff/, ""));
    if (!names) throw new Error("The file is empty. Its first row names the columns.");
    file = { headers: names.cells.map((cell) => unguarded(cell.trim())), rows };
    show(it.name);
  }));
  on("change", "[data-column]", (select) => {
    // A field has one column.
    for (const other of $$("[data-column]", box)) if (other !== select && select.value && other.value === select.value) other.value = "";
    preview();
  });
  on("click", "[data-import]", run);
  on("click", "[data-errors]", () => {
    const text = line([...file.headers.map(harmless), "reason"]) + refused.map(({ cells, reason }) => line([...file.headers.map((_, at) => harmless(unguarded(cells[at] ?? ""))), harmless(reason)])).join("");
    const link = el("a", { href: URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" })), download: `${box.dataset.table}-errors.csv` });
    link.click();
    URL.revokeObjectURL(link.href);
  });
  on("click", "[data-undo-import]", (button) => attempt(async () => {
    button.disabled = true;
    try {
      const { data } = await api("POST", `runs/${encodeURIComponent(runId)}/undo`, {});
      button.remove();
      toast(`${count(data.undone, "record")} taken back.`);
    } finally { button.disabled = false; }
  }));
}
