// What is done to several rows at once: a field is set, the rows are added to a list or deleted. Each act is one batch under one run. It is
// tried as a dry run first, and applied with the number of changes that the dry run found as its limit.
import { shownAmount, typedAmount } from "./amounts.js";
import { diffOf, learnCurrencies, label as plainLabel, shown as plainShown } from "./changes.js";
import { $, $$, alarm, api, attempt, el, icon, on, onSubmit, openDialog, refresh, refuse, toast, told } from "./core.js";
import { Refusal, fill, recordName, valueOf } from "./fields.js";

/** The changes that a preview lists. */
const LISTED = 10;
const WAIT_MS = 400;
const number = (count) => count.toLocaleString("en-US");
const many = (count) => `${number(count)} ${count === 1 ? "row" : "rows"}`;
const table = () => $("[data-pickable]").dataset.table;
/** The selected rows. */
const picked = () => $$("[data-pick]:checked").map((tick) => {
  const { id, pipeline, currency } = tick.closest("tr").dataset;
  return { id, pipeline, currency, name: $("a.name", tick.closest("tr")).textContent };
});
const pathOf = ({ id }) => `/v1/${encodeURIComponent(table())}/${encodeURIComponent(id)}`;

// -- What would change --

const send = (operations, headers) => api("POST", "batch", { operations: operations.map(({ method, path, body, ref }) => ({ method, path, body, ref })) }, headers);
/** Tries operations. One that is refused is left out, with the reason, if it is of one row. */
const tried = async (operations) => {
  const kept = [...operations], refused = [];
  while (kept.length) {
    try {
      const { meta } = await send(kept, { "X-Dry-Run": "true" });
      return { kept, refused, affected: meta.affected, changes: meta.changes };
    } catch (error) {
      const at = error.body?.operation, row = kept[at]?.row;
      if (!row) throw error;
      refused.push({ row, error });
      kept.splice(at, 1);
    }
  }
  return { kept, refused, affected: {}, changes: [] };
};
const counts = (affected) => Object.entries(affected).flatMap(([name, verbs]) => Object.entries(verbs).map(([verb, count]) => ({ name, verb, count }))).filter(({ count }) => count);
const sum = (affected) => counts(affected).reduce((all, { count }) => all + count, 0);
const VERBS = { created: "created", updated: "changed", deleted: "deleted", restored: "restored" };
/** What else would change, in words: "2 rows of shipments deleted". */
const others = (affected, own) => counts(affected).filter(({ name, verb }) => name !== own.table || verb !== own.verb)
  .map(({ name, verb, count }) => `${many(count)} of ${name} ${VERBS[verb]}`);

/** Applies what was tried, as one run. */
const perform = ({ kept, affected }, reason) => {
  const run = `bulk-${new Date().toISOString().replace(/[:.]/g, "-")}-${Math.random().toString(36).slice(2, 8)}`;
  // A header takes no other letters.
  return send(kept, { "X-Max-Affected": String(sum(affected)), "X-Run-Id": run, "X-Reason": reason.replace(/[^\x20-\x7e]/g, "?") });
};

// -- The acts --

