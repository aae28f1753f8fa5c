// "Undo run", and "Undo change" of a request: a dialog that shows by a dry run what each change goes back to. A conflict is reported, and nothing is undone
// unless the person chooses to leave the conflicting records as they are.

import { currencies, diffOf, label, learnCurrencies, nameOf, shown } from "./changes.js";
import { $, on, el, icon, api, attempt, refresh, toast, told } from "./core.js";

const REASONS = {
  changed_since: "was changed since", row_gone: "is gone", row_exists: "exists again", unique_taken: "would repeat a value that must be unique",
  parent_gone: "refers to a record that is gone", would_remove_others: "cannot go, because others refer to it", schema_changed: "its table has changed since",
  not_permitted: "is protected",
};
const VERBS = { created: "create", updated: "change", deleted: "remove", restored: "restore" };

const changeItem = (change) => el("li", {},
  el("p", {}, el("span", { class: "soft" }, VERBS[change.verb] ?? change.verb), " ", el("b", {}, nameOf(change.table, change.id, change.changes)), " ",
    el("span", { class: "meta" }, change.table)),
  change.verb === "deleted" && change.hard ? null : diffOf(change));
const conflictItem = (conflict) => {
  const columns = el("ul", {}), told = (column, side) => shown(column, conflict.columns[column][side], conflict.columns.currency?.[side] ?? currencies.get(conflict.id));
  for (const column of Object.keys(conflict.columns ?? {})) {
    columns.append(el("li", {}, el("code", {}, label(column)), ": expected ", el("q", {}, told(column, "expected")), ", now ", el("q", {}, told(column, "now")),
      ", would go back to ", el("q", {}, told(column, "back_to"))));
  }
  return el("li", {}, el("b", {}, nameOf(conflict.table, conflict.id)), " ", el("span", { class: "meta" }, conflict.table), " " + (REASONS[conflict.reason] ?? conflict.reason),
    columns.childElementCount ? columns : null);
};

/** The id of the run that a button names. A caller's own name for a run names it only together with the actor. */
const runId = async (button) => {
  const { undoRun: run, actor } = button.dataset;
  if (run.startsWith("run_") || !actor) return run;
  const { data } = await api("GET", `runs?limit=1&actor=${encodeURIComponent(actor)}&run_id=${encodeURIComponent(run)}`);
  if (!data.length) throw new Error("This run is not kept any more.");
  return data[0].id;
};
/** Where the undo of a button's run, or of its request, is asked for. */
const undoPath = async (button) => button.dataset.undoRequest ? `requests/${encodeURIComponent(button.dataset.undoRequest)}/undo` : `runs/${encodeURIComponent(await runId(button))}/undo`;

const open = async (button) => {
  currencies.clear();
  const path = await undoPath(button), dry = (body) => api("POST", path, body, { "X-Dry-Run": "true" });
  const title = button.dataset.title ?? (button.dataset.undoRequest ? "Undo change" : "Undo run");
  const content = el("div", { class: "form" });
  const undo = el("button", { type: "button", class: "btn main", "data-undo-now": true }, title);
  const skip = el("button", { type: "button", class: "btn", hidden: true }, "Leave those, put back the rest");
  const close = el("button", { type: "button", class: "btn bare", "data-close": true }, "Cancel");
  const dialog = el("dialog", { class: "undo-run", "aria-labelledby": "undo-heading" },
    el("div", {}, el("h2", { id: "undo-heading" }, title), content, el("p", { class: "btns" }, undo, skip, close)));
  dialog.addEventListener("close", () => dialog.remove());

  const report = async (error) => {
    const conflicts = error.body.conflicts ?? [];
    await learnCurrencies(conflicts);
    const note = el("div", { class: "note bad", role: "alert" }, icon("circle-alert"),
      el("div", {}, el("p", {}, el("b", {}, "Conflict: nothing is undone. "), error.message), el("ul", { class: "conflicts" }, ...conflicts.map(conflictItem))));
    $("[role=alert]", content)?.remove();
    content.prepend(note);
    skip.hidden = conflicts.length === 0;
  };
  const list = async ({ data, meta }) => {
    const changes = meta.changes ?? [];
    await learnCurrencies(changes);
    const rest = data.undone - changes.length;
    content.append(
      el("p", { class: "soft" }, `${data.undone} ${data.undone === 1 ? "record" : "records"} would go back to what stood there before:`),
      el("ol", { class: "net", tabindex: "0", "aria-label": "What goes back" }, ...changes.map(changeItem),
        meta.changes_truncated || rest > 0 ? el("li", { class: "soft" }, "And more: only the first are listed.") : null));
    for (const effect of data.not_undone ?? []) content.append(el("p", { class: "note wait" }, icon("circle-alert"), el("span", {}, `Cannot be taken back: ${effect.effect.replaceAll("_", " ")}`)));
  };
  const perform = async (body) => {
    undo.disabled = skip.disabled = true;
    try {
      const { data, requestId } = await api("POST", path, body);
      dialog.close();
      await refresh();
      const skipped = data.skipped?.length ? `, ${data.skipped.length} left as they are` : "";
      toast(`Undone: ${data.undone} ${data.undone === 1 ? "record" : "records"} put back${skipped}.`, { undo: requestId });
    } catch (error) {
      if (error.code === "undo_conflict") await report(error);
      else say(error);
    } finally {
      undo.disabled = skip.disabled = false;
    }
  };
  const say = (error) => {
    $("[role=alert]", content)?.remove();
    content.prepend(el("p", { class: "note bad", role: "alert" }, icon("circle-alert"), el("span", {}, ...told(error))));
  };
  undo.addEventListener("click", () => perform({}));
  skip.addEventListener("click", () => perform({ on_conflict: "skip" }));
  document.body.append(dialog);
  dialog.showModal();
  try {
    await list(await dry({}));
  } catch (error) {
    if (error.code !== "undo_conflict") return say(error);
    await report(error);
    try {
      const rest = await dry({ on_conflict: "skip" });
      if (rest.data.undone > 0) await list(rest); else skip.hidden = true;
    } catch { skip.hidden = true; }
  }
};

on("click", "[data-undo-run], [data-undo-request]", (button) => attempt(async () => {
  if ($("dialog.undo-run")) return;
  button.disabled = true;
  try { await open(button); } finally { button.disabled = false; }
}));
