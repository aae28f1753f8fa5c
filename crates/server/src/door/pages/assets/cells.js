// Cells that are edited in place. The page has a template of the field of each column (form.rs); a cell holds what it begins with.
import { typedAmount } from "./amounts.js";
import { $, $$, alarm, api, refresh, toast } from "./core.js";
import { fill, isChanged, valueOf } from "./fields.js";

/** The fields that edit a cell, mostly one: a contact's name has two. */
const fieldsOf = (cell) => {
  const { column, label, before, id, also, alsoLabel, alsoBefore } = cell.dataset, own = [{ column, label, before, id }];
  if (also) own.push({ column: also, label: alsoLabel, before: alsoBefore });
  return own.flatMap((it) => {
    const all = document.querySelector(`template[data-editor="${CSS.escape(it.column)}"]`).content.cloneNode(true), input = $("[data-kind]", all);
    input.setAttribute("aria-label", it.label);
    input.removeAttribute("aria-describedby");
    if (it.id) Object.assign(input.dataset, { id: it.id, named: it.before });
    fill(input, it.before, cell.closest("tr").dataset.pipeline);
    return [...all.children];
  });
};
const body = async (cell, inputs) => {
  const body = {};
  for (const input of inputs.filter(isChanged)) {
    if (input.matches("input[type=text]")) input.value = input.value.trim();
    const isAmount = input.dataset.kind === "amount" && input.value;
    const value = isAmount ? typedAmount(input.value, cell.dataset.currency) : await valueOf(input);
    if (input.name.startsWith("custom.")) (body.custom ??= {})[input.name.slice(7)] = value; else body[input.name] = value;
  }
  return body;
};

// Somebody may edit the next cell when one is saved. Then the page is renewed once that has ended.
let isStale = false;
const isEditing = () => Boolean($("td.edit"));
const renew = async () => { isStale = !await refresh(location.href, isEditing); };
const said = (input) => input.matches("select") ? input.selectedOptions[0]?.text : input.matches("[type=checkbox]") ? (input.checked ? "yes" : "no") : input.value;

export const edit = (cell) => {
  if (cell.classList.contains("edit")) return;
  const kept = [...cell.childNodes], { table } = $("[data-pickable]").dataset, { id } = cell.closest("tr").dataset, { column } = cell.dataset;
  cell.replaceChildren(...fieldsOf(cell));
  cell.classList.add("edit");
  const inputs = $$("[data-kind]", cell);
  inputs[0].focus();
  inputs[0].select?.();
  let state = "open", note;
  // Where somebody has gone on meanwhile, the focus stays.
  const focusAgain = () => {
    const row = $$("[data-pickable] tbody tr").find((it) => it.dataset.id === id);
    if (document.activeElement === document.body) [...(row?.cells ?? [])].find((it) => it.dataset.column === column)?.focus();
  };
  const calm = () => {
    note?.remove();
    for (const input of inputs) for (const name of ["aria-invalid", "aria-describedby"]) input.removeAttribute(name);
  };
  const leave = (takesFocus) => {
    state = "left";
    calm();
    cell.classList.remove("edit");
    cell.replaceChildren(...kept);
    if (takesFocus) cell.focus();
    if (isStale) renew().then(() => { if (takesFocus) focusAgain(); });
  };
  const save = async (takesFocus) => {
    if (state !== "open") return;
    calm();
    if (!inputs.some(isChanged)) return leave(takesFocus);
    state = "sent";
    try {
      const { requestId } = await api("PATCH", `${encodeURIComponent(table)}/${encodeURIComponent(id)}`, await body(cell, inputs));
      cell.classList.remove("edit");
      cell.replaceChildren(inputs.map(said).join(" "));
      await renew();
      if (takesFocus) focusAgain();
      toast("Saved.", { undo: requestId });
    } catch (error) {
      state = "open";
      note = alarm(error);
      const input = error.input ?? inputs.find((it) => it.name === error.body?.field) ?? inputs.find(isChanged);
      note.id = "cell-refusal";
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", note.id);
      input.focus();
    }
  };
  cell.addEventListener("keydown", (event) => {
    const input = event.target;
    if (state !== "open" || !inputs.includes(input)) return;
    // An open list of suggestions takes these keys first.
    const isListed = input.getAttribute("aria-expanded") === "true";
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !(isListed && input.hasAttribute("aria-activedescendant"))) {
      event.preventDefault();
      event.stopPropagation();
      save(true);
    } else if (event.key === "Escape" && !isListed) {
      event.stopPropagation();
      leave(true);
    }
  });
  // Where the focus goes to another place, a text is left as it was. A choice has been made, and is kept.
  cell.addEventListener("focusout", () => setTimeout(() => {
    if (state !== "open" || cell.contains(document.activeElement) || !document.hasFocus()) return;
    if (!note?.isConnected && inputs.every((it) => it.matches("select, [type=checkbox]"))) save(false); else leave(false);
  }, 0));
};
