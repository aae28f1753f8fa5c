// Tables of records: filters, columns, picked rows, cells that are edited in place, new records. bulk.js acts on the picked rows.
import { typedAmount } from "./amounts.js";
import { edit } from "./cells.js";
import { $, $$, api, el, on, onSubmit, refresh, refuse, remember, toast, whenShown } from "./core.js";
import { candidates, prepare, sent } from "./fields.js";

// -- Filters and columns --

/** The conditions that the names of records can have. */
const OF_NAMES = ["", "_contains", "_starts", "_present"];
/** The most records that a filter names. */
const MOST_SOUGHT = 100;
/** Makes the value of a reference a name, with suggestions. */
const shapeValue = (form) => {
  const { column, condition, value } = form.elements, { table } = column.selectedOptions[0].dataset;
  for (const option of condition.options) option.disabled = option.hidden = Boolean(table) && !OF_NAMES.includes(option.value);
  if (condition.selectedOptions[0].disabled) condition.value = "";
  const own = { role: "combobox", "aria-expanded": "false", "aria-autocomplete": "list", "aria-controls": "filter-found", "data-kind": "record", "data-table": table };
  for (const [name, it] of Object.entries(own)) if (table && condition.value !== "_present") value.setAttribute(name, it); else value.removeAttribute(name);
};
on("change", "[data-filter] [name=column], [data-filter] [name=condition]", ({ form }) => shapeValue(form));
/** The ids of the records whose names fit what was typed. */
const sought = async ({ condition, value }) => {
  const text = value.value.trim(), { table, id, named } = value.dataset;
  if (!condition.value && named === text && id) return [id];
  if (/^[a-z]{1,8}_[0-9a-z]{26}(,|$)/.test(text)) return text.split(",");
  const low = text.toLowerCase(), fits = { "": (name) => name === low, _contains: (name) => name.includes(low), _starts: (name) => name.startsWith(low) }[condition.value];
  return (await candidates(table, text, 200)).filter(({ name }) => fits(name.toLowerCase())).map((it) => it.id);
};
onSubmit("[data-filter]", async (form) => {
  const { column, condition, value } = form.elements, to = new URL(location.href);
  for (const name of ["cursor", "back"]) to.searchParams.delete(name);
  if (value.dataset.kind === "record") {
    const ids = await sought(form.elements), many = ids.length > MOST_SOUGHT;
    if (!ids.length || many) {
      refuse(value, many ? `More than ${MOST_SOUGHT} records have such a name. Type more of it.` : "No record has this name.");
      return value.focus();
    }
    to.searchParams.set(column.value, ids.join(","));
    return location.assign(to);
  }
  // An amount is typed in the main unit; the API counts the smallest one.
  const isAmount = "amount" in column.selectedOptions[0].dataset && condition.value !== "_present";
  let typed = value.value.trim();
  try { if (isAmount) typed = typedAmount(typed, to.searchParams.get("currency")); } catch (error) {
    refuse(value, error.message);
    return value.focus();
  }
  to.searchParams.set(column.value + condition.value, typed);
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