const deletion = () => picked().map((row) => ({ row, method: "DELETE", path: pathOf(row) }));
const field = (form) => {
  const select = form.elements["bulk-column"];
  return { name: select.value, label: select.selectedOptions[0].text, input: $("[data-new-value] [data-kind]", form) };
};
const ACTS = {
  set: {
    own: () => ({ table: table(), verb: "updated" }),
    operations: async (form) => {
      const { name, input } = field(form), isAmount = input.dataset.kind === "amount" && input.value.trim();
      const value = isAmount ? null : await valueOf(input);
      const read = (row) => {
        try { return isAmount ? typedAmount(input.value, row.currency) : value; } catch (error) { throw new Refusal(input, error.message); }
      };
      const body = (value) => name.startsWith("custom.") ? { custom: { [name.slice(7)]: value } } : { [name]: value };
      return picked().map((row) => ({ row, method: "PATCH", path: pathOf(row), body: body(read(row)) }));
    },
    button: (count) => `Change ${many(count)}`, would: (count) => `${many(count)} would change.`, same: "hold this value already", cant: "can’t be changed",
    done: (count) => `${many(count)} changed.`, reason: (form) => `Set ${field(form).name} of selected rows`,
  },
  list: {
    own: () => ({ table: "list_members", verb: "created" }),
    operations: (form) => {
      const list = form.elements["bulk-list"].value, ids = picked().map(({ id }) => id);
      const add = { method: "POST", path: `/v1/lists/${list ? encodeURIComponent(list) : "$list.id"}/members`, body: { member_ids: ids } };
      const make = { method: "POST", path: "/v1/lists", ref: "list", body: { name: form.elements["bulk-list-name"].value.trim(), kind: "static", target_table: form.dataset.target } };
      return list ? [add] : [make, add];
    },
    button: (count) => `Add ${many(count)}`, would: (count, form) => `${many(count)} would be added to “${listName(form)}”.`, same: "are on it already",
    done: (count, form) => `${many(count)} added to “${listName(form)}”.`, reason: () => "Add selected rows to a list",
  },
  delete: {
    own: () => ({ table: table(), verb: "deleted" }),
    operations: deletion,
    button: (count) => `Delete ${many(count)}`,
    would: (count, form) => `${many(count)} would be deleted. ${"soft" in form.dataset ? "A deleted record can be restored." : "Only Undo brings rows of this table back."}`,
    same: "are deleted already", cant: "can’t be deleted", done: (count) => `${many(count)} deleted.`, reason: () => "Delete selected rows",
  },
};
const listName = (form) => {
  const { "bulk-list": list, "bulk-list-name": name } = form.elements;
  return list.value ? list.selectedOptions[0].text : name.value.trim();
};

// -- The preview --

/** The field of a column, as a template. */
const editorOf = (name) => $(`template[data-editor="${CSS.escape(name)}"]`)?.content.querySelector("[data-kind]");
const labelOf = (name) => [...($("#bulk-column")?.options ?? [])].find((it) => it.value === name)?.text ?? plainLabel(name);
/** The names of the records that changed references lead to, by table and id. */
const namesOf = async (changes) => {
  const ids = {}, names = new Map();
  for (const { changes: columns } of changes) for (const [name, sides] of Object.entries(columns)) {
    const to = editorOf(name)?.dataset.table;
    if (to) (ids[to] ??= new Set([])).add(sides.from).add(sides.to);
  }
  for (const [to, some] of Object.entries(ids)) {
    some.delete(null);
    try {
      const { data } = await api("GET", `${encodeURIComponent(to)}?include_deleted=true&limit=200&id=${[...some].map(encodeURIComponent).join(",")}`);
      for (const it of data) names.set(`${to} ${it.id}`, recordName(to, it));
    } catch { /* The ids are shown. */ }
  }
  return names;
};
const wordsOf = (names, row) => ({
  label: labelOf,
  shown: (name, value, currency) => {
    const editor = editorOf(name), { kind, table: to } = editor?.dataset ?? {};
    if (kind === "amount") return shownAmount(value, currency ?? row?.currency);
    if (kind === "choice") return [...editor.options].find((it) => it.value === value)?.text ?? plainShown(name, value);
    if (kind === "bool") return value ? "yes" : "no";
    return plainShown(name, to ? names.get(`${to} ${value}`) ?? value : value);
  },
});
const note = (tone, name, ...children) => el("div", { class: "note " + tone }, icon(name), el("div", {}, ...children));

