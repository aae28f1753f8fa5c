// Tables of records: filters, columns, picked rows, cells that are edited in place, new records.
import { typedAmount } from "./amounts.js";
import { $, $$, alarm, api, attempt, el, on, onSubmit, refresh, remember, toast, whenShown } from "./core.js";
import { prepare, sent } from "./fields.js";

const many = (count) => `${count} ${count === 1 ? "row" : "rows"}`;

// -- Filters and columns --

onSubmit("[data-filter]", async (form) => {
  const { column, condition, value } = form.elements, to = new URL(location.href);
  for (const name of ["cursor", "back"]) to.searchParams.delete(name);
  to.searchParams.set(column.value + condition.value, value.value.trim());
  location.assign(to);
});
on("change", "[data-columns] input", async (it) => {
  const form = it.closest("form"), chosen = $$("input:checked", form).map((input) => input.name).join("~") || "~", to = new URL(location.href);
  remember(form.dataset.columns, chosen);
  to.searchParams.set("columns", chosen);
  history.replaceState(null, "", to);
  await refresh();
});

// -- New records --

document.addEventListener("opened", (event) => {
  const form = $("[data-new-record]", event.target);
  if (form) prepare(form);
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
on("click", "[data-delete-picked]", (it) => attempt(async () => {
  const table = encodeURIComponent($("[data-pickable]").dataset.table);
  const ids = ticks().filter((tick) => tick.checked).map((tick) => tick.closest("tr").dataset.id);
  it.disabled = true;
  try {
    const operations = ids.map((id) => ({ method: "DELETE", path: `/v1/${table}/${encodeURIComponent(id)}` }));
    const { requestId } = await api("POST", "batch", { operations });
    await refresh();
    toast(`${many(ids.length)} deleted.`, { undo: requestId });
  } finally { it.disabled = false; }
}));

// -- Cells --

const typed = (cell, text) => {
  if (!text) return null;
  if (cell.dataset.edit === "amount") return typedAmount(text, cell.dataset.currency);
  if (cell.dataset.edit === "email" && !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(text)) throw new Error("This is not an e-mail address.");
  if (cell.dataset.edit === "number" && cell.dataset.column.startsWith("custom.")) return Number(text);
  return text;
};
const edit = (cell) => {
  if ($("input", cell)) return;
  const kept = [...cell.childNodes], input = el("input", { "aria-label": cell.dataset.label, type: cell.dataset.edit === "date" ? "date" : "text" });
  input.value = cell.dataset.before;
  cell.classList.add("edit");
  cell.replaceChildren(input);
  input.select();
  let isDone = false;
  const leave = () => { isDone = true; cell.classList.remove("edit"); cell.replaceChildren(...kept); cell.focus(); };
  const save = async () => {
    const text = input.value.trim();
    if (text === cell.dataset.before) return leave();
    try {
      const value = typed(cell, text), column = cell.dataset.column, id = cell.closest("tr").dataset.id;
      const body = column.startsWith("custom.") ? { custom: { [column.slice(7)]: value } } : { [column]: value };
      isDone = true;
      const { requestId } = await api("PATCH", `${encodeURIComponent($("[data-pickable]").dataset.table)}/${encodeURIComponent(id)}`, body);
      await refresh();
      [...(rows().find((row) => row.dataset.id === id)?.cells ?? [])].find((it) => it.dataset.column === column)?.focus();
      toast("Saved.", { undo: requestId });
    } catch (error) {
      isDone = false;
      input.setAttribute("aria-invalid", "true");
      alarm(error);
      input.focus();
    }
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); save(); }
    if (event.key === "Escape") { event.stopPropagation(); leave(); }
  });
  input.addEventListener("blur", () => setTimeout(() => { if (!isDone && document.activeElement !== input) leave(); }, 0));
};
on("dblclick", "[data-edit]", edit);
on("keydown", "[data-edit]", (it, event) => { if (event.key === "Enter" && event.target === it) { event.preventDefault(); edit(it); } });

// -- Keys --

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
/** The row that was chosen last: its place, and its record. */
let at = -1, chosen;
const rows = () => $$("[data-pickable] tbody tr");
/** What the keys stop at in a cell: the cell, if it can be edited, or else its link. */
const stopIn = (cell) => cell.matches("[data-edit]") ? cell : $("a", cell);
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
