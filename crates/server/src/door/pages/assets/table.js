// Tables of records: filters, columns, picked rows, cells that are edited in place, new records. bulk.js acts on the picked rows.
import { typedAmount } from "./amounts.js";
import { edit } from "./cells.js";
import { $, $$, api, el, on, onSubmit, refresh, refuse, remember, toast, whenShown } from "./core.js";
import { candidates, prepare, sent } from "./fields.js";

// -- Filters and columns --

/** The most records that a filter names. */
const MOST_SOUGHT = 100;
const chosenIn = (form) => form.elements.column.selectedOptions[0].dataset;
const choicesOf = (form) => JSON.parse(chosenIn(form).choices ?? "[]");
/** Whether a value is typed: what is filled or empty needs none. */
const needsValue = (form) => form.elements.condition.selectedOptions[0].dataset.value === undefined;
/** Offers the conditions that fit the column, and the values that it has: names of records with suggestions, or a few choices. */
const shapeValue = (form) => {
  const { condition, value } = form.elements, { table, kind } = chosenIn(form), choices = choicesOf(form);
  for (const option of condition.options) option.disabled = option.hidden = option.dataset.kinds !== undefined && !option.dataset.kinds.split(" ").includes(kind);
  if (condition.selectedOptions[0].disabled) condition.selectedIndex = [...condition.options].findIndex((it) => !it.disabled);
  const own = { role: "combobox", "aria-expanded": "false", "aria-autocomplete": "list", "aria-controls": "filter-found", "data-kind": "record", "data-table": table };
  for (const [name, it] of Object.entries(own)) if (table) value.setAttribute(name, it); else value.removeAttribute(name);
  $("#filter-choices").replaceChildren(...choices.map(([, label]) => el("option", { value: label })));
  if (choices.length && !table) value.setAttribute("list", "filter-choices"); else value.removeAttribute("list");
  value.placeholder = { date: "2026-12-31", time: "2026-12-31 or 2026-12-31 09:30", amount: "1,234.50" }[kind] ?? "";
  value.disabled = value.closest(".field").hidden = !needsValue(form);
};
on("change", "[data-filter] [name=column], [data-filter] [name=condition]", ({ form }) => shapeValue(form));
/** The ids of the records whose names fit what was typed. */
const sought = async (form) => {
  const { condition, value } = form.elements, text = value.value.trim(), { table, id, named } = value.dataset, isOne = !["_contains", "_starts"].includes(condition.value);
  if (isOne && named === text && id) return [id];
  if (/^[a-z]{1,8}_[0-9a-z]{26}(,|$)/.test(text)) return text.split(",");
  const low = text.toLowerCase(), fits = { _contains: (name) => name.includes(low), _starts: (name) => name.startsWith(low) }[condition.value] ?? ((name) => name === low);
  return (await candidates(table, text, 200)).filter(({ name }) => fits(name.toLowerCase())).map((it) => it.id);
};
/** A value that the API would split at its commas. */
const whole = (text) => (/^"|,/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
/** A number without the commas between groups of three digits. */
const plain = (text) => text.replaceAll(/,(?=\d{3}(\D|$))/g, "");
const isDay = (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && new Date(text + "T00:00:00Z").toJSON()?.startsWith(text);
/** The moment that a person means: a day or a time of day in their zone. Whatever else it is, the API judges. */
const moment = (text) => {
  const [, day, time] = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2})?))?$/.exec(text) ?? [], at = day && new Date(`${day}T${time ?? "00:00"}`);
  return at && !Number.isNaN(at.getTime()) ? at.toISOString() : text;
};
/** What was typed, as the API takes it. Throws the reason why it can't be meant. */
const filterValue = async (form, to) => {
  const { condition, value } = form.elements, { kind } = chosenIn(form), choices = choicesOf(form), text = value.value.trim(), ofText = ["_contains", "_starts"].includes(condition.value);
  if (!needsValue(form)) return condition.selectedOptions[0].dataset.value;
  if (value.dataset.kind === "record") {
    const ids = await sought(form);
    if (ids.length > MOST_SOUGHT) throw new Error(`More than ${MOST_SOUGHT} records have such a name. Type more of it.`);
    if (kind === "records" && ids.length > 1) throw new Error("Several records have this name. Choose one of them.");
    if (!ids.length) throw new Error("No record has this name.");
    return ids.join(",");
  }
  if (ofText) return text;
  if (choices.length) {
    const key = (it) => (choices.find(([own]) => own === it) ?? choices.find(([, label]) => label.toLowerCase() === it.toLowerCase()))?.[0];
    const all = key(text) === undefined ? text.split(",").map((it) => it.trim()) : [text];
    const unknown = all.find((it) => key(it) === undefined);
    if (unknown !== undefined) throw new Error(`There is no “${unknown}”. There are ${choices.map(([, label]) => label).join(", ")}.`);
    return all.map((it) => whole(key(it))).join(",");
  }
  if (kind === "date" && !isDay(text)) throw new Error("This is not a date. A date is written like 2026-12-31.");
  if (kind === "time" && Number.isNaN(Date.parse(moment(text)))) throw new Error("This is not a time. A time is written like 2026-12-31 or 2026-12-31 09:30.");
  if (kind === "number" && !Number.isFinite(Number(plain(text)))) throw new Error("This is not a number.");
  // An amount is typed in the main unit; the API counts the smallest one.
  if (kind === "amount") return typedAmount(text, to.searchParams.get("currency"));
  if (kind === "number") return plain(text);
  if (kind === "time") return moment(text);
  return condition.value === "" && kind !== "date" ? whole(text) : text;
};
onSubmit("[data-filter]", async (form) => {
  const { column, condition, value } = form.elements, to = new URL(location.href);
  // A name stands for the ids of the records that have it.
  const parameter = column.value + (value.dataset.kind === "record" && chosenIn(form).kind === "record" && needsValue(form) ? "" : condition.value);
  for (const name of ["cursor", "back"]) to.searchParams.delete(name);
  try {
    const asked = await filterValue(form, to);
    // A page could only say that it can't be shown. Here what was typed can be changed.
    await api("GET", `${encodeURIComponent($("[data-table-of]").dataset.tableOf)}?limit=1&${encodeURIComponent(parameter)}=${encodeURIComponent(asked)}`);
    to.searchParams.set(parameter, asked);
  } catch (error) {
    if (error.status === 401 || value.disabled) throw error;
    refuse(value, [error.message, error.hint].filter(Boolean).join(" "));
    return value.focus();
  }
  location.assign(to);
});
on("change", "[data-columns] input", async (it) => {
  const form = it.closest("form"), chosen = $$("input:checked", form).map((input) => input.name).join("~") || "~", to = new URL(location.href);
  remember(form.dataset.columns, chosen);
  to.searchParams.set("columns", chosen);
  history.replaceState(null, "", to);
  // A head may be pressed before the page has come again.
  const sort = $("#sort"), kept = $("[name=columns]", sort);
  if (kept) kept.value = chosen; else sort?.append(el("input", { type: "hidden", name: "columns", value: chosen }));
  await refresh();
});