/** Shows what was tried: how many rows, the first of them with their values, what else would change, and what can't. */
const tell = async (form, act, found) => {
  const own = act.own(), count = found.affected[own.table]?.[own.verb] ?? 0, all = picked();
  const rest = all.length - count - found.refused.length, beside = others(found.affected, own);
  const changes = found.changes.filter(({ table: name, verb }) => name === own.table && verb === own.verb).slice(0, LISTED);
  await learnCurrencies(changes);
  const names = await namesOf(own.verb === "updated" ? changes : []), byId = new Map(all.map((row) => [row.id, row]));
  const item = (change) => {
    const row = byId.get(String(change.changes.member_id?.to ?? change.id));
    return el("li", {}, el("b", {}, row?.name ?? String(change.id)), own.verb === "updated" ? diffOf(change, wordsOf(names, row)) : null);
  };
  const parts = [el("p", {}, el("b", {}, count ? act.would(count, form) : "Nothing would change."), ...(rest > 0 ? [` ${number(rest)} ${act.same}.`] : []))];
  if (beside.length) parts.push(note("wait", "circle-alert", el("p", {}, `With them: ${beside.join(", ")}.`)));
  if (found.refused.length) {
    parts.push(note("bad", "circle-alert", el("p", {}, el("b", {}, `${many(found.refused.length)} ${act.cant}`), " and would be left as they are:"),
      el("ul", { class: "conflicts" }, ...found.refused.slice(0, LISTED).map(({ row, error }) => el("li", {}, el("b", {}, row.name), ": ", ...inWords(error))),
        found.refused.length > LISTED ? el("li", { class: "soft" }, `And ${number(found.refused.length - LISTED)} more.`) : null)));
  }
  if (changes.length) {
    parts.push(el("ol", { class: "net", tabindex: "0", "aria-label": "What would change" }, ...changes.map(item),
      count > changes.length ? el("li", { class: "soft" }, `And ${number(count - changes.length)} more.`) : null));
  }
  $("[data-preview]", form).replaceChildren(...parts);
  return count;
};
const inWords = (error) => error.code === "conflict" ? ["Another record has this value already."] : told(error);

const applyButton = (form) => $("[type=submit]", form);
/** Takes the preview back: something else is asked. */
const reset = (form) => {
  form.found = null;
  $("[data-preview]", form).replaceChildren();
  Object.assign(applyButton(form), { textContent: "Preview", disabled: false });
};
const preview = async (form) => {
  const act = ACTS[form.dataset.bulk], operations = await act.operations(form);
  const asked = (form.asked = (form.asked ?? 0) + 1), found = await tried(operations);
  // Something else may have been typed meanwhile.
  if (asked !== form.asked || !form.isConnected) return;
  const count = await tell(form, act, found);
  form.found = count ? { ...found, count } : null;
  if (!count) return;
  applyButton(form).textContent = act.button(count);
  applyButton(form).classList.toggle("danger", act === ACTS.delete);
};
const close = async (text, requestId) => {
  $("dialog[open]")?.close();
  await refresh();
  $("[data-all]")?.focus({ preventScroll: true });
  toast(text, { undo: requestId });
};
/** Applies what the preview showed. If more would change by now, nothing does, and the preview is made again. */
const apply = async (form) => {
  const act = ACTS[form.dataset.bulk], { found } = form;
  try {
    const { requestId } = await perform(found, act.reason(form));
    await close(act.done(found.count, form), requestId);
  } catch (error) {
    if (error.code !== "max_affected_exceeded") throw error;
    reset(form);
    await preview(form);
    $("[data-preview]", form).prepend(el("p", { class: "note bad", role: "alert", "data-form-error": true }, icon("circle-alert"),
      el("span", {}, "More would change now than was shown, so nothing was changed. This is what would change now.")));
  }
};
onSubmit("[data-bulk]", async (form) => {
  try {
    await (form.found ? apply(form) : preview(form));
  } catch (error) {
    reset(form);
    if (!(error instanceof Refusal)) throw error;
    refuse(error.input, error.message);
    error.input.focus();
  }
});
for (const type of ["input", "change"]) on(type, "[data-bulk]", (form) => { form.asked = (form.asked ?? 0) + 1; reset(form); });

// -- The dialogs --

