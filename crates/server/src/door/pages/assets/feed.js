// The ledger and what comes while a page is open: new entries, Undo of an entry, filters that apply at once.

import { $, $$, on, api, attempt, refresh, toast, whenShown } from "./core.js";

// -- Filters --

on("change", "[data-filters] select", (it) => it.form.requestSubmit());
on("submit", "[data-filters]", (form) => {
  // An empty field is no filter, and keeps the address short.
  for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of $$("[data-filters] :disabled")) field.disabled = false;
});

// -- Undo of an entry --

on("click", "[data-undo-entry]", (it) => attempt(async () => {
  it.disabled = true;
  try {
    const { data, requestId } = await api("POST", `activity/${encodeURIComponent(it.dataset.undoEntry)}/undo`, {});
    await refresh();
    toast(data.undone === 0 ? "There was nothing left to undo." : "Undone.", { undo: requestId });
  } finally {
    it.disabled = false;
  }
}));

// -- What comes while the page is open --

// The page is read again when the API has something new. At its top new entries are shown at once; elsewhere, or while
// somebody works with what is there, they wait behind a button, so that nothing moves.
const EVERY = 2000, MOST_KNOWN = 500;
let known, isPaused = false, timer;

const idsOnPage = () => $$("main [data-entry]").map((it) => it.dataset.entry);
const newest = () => idsOnPage().reduce((one, other) => (one > other ? one : other), "");
const isAtTop = () => scrollY < 80 && $$("main, main .stream, main .scroller").every((it) => it.scrollTop < 80);
const isBusy = () => {
  const active = document.activeElement, main = $("#main");
  return Boolean($("dialog[open]") || $("main details[open]") || (active !== main && main.contains(active)));
};
const show = async () => {
  const before = new Set(idsOnPage());
  await refresh();
  for (const it of $$("main [data-entry]")) if (before.size && !before.has(it.dataset.entry)) it.classList.add("fresh");
};
const tellWaiting = (count) => {
  const button = $("[data-fresh]"), status = $("[data-fresh-count]");
  if (!button) return;
  button.hidden = count === 0;
  const text = count ? `${count} new` : "";
  if (button.textContent !== text) button.textContent = text;
  if (status && status.textContent !== text) status.textContent = text;
};
const look = async () => {
  const live = $("[data-live]");
  if (!live || isPaused || document.hidden) return;
  let rows;
  try { rows = (await api("GET", live.dataset.live)).data ?? []; } catch { return; }
  // A run counts as new again when it has changed.
  const now = rows.map((row) => row.last_at ? `${row.id} ${row.last_at} ${row.status}` : row.id);
  // At the first look the page's newest entry tells what came after the page was made. Ids sort by time.
  known ??= new Set(live.dataset.live.startsWith("runs") ? now : now.filter((id) => id <= newest()));
  const fresh = now.filter((id) => !known.has(id)).length;
  if (!fresh) return;
  if (isAtTop() && !isBusy()) {
    for (const id of now) known.add(id);
    if (known.size > MOST_KNOWN) known = new Set(now);
    tellWaiting(0);
    await show();
  } else {
    tellWaiting(fresh);
  }
};
const next = () => {
  clearTimeout(timer);
  const live = $("[data-live]");
  if (live) timer = setTimeout(async () => { await look(); next(); }, Number(live.dataset.liveEvery || 0) * 1000 || EVERY);
};
const tellState = () => {
  const state = $("[data-live-state]"), pause = $("[data-pause]");
  if (state) state.hidden = isPaused;
  if (pause) {
    pause.hidden = false;
    pause.setAttribute("aria-pressed", String(isPaused));
  }
};
on("click", "[data-fresh]", async () => {
  known = undefined;
  for (const it of $$("main, main .stream, main .scroller")) it.scrollTop = 0;
  scrollTo(0, 0);
  await show();
  await look();
});
on("click", "[data-pause]", () => { isPaused = !isPaused; tellState(); if (!isPaused) look(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
whenShown(tellState);
look().then(next);
