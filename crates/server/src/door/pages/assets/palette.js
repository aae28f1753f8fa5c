// The search: records of all kinds and the pages, by a few letters. Answers that come too late are dropped.
import { shownAmount } from "./amounts.js";
import { $, $$, api, el, icon, on } from "./core.js";

const KINDS = {
  contact: ["Contacts", "contact-round", "contacts"], company: ["Companies", "building-2", "companies"], deal: ["Deals", "square-kanban", "deals"],
  activity: ["Activities", "notebook-pen", "activities"], email: ["E-mails", "mail", "emails"], list: ["Lists", "list", "lists"],
};
const name = (it) => [it.first_name, it.last_name].filter(Boolean).join(" ") || it.name || it.subject || it.domain || it.email
  || it.body?.split("\n")[0] || it.type || it.id;
const beside = (it) => ({
  contact: it.title || it.email, company: it.domain, deal: it.amount_cents === null ? it.stage : shownAmount(it.amount_cents, it.currency),
  activity: it.type, email: it.from_addr, list: it.target_table,
})[it.object] ?? "";

let number = 0, timer, isLate = false, opensFirst = false;
const parts = () => {
  const dialog = $("dialog.palette");
  return dialog && { dialog, input: $("input", dialog), list: $("[role=listbox]", dialog), count: $("[role=status]", dialog) };
};

const pages = (words) => $$("nav[aria-label=Main] a").map((it) => ({ href: it.getAttribute("href"), label: it.textContent.trim(), icon: $("use", it)?.getAttribute("href").split("#")[1] }))
  .filter((it) => it.label.toLowerCase().includes(words.toLowerCase()));

const option = (href, label, more, name) => el("div", { role: "option", "aria-selected": "false", "data-href": href },
  icon(name), el("span", { class: "label" }, label), el("span", { class: "faint cut push" }, more));
const group = (title, options) => options.length ? el("li", { role: "group", "aria-label": title }, el("span", { class: "title", "aria-hidden": "true" }, title), ...options) : null;

const show = (found, words) => {
  const { list, count, input } = parts() ?? {};
  if (!list) return;
  const kinds = [...new Set(found.map((it) => it.object))].filter((kind) => KINDS[kind]);
  const groups = kinds.map((kind) => group(KINDS[kind][0], found.filter((it) => it.object === kind)
    .map((it) => option(`/${KINDS[kind][2]}/${encodeURIComponent(it.id)}`, name(it), beside(it), KINDS[kind][1]))));
  groups.push(group("Go to", pages(words).slice(0, words ? 6 : 20).map((it) => option(it.href, it.label, "", it.icon ?? "arrow-right"))));
  list.replaceChildren(...groups.filter(Boolean));
  const options = $$("[role=option]", list);
  options.forEach((it, at) => { it.id = `found-${at}`; });
  select(options[0]);
  const message = options.length === 1 ? "1 result" : `${options.length} results`;
  count.textContent = words ? message : "";
  list.classList.toggle("empty", options.length === 0);
  if (!options.length) list.replaceChildren(el("li", { class: "faint none", role: "option", "aria-disabled": "true", "aria-selected": "false" }, `Nothing is found for “${input.value.trim()}”.`));
};
const select = (it) => {
  const { input, list } = parts() ?? {};
  if (!list) return;
  for (const other of $$("[aria-selected=true]", list)) other.setAttribute("aria-selected", "false");
  if (!it) return input.removeAttribute("aria-activedescendant");
  it.setAttribute("aria-selected", "true");
  it.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", it.id);
};
const open = (it, inNewTab) => {
  if (!it?.dataset.href) return;
  if (inNewTab) window.open(it.dataset.href, "_blank", "noopener"); else location.assign(it.dataset.href);
};

const search = async (words) => {
  const mine = ++number, q = encodeURIComponent(words);
  const of = (path, object) => api("GET", path).then(({ data }) => data.map((it) => (object ? { object, ...it } : it)), () => []);
  const found = (await Promise.all([of(`search?limit=12&q=${q}`), of(`emails/search?limit=3&q=${q}`, "email"), of(`lists/search?limit=3&q=${q}`, "list")])).flat();
  if (mine !== number || !parts()) return;
  isLate = false;
  show(found, words);
  if (opensFirst) open($("[role=option]", parts().list));
  opensFirst = false;
};
on("input", "dialog.palette input", (input) => {
  clearTimeout(timer);
  number += 1;
  opensFirst = false;
  const words = input.value.trim();
  isLate = words !== "";
  if (!words) return show([], "");
  timer = setTimeout(() => search(words), 120);
});
on("keydown", "dialog.palette", (dialog, event) => {
  const { list, input } = parts(), options = $$("[role=option]:not([aria-disabled])", list), at = options.findIndex((it) => it.getAttribute("aria-selected") === "true");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && options.length) {
    select(options.at((at + step) % options.length));
    event.preventDefault();
  } else if (event.key === "Escape") {
    // A search field would only be emptied by it.
    event.preventDefault();
    dialog.close();
  } else if (event.key === "Enter") {
    event.preventDefault();
    // The results of what was typed last may be on their way.
    if (isLate) { opensFirst = true; clearTimeout(timer); search(input.value.trim()); } else open(options[at], event.ctrlKey || event.metaKey);
  }
});
on("click", "dialog.palette [role=option]", (it, event) => open(it, event.ctrlKey || event.metaKey));
document.addEventListener("opened", (event) => { if (event.target.matches(".palette")) show([], ""); });