/** The field for the new value, as the cells of the column have it. Stages are those that all selected pipelines have. */
const showField = (form) => {
  const name = form.elements["bulk-column"].value, place = $("[data-new-value]", form);
  const all = $(`template[data-editor="${CSS.escape(name)}"]`).content.cloneNode(true), input = $("[data-kind]", all);
  const pipelines = new Set(picked().map(({ pipeline }) => pipeline)), stages = $$("option[data-pipeline]", input), seen = new Set();
  for (const option of stages) {
    const here = new Set(stages.filter((it) => it.value === option.value).map((it) => it.dataset.pipeline));
    if (seen.has(option.value) || [...pipelines].some((it) => it && !here.has(it))) option.remove();
    seen.add(option.value);
  }
  fill(input, "");
  if (["pipeline", "stage"].includes(name)) input.required = true;
  input.removeAttribute("aria-describedby");
  const words = input.required || input.dataset.kind === "bool" ? null : el("p", { class: "soft small", id: "new-value-note" }, input.dataset.kind === "texts" ? "One a line. Left empty, the field is emptied." : "Left empty, the field is emptied.");
  if (words) input.setAttribute("aria-describedby", words.id);
  place.replaceChildren(el("label", { for: input.id }, "New value"), all, ...(words ? [words] : []));
};
on("change", "#bulk-column", (select) => showField(select.form));
const showLists = async (form) => {
  const select = form.elements["bulk-list"];
  const { data } = await api("GET", `lists?kind=static&target_table=${encodeURIComponent(form.dataset.target)}&limit=200`);
  select.prepend(...data.map(({ id, name }) => el("option", { value: id }, name)));
  select.selectedIndex = 0;
  select.disabled = false;
  chooseList(select);
  if (select.closest("dialog").contains(document.activeElement)) select.focus();
};
const chooseList = (select) => {
  const isNew = !select.value;
  $("[data-new-list]", select.form).hidden = !isNew;
  select.form.elements["bulk-list-name"].disabled = !isNew;
};
on("change", "#bulk-list", chooseList);
document.addEventListener("opened", (event) => {
  const form = $("[data-bulk]", event.target);
  if (form?.dataset.bulk === "set") showField(form);
  if (form?.dataset.bulk === "list") attempt(() => showLists(form));
  if (form?.dataset.bulk === "delete") form.requestSubmit();
});

// -- Deleting --

// Rows that can come back and take nothing with them need no dialog: the bar says what would be deleted before the button is pressed.
let foreseen, timer;
const key = () => picked().map(({ id }) => id).join("\n");
const foresee = async () => {
  const chosen = key();
  if (foreseen?.chosen !== chosen) foreseen = { chosen, found: tried(deletion()) };
  return foreseen.found;
};
const deleted = ({ affected }) => affected[table()]?.deleted ?? 0;
const isPlain = (found) => !found.refused.length && deleted(found) === picked().length && sum(found.affected) === deleted(found);
const sayForeseen = async () => {
  const said = $("[data-foreseen]"), chosen = key();
  if (!said || !chosen) return;
  try {
    const found = await foresee();
    if (key() !== chosen || !said.isConnected) return;
    const beside = others(found.affected, ACTS.delete.own());
    said.textContent = `Delete takes ${[many(deleted(found)), ...beside].join(", ")}${found.refused.length ? `; ${number(found.refused.length)} can’t be deleted` : ""}`;
  } catch { foreseen = undefined; }
};
document.addEventListener("picked", () => {
  const said = $("[data-foreseen]");
  if (said) said.textContent = "";
  foreseen = undefined;
  clearTimeout(timer);
  timer = setTimeout(sayForeseen, WAIT_MS);
});
on("click", "[data-delete-picked]", async (button) => {
  button.disabled = true;
  try {
    const found = await foresee();
    if (!isPlain(found)) return openDialog("foresee-deletion");
    const { requestId } = await perform(found, ACTS.delete.reason());
    await close(ACTS.delete.done(found.kept.length), requestId);
  } catch (error) {
    foreseen = undefined;
    if (error.code === "max_affected_exceeded") openDialog("foresee-deletion"); else alarm(error);
  } finally { button.disabled = false; }
});
