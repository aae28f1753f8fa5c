// The form of a record, as form.rs writes it: reads what people typed as the API takes it, finds references by name, and shows
// refusals at their fields. The stages follow the pipeline.
import { decimalsOf, typedAmount } from "./amounts.js";
import { $, $$, api, el, on, refuse, showRefusal } from "./core.js";

/** A value that can't be read: it is refused at its field. */
export class Refusal extends Error {
  constructor(input, message) {
    super(message);
    this.input = input;
  }
}

const currencyOf = (form) => form?.elements.namedItem("currency");
const amount = (input) => {
  try {
    return typedAmount(input.value, currencyOf(input.form)?.value);
  } catch (error) {
    throw new Refusal(input, error.message);
  }
};
const isAddress = (text) => /^[^\s@<>(),;:"]+@[^\s@<>(),;:"]+\.[^\s@<>(),;:".]+$/.test(text);
const isNumber = (text) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);

/** The record that a reference names. A name must name exactly one. */
export const referred = async (input) => {
  const text = input.value.trim();
  if (text === input.dataset.named && input.dataset.id) return input.dataset.id;
  if (/^[a-z]{1,8}_[0-9a-z]{26}$/.test(text)) return text;
  const found = (await candidates(input.dataset.table, text)).filter((it) => it.name.toLowerCase() === text.toLowerCase());
  if (found.length === 1) return found[0].id;
  throw new Refusal(input, found.length ? "Several records have this name. Choose one of them." : "No record has this name.");
};

const readers = {
  text: (input) => input.value,
  choice: (input) => input.value,
  date: (input) => input.value,
  bool: (input) => input.checked,
  email: (input) => {
    const text = input.value.trim();
    if (!isAddress(text)) throw new Refusal(input, "This is not an e-mail address.");
    return text;
  },
  number: (input) => {
    const text = input.value.trim().replaceAll(/,(?=\d{3}(\D|$))/g, "");
    if (!isNumber(text)) throw new Refusal(input, "This is not a number.");
    return input.name.startsWith("custom.") ? Number(text) : text;
  },
  amount,
  texts: (input) => input.value.split("\n").map((line) => line.trim()).filter(Boolean),
  time: (input) => new Date(input.value).toISOString(),
  json: (input) => {
    try { return JSON.parse(input.value); } catch { throw new Refusal(input, "This is not JSON."); }
  },
  record: referred,
};

/** Whether the text of an amount means another number than before, because the currency has other decimals now. */
const meansOther = (input) => {
  const currency = input.dataset.kind === "amount" && currencyOf(input.form);
  return currency && decimalsOf(currency.value) !== decimalsOf(currency.dataset.before ?? currency.defaultValue);
};
export const isChanged = (input) => meansOther(input) || (input.dataset.kind === "bool" ? input.checked !== input.defaultChecked
  : input instanceof HTMLSelectElement ? input.value !== (input.dataset.before ?? "") : input.value !== (input.dataset.before ?? input.defaultValue));

const isEmpty = (input) => input.dataset.kind !== "bool" && !input.value.trim();
/** What a field says, as a value of the API. */
export const valueOf = async (input) => {
  if (isEmpty(input)) return input.dataset.kind === "texts" ? [] : null;
  return readers[input.dataset.kind](input);
};
/** Puts a value into a field, as form.rs writes it: what the field begins with. Stages are those of the record's pipeline. */
export const fill = (input, before, pipeline) => {
  if (input.dataset.kind === "bool") {
    input.checked = input.defaultChecked = before === "true";
    return;
  }
  if (pipeline) for (const option of $$("option[data-pipeline]", input)) if (option.dataset.pipeline !== pipeline) option.remove();
  // A column that must have a value offers no empty one.
  if (before && (input.required || ["pipeline", "stage"].includes(input.name))) $("option[value='']", input)?.remove();
  if (input instanceof HTMLSelectElement && ![...input.options].some((it) => it.value === before)) input.prepend(el("option", { value: before }, before));
  input.value = input.dataset.kind === "time" ? localTime(before) : before;
  input.dataset.before = input.value;
};

/** What a form says, as the body of a request. With `only_changes`, without the fields that were left as they were. */
export const said = async (form, { onlyChanges }) => {
  const body = {};
  for (const input of $$("[data-kind]", form)) {
    if (onlyChanges && !isChanged(input)) continue;
    if (isEmpty(input) && !onlyChanges) continue;
    // A column that must have a value gets false; others keep their default.
    if (input.dataset.kind === "bool" && !onlyChanges && !input.checked && !("always" in input.dataset)) continue;
    const value = await valueOf(input);
    const key = input.name.startsWith("custom.") ? input.name.slice(7) : null;
    if (key === null) body[input.name] = value; else (body.custom ??= {})[key] = value;
  }
  return body;
};

