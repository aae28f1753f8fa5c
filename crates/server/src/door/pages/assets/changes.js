// How the changes of a dry run are told: names of records, values before and after, amounts in their currencies.
import { shownAmount } from "./amounts.js";
import { $$, api, el } from "./core.js";

const MOST_CHARACTERS = 200;
const text = (value) => {
  if (value === null || value === undefined) return "nothing";
  const all = typeof value === "object" ? JSON.stringify(value) : String(value);
  return all.length > MOST_CHARACTERS ? all.slice(0, MOST_CHARACTERS) + "…" : all;
};
/** A value of a column as people read it. */
export const shown = (column, value, currency) => text(column === "amount_cents" && typeof value === "number" ? shownAmount(value, currency) : value);
export const label = (column) => column === "amount_cents" ? "amount" : column;
const MOST_DEALS = 100;
/** The currencies of the deals whose amounts are told, by id: a change has only the columns that it changed. */
export const currencies = new Map();
export const learnCurrencies = async (items) => {
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
export const nameOf = (table, id, columns = {}) => {
  const onPage = $$("main [data-record]").find((it) => [it.dataset.record, it.dataset.id].includes(String(id)));
  if (onPage) return onPage.dataset.name ?? onPage.textContent;
  const value = (column) => columns[column]?.to ?? columns[column]?.from;
  const full = [value("first_name"), value("last_name")].filter(Boolean).join(" ");
  return full || value("name") || value("title") || value("subject") || value("email") || (typeof id === "object" ? JSON.stringify(id) : String(id));
};

const QUIET = new Set(["id", "created_at", "updated_at", "deleted_at"]);
/** The changed columns with their values before and after; null if there are none to tell. The keys of `custom` stand for themselves, as
 *  `custom.key` to the words of the page. */
export const diffOf = (change, words = {}) => {
  const lines = el("dl", { class: "diff" }), said = words.label ?? label, read = words.shown ?? shown;
  const currency = (side) => change.changes.currency?.[side] ?? currencies.get(change.id);
  const is = (value) => value !== null && value !== undefined && !(typeof value === "object" && Object.keys(value).length === 0);
  for (const [column, { from, to }] of Object.entries(change.changes ?? {})) {
    const inside = column === "custom" && [from, to].some((it) => it && typeof it === "object");
    const pairs = inside
      ? [...new Set([...Object.keys(from ?? {}), ...Object.keys(to ?? {})])].map((key) => [words.label ? "custom." + key : key, from?.[key], to?.[key]])
      : [[column, from, to]];
    for (const [name, was, back] of pairs) {
      if (QUIET.has(name) || JSON.stringify(was ?? null) === JSON.stringify(back ?? null) || (!is(was) && !is(back))) continue;
      lines.append(el("div", {}, el("dt", {}, said(name)),
        el("dd", {}, is(was) ? el("del", {}, read(name, was, currency("from"))) : null, el("ins", {}, is(back) ? read(name, back, currency("to")) : "nothing"))));
    }
  }
  return lines.childElementCount ? lines : null;
};