// -- New records --

document.addEventListener("opened", (event) => {
  const form = $("[data-new-record]", event.target), filter = $("[data-filter]", event.target);
  if (form) prepare(form);
  if (filter) shapeValue(filter);
});
on("click", "[data-new-record] [data-cancel]", (it) => it.closest("dialog").close());
onSubmit("[data-new-record]", (form) => sent(form, { onlyChanges: false }, async (body) => {
  const { requestId } = await api("POST", encodeURIComponent(form.dataset.table), body);
  form.closest("dialog").close();
  await refresh();
  toast("Created.", { undo: requestId });
}));

// -- Picked rows --

let last = 0;
const ticks = () => $$("[data-pick]");
const count = () => {
  const all = $("[data-all]"), table = $("[data-pickable]"), bar = $(".bulk"), picked = ticks().filter((it) => it.checked).length;
  if (!all || !bar) return;
  all.checked = picked > 0 && picked === ticks().length;
  all.indeterminate = picked > 0 && !all.checked;
  table.classList.toggle("any", picked > 0);
  bar.hidden = picked === 0;
  $("[data-picked]", bar).textContent = picked + " selected";
  document.dispatchEvent(new Event("picked"));
};
whenShown(count);
on("click", "[data-pick]", (it, event) => {
  const all = ticks(), at = all.indexOf(it);
  if (event.shiftKey) for (let row = Math.min(at, last); row <= Math.max(at, last); row++) all[row].checked = it.checked;
  last = at;
  count();
});
on("change", "[data-all]", (it) => { for (const tick of ticks()) tick.checked = it.checked; count(); });
const letGo = () => { for (const tick of ticks()) tick.checked = false; count(); };
on("click", "[data-unpick]", letGo);