/** Whether somebody has filled in a form for a new record. It begins with a place in a pipeline and with a currency. */
const isFilled = (form) => $$("[data-kind]", form).some((input) => isChanged(input) && !["pipeline", "stage", "currency"].includes(input.name));
/** Sends a form by `send(body)`, and shows a refusal at its field. */
export const sent = async (form, options, send) => {
  try {
    if (!options.onlyChanges && !isFilled(form)) throw new Error("Nothing is filled in. Fill in at least one field.");
    return await send(await said(form, options));
  } catch (error) {
    if (error instanceof Refusal) {
      refuse(error.input, error.message);
      error.input.focus();
      return undefined;
    }
    const own = "custom." + error.body?.field;
    if (form.elements.namedItem(own)) error.body.field = own;
    if (error.code === "conflict") {
      const column = /Key \((?:lower\()?"?(\w+)/.exec(error.message)?.[1];
      if (column) error.body.field = column;
      error.message = "Another record has this already.";
      error.hint = undefined;
    }
    showRefusal(form, error);
    return undefined;
  }
};

/** A moment in the person's zone, as a field of a time takes it. */
const localTime = (moment) => {
  const at = new Date(moment);
  return Number.isNaN(at.getTime()) ? "" : new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
};
/** Makes a form ready: times in the person's zone, the stages of the pipeline, and what the fields begin with. */
export const prepare = (form) => {
  for (const input of $$("[data-moment]", form)) {
    input.value = localTime(input.dataset.moment);
    input.dataset.before = input.value;
  }
  chooseStages(form);
  for (const input of $$("select[data-kind]", form)) input.dataset.before = input.value;
};
const chooseStages = (form) => {
  const { pipeline, stage } = form.elements;
  if (!(pipeline instanceof HTMLSelectElement) || !(stage instanceof HTMLSelectElement)) return;
  form.stages ??= [...stage.options];
  const was = stage.value, own = form.stages.filter((it) => !it.dataset.pipeline || it.dataset.pipeline === pipeline.value);
  stage.replaceChildren(...own);
  stage.value = own.some((it) => it.value === was) ? was : own[0]?.value ?? "";
};
on("change", "select[name=pipeline][data-kind]", (it) => chooseStages(it.form));

// -- References --

/** The name of a record. */
export const recordName = (table, it) => {
  if (table === "contacts") return [it.first_name, it.last_name].filter(Boolean).join(" ") || it.email || it.id;
  if (table === "companies") return it.name || it.domain || it.id;
  return it.name ?? it.title ?? it.subject ?? it.label ?? it.code ?? String(it.id);
};
const searched = ["contacts", "companies", "deals", "activities", "emails", "lists"];
/** Records whose names may fit a text, best first. */
export const candidates = async (table, text, limit = 8) => {
  const path = searched.includes(table) && text ? `${table}/search?limit=${limit}&q=${encodeURIComponent(text)}` : `${encodeURIComponent(table)}?limit=${limit}`;
  const { data } = await api("GET", path);
  const beside = (it) => it.email ?? it.domain ?? "";
  return data.map((it) => ({ id: String(it.id), name: recordName(table, it), beside: beside(it) }));
};
let asked = 0, timer;
const close = (input) => {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  if (list) list.hidden = true;
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
};
const choose = (input, option) => {
  Object.assign(input.dataset, { id: option.dataset.id, named: option.dataset.named });
  input.value = option.dataset.named;
  close(input);
};
const offer = async (input) => {
  const number = ++asked, list = document.getElementById(input.getAttribute("aria-controls"));
  const found = await candidates(input.dataset.table, input.value.trim()).catch(() => []);
  if (number !== asked || !list || document.activeElement !== input) return;
  list.replaceChildren(...found.map((it, at) => el("li", { role: "option", id: `${list.id}-${at}`, "aria-selected": "false", "data-id": it.id, "data-named": it.name },
    el("span", {}, it.name), el("span", { class: "faint cut" }, it.beside))));
  list.hidden = found.length === 0;
  input.setAttribute("aria-expanded", String(found.length > 0));
};
on("input", "[data-kind=record]", (input) => {
  clearTimeout(timer);
  timer = setTimeout(() => offer(input), 150);
});
on("focusout", "[data-kind=record]", close);
// The option is chosen before the field loses the focus.
on("mousedown", ".found [role=option]", (option, event) => {
  event.preventDefault();
  choose($(`[aria-controls="${option.parentNode.id}"]`), option);
});
on("keydown", "[data-kind=record]", (input, event) => {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  if (!list || list.hidden) return;
  const options = $$("[role=option]", list), at = options.findIndex((it) => it.getAttribute("aria-selected") === "true");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    const next = options.at((at + step) % options.length) ?? options[0];
    options.forEach((it) => it.setAttribute("aria-selected", String(it === next)));
    input.setAttribute("aria-activedescendant", next.id);
  } else if (event.key === "Enter" && at >= 0) choose(input, options[at]);
  else if (event.key === "Escape") { close(input); event.stopImmediatePropagation(); }
  else return;
  event.preventDefault();
});
