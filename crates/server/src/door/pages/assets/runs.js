// "Undo run": a dialog that shows by a dry run what each change goes back to. A conflict is reported, and nothing is undone
// unless the person chooses to leave the conflicting records as they are.

import { shownAmount } from "./amounts.js";
import { $, $$, on, el, icon, api, attempt, refresh, toast, told } from "./core.js";

const MOST_CHARACTERS = 200;
const REASONS = {
  changed_since: "was changed since", row_gone: "is gone", row_exists: "exists again", unique_taken: "would repeat a value that must be unique",
  parent_gone: "refers to a record that is gone", would_remove_others: "cannot go, because others refer to it", schema_changed: "its table has changed since",
  not_permitted: "is protected",
};
const VERBS = { created: "create", updated: "change", deleted: "remove", restored: "restore" };

const text = (value) => {
  if (value === null || value === undefined) return "nothing";
  const all = typeof value === "object" ? JSON.stringify(value) : String(value);
  return all.length > MOST_CHARACTERS ? all.slice(0, MOST_CHARACTERS) + "…" : all;
};
const shown = (column, value, currency) => text(column === "amount_cents" && typeof value === "number" ? shownAmount(value, currency) : value);
const label = (column) => column === "amount_cents" ? "amount" : column;
const MOST_DEALS = 100;
/** The currencies of the deals whose amounts are told, by id: a change has only the columns that it changed. */
const currencies = new Map();
const learnCurrencies = async (items) => {
  const ids = items.filter((it) => it.table === "deals" && (it.changes ?? it.columns)?.amount_cents).map((it) => it.id).filter((id) => !currencies.has(id));
  for (let at = 0; at < ids.length; at += MOST_DEALS) {
    const some = ids.slice(at, at + MOST_DEALS).map(encodeURIComponent).join(",");
    try {
      const { data } = await api("GET", `deals?include_deleted=true&limit=${MOST_DEALS}&id=${some}`);
      for (const deal of data) currencies.set(deal.id, deal.currency);
    } catch { /* The amounts are shown without their currency. */ }
  }
};
/** The name of a record: as the page says it, or from its own columns. */
const nameOf = (table, id, columns = {}) => {
  const onPage = $$("main [data-record]").find((it) => [it.dataset.record, it.dataset.id].includes(String(id)));
  if (onPage) return onPage.dataset.name ?? onPage.textContent;
  const value = (column) => columns[column]?.to ?? columns[column]?.from;
  const full = [value("first_name"), value("last_name")].filter(Boolean).join(" ");
  return full || value("name") || value("title") || value("subject") || value("email") || (typeof id === "object" ? JSON.stringify(id) : String(id));
};

const QUIET = new Set(["id", "created_at", "updated_at", "deleted_at"]);
const diffOf = (change) => {
  const lines = el("dl", { class: "diff" });
  const currency = (side) => change.changes.currency?.[side] ?? currencies.get(change.id);
  const is = (value) => value !== null && value !== undefined && !(typeof value === "object" && Object.keys(value).length === 0);
  for (const [column, { from, to }] of Object.entries(change.changes ?? {})) {
    const inside = column === "custom" && [from, to].some((it) => it && typeof it === "object");
    const pairs = inside
      ? [...new Set([...Object.keys(from ?? {}), ...Object.keys(to ?? {})])].map((key) => [key, from?.[key], to?.[key]])
      : [[column, from, to]];
    for (const [name, was, back] of pairs) {
      if (QUIET.has(name) || JSON.stringify(was ?? null) === JSON.stringify(back ?? null) || (!is(was) && !is(back))) continue;
      lines.append(el("div", {}, el("dt", {}, label(name)),
        el("dd", {}, is(was) ? el("del", {}, shown(name, was, currency("from"))) : null, el("ins", {}, is(back) ? shown(name, back, currency("to")) : "nothing"))));
    }
  }
  return lines.childElementCount ? lines : null;
};
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
const undoPath = (run) => `runs/${encodeURIComponent(run)}/undo`;
const dry = (run, body) => api("POST", undoPath(run), body, { "X-Dry-Run": "true" });

const open = async (button) => {
  currencies.clear();
  const run = await runId(button);
  const title = button.dataset.title ?? "Undo run";
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
      const { data, requestId } = await api("POST", undoPath(run), body);
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
    await list(await dry(run, {}));
  } catch (error) {
    if (error.code !== "undo_conflict") return say(error);
    await report(error);
    try {
      const rest = await dry(run, { on_conflict: "skip" });
      if (rest.data.undone > 0) await list(rest); else skip.hidden = true;
    } catch { skip.hidden = true; }
  }
};

on("click", "[data-undo-run]", (button) => attempt(async () => {
  if ($("dialog.undo-run")) return;
  button.disabled = true;
  try { await open(button); } finally { button.disabled = false; }
}));