// -- Cells --

on("dblclick", "[data-edit]", (cell, event) => { if (!event.target.closest("a")) edit(cell); });
on("keydown", "[data-edit]", (it, event) => {
  // Enter on the link opens the record; F2 edits the cell that it is in.
  const isWanted = event.key === "Enter" ? event.target === it : event.key === "F2";
  if (isWanted && !it.classList.contains("edit")) { event.preventDefault(); edit(it); }
});

// -- Keys --

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
/** The row that was chosen last: its place, and its record. */
let at = -1, chosen;
const rows = () => $$("[data-pickable] tbody tr");
/** What the keys stop at in a cell: the link to the record, or the cell, if it can be edited, or else its link. */
const stopIn = (cell) => cell.matches("[data-edit]:not([data-m=title])") ? cell : $("a", cell);
/** The cells of a row with a stop; a narrow window leaves some out. */
const cellsOf = (row) => [...row.cells].filter((cell) => cell.offsetWidth && stopIn(cell));
/** Tab leads to one cell, and the arrow keys to the others. */
const leadTo = (cell) => {
  for (const other of $$("[data-edit][tabindex='0']")) other.tabIndex = -1;
  cell.tabIndex = 0;
};
whenShown(() => {
  const all = rows(), row = all.find((it) => it.dataset.id === chosen), cell = $("[data-edit]", row ?? all[0]);
  row?.classList.add("at");
  if (row) at = all.indexOf(row);
  if (cell) leadTo(cell);
});
on("focusin", "[data-pickable] tbody tr", (row, event) => {
  for (const other of rows()) other.classList.toggle("at", other === row);
  at = rows().indexOf(row);
  chosen = row.dataset.id;
  if (event.target.matches("[data-edit]")) leadTo(event.target);
});
/** Moves by an arrow key from the cell that has the focus, or from the name of the chosen row. Answers whether it did. */
const moved = ([down, along]) => {
  const all = rows(), active = document.activeElement, row = active.closest("[data-pickable] tbody tr") ?? (active === document.body ? all[at] : null);
  if (!row) return false;
  const own = active.closest("td") ?? cellsOf(row)[0], place = own.cellIndex;
  const beside = cellsOf(row).filter((cell) => along * (cell.cellIndex - place) > 0), nextRow = all[all.indexOf(row) + down];
  const cell = along ? beside.at(along > 0 ? 0 : -1) : nextRow && (cellsOf(nextRow).find((it) => it.cellIndex === place) ?? cellsOf(nextRow)[0]);
  if (cell) stopIn(cell).focus();
  return Boolean(cell);
};
addEventListener("keydown", (event) => {
  if (event.target.matches?.("input:not([type=checkbox]), textarea, select") || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  const all = rows(), step = { j: 1, k: -1 }[event.key], arrow = ARROWS[event.key];
  if (step && all.length) $("a", all[Math.max(0, Math.min(all.length - 1, at + step))]).focus();
  else if (arrow && !event.shiftKey && moved(arrow)) event.preventDefault();
  else if (event.key === "x" && all[at]) $("[data-pick]", all[at])?.click();
  else if (event.key === "Escape") letGo();
});
