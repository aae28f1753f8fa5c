// What every page does: calls to the API, toasts, dialogs, menus, the switches of the sidebar, times, keys.
// There is no inline handler, no eval and no style attribute, so that it runs under script-src 'self'; style-src 'self'.

export const $ = (query, at = document) => at.querySelector(query);
export const $$ = (query, at = document) => [...at.querySelectorAll(query)];
/** Listens on the document for events of elements that a query names, those too that come later. */
export const on = (type, query, act) => document.addEventListener(type, (event) => {
  const it = event.target.closest?.(query);
  if (it) act(it, event);
});
/** Makes an element: el("a", { href: "/", class: "btn" }, "Home", other). Text is never read as HTML. */
export const el = (name, attributes = {}, ...children) => {
  const it = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) it.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) it.setAttribute(key, value);
  }
  it.append(...children.filter((child) => child !== null && child !== undefined));
  return it;
};
/** An icon of the sprite, for elements that scripts make. */
export const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", new URL("icons.svg", import.meta.url).pathname + "#" + name);
  svg.append(use);
  return svg;
};
export const page = document.body.dataset;
export const mayWrite = "mayWrite" in page;

/** What a hint contains that speaks of the API to a program: the server says it. */
const forPrograms = JSON.parse($('meta[name="for-programs"]').content);
/** What a hint says to people: nothing, if it is for a program. */
export const hintForPeople = (hint) => (forPrograms.some((mark) => hint?.includes(mark)) ? undefined : hint);
/** A refusal by the API: its status, code, message, hint for people and whole body. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message || "This did not work. Try again in a while.");
    Object.assign(this, { status, code: body?.error, hint: hintForPeople(body?.hint), body: body || {} });
  }
}
/** What went wrong, as nodes: the message and its hint, or the way to the sign-in if the session has ended. */
export const told = (error) => {
  if (error?.status !== 401) return [(error instanceof Error ? error.message : String(error)) + (error?.hint ? " " + error.hint : "")];
  const next = encodeURIComponent(location.pathname + location.search);
  return ["You are signed out, and nothing was saved. ", el("a", { class: "link", href: "/login?next=" + next }, "Sign in"), " to go on."];
};

/** Calls the API as the person, in the workspace and mode that this page shows. `path` begins behind /v1/, `read` reads the text
 *  of the answer. Answers { data, meta, status, requestId }, or throws an ApiError. */
export const api = async (method, path, body, headers = {}, read = JSON.parse) => {
  // A browser would resolve such a segment, so that a text in a path could lead to another path.
  if (path.split("?")[0].split("/").some((segment) => /^(\.|%2e){1,2}$/i.test(segment))) throw new ApiError(0, { message: "This address leads nowhere." });
  let reply;
  try {
    reply = await fetch("/app/v1/" + path, {
      method, credentials: "same-origin",
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }), "X-CSRF-Token": page.csrf,
        "X-Kith-Workspace": page.workspace || "", "X-Kith-Mode": page.mode, ...headers,
      },
      body: body === undefined ? undefined : typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, { message: "The server can't be reached just now." });
  }
  const answer = await reply.text().then((text) => read(text)).catch(() => null);
  if (!reply.ok) throw new ApiError(reply.status, answer);
  return { data: answer?.data, meta: answer?._meta ?? {}, status: reply.status, requestId: reply.headers.get("x-request-id") };
};

// -- Toasts and alerts --

let timer, lastUndo;
/** Says something for six seconds. With `undo`, the id of a request, or a call [method, path, body] that takes it back, it
 *  offers the way back. */
export const toast = (text, { undo } = {}) => {
  const it = $("#toast");
  it.replaceChildren(el("span", {}, text));
  if (undo) {
    lastUndo = undo;
    const button = el("button", { type: "button", class: "btn mini" }, "Undo");
    button.addEventListener("click", () => takeBack(undo));
    it.append(button);
  }
  it.showPopover?.();
  clearTimeout(timer);
  timer = setTimeout(() => { it.hidePopover?.(); it.replaceChildren(el("span")); }, undo ? 10000 : 6000);
};
/** Says what went wrong, until it is closed or something else is said. Answers the note. */
export const alarm = (error) => {
  const close = el("button", { type: "button", class: "btn mini bare", "aria-label": "Close" }, icon("x"));
  // The note has the role, not its place: an empty alert would be one more that is found.
  const note = el("p", { class: "note bad", role: "alert" }, icon("circle-alert"), el("span", {}, ...told(error)), close);
  close.addEventListener("click", () => note.remove());
  $("#alerts").replaceChildren(note);
  return note;
};
/** Runs something and says what went wrong, if anything did. */
export const attempt = async (act) => {
  try { return await act(); } catch (error) { alarm(error); return undefined; }
};
const takeBack = (undo) => attempt(async () => {
  await (typeof undo === "string" ? api("POST", `requests/${encodeURIComponent(undo)}/undo`, {}) : api(...undo));
  lastUndo = undefined;
  await refresh();
  toast("Undone.");
});
/** Leads to another page, which then says something. */
export const leaveWithToast = (address, text, options) => {
  try { sessionStorage.setItem("kith_toast", JSON.stringify([text, options])); } catch { /* It is only a word less. */ }
  location.assign(address);
};

// -- The page in place --

/** Loads the page again and puts its content in the place of the old one, without a jump, unless it is busy by then. Answers whether it did. */
export const refresh = async (address = location.href, isBusy = () => false) => {
  const reply = await fetch(address, { credentials: "same-origin", headers: { Accept: "text/html" } });
  if (reply.redirected && new URL(reply.url).pathname === "/login") return location.assign(reply.url);
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  if (isBusy()) return false;
  const scrolled = $$("main, main .scroller, main .board").map((it) => [it.scrollLeft, it.scrollTop]);
  $("#main").replaceChildren(...fresh.querySelector("#main").childNodes);
  $(".page > .top").replaceWith(fresh.querySelector(".page > .top"));
  $("aside nav").replaceWith(fresh.querySelector("aside nav"));
  document.title = fresh.title;
  $$("main, main .scroller, main .board").forEach((it, at) => { if (scrolled[at]) [it.scrollLeft, it.scrollTop] = scrolled[at]; });
  ready();
  return true;
};
const starters = [];
/** Runs something now, and again each time the page's content has been replaced. */
export const whenShown = (act) => { starters.push(act); act(); };
const ready = () => { for (const act of starters) act(); };

// -- Dialogs and menus --

/** Opens a dialog of the page: its template is copied, and the copy goes when it is closed. Answers the dialog. */
export const openDialog = (id) => {
  const open = $(`dialog[data-of="${id}"]`), template = document.getElementById(id);
  if (open || !template) return open;
  const dialog = template.content.cloneNode(true).firstElementChild;
  dialog.dataset.of = id;
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  dialog.dispatchEvent(new CustomEvent("opened", { bubbles: true }));
  return dialog;
};
on("click", "[data-open]", (it) => {
  it.closest("dialog")?.close();
  it.closest("[popover]:popover-open")?.hidePopover();
  openDialog(it.dataset.open);
});
on("click", "[data-close]", (it) => it.closest("dialog").close());
on("click", "dialog", (it, event) => { if (event.target === it) it.close(); });
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.(".menu") || event.newState !== "open") return;
  const opener = document.querySelector(`[popovertarget="${menu.id}"]`);
  if (opener) {
    // The style sheet's own place goes first: under it, left and top would be counted from the button.
    Object.assign(menu.style, { positionArea: "none", positionTryFallbacks: "none", margin: "0", inset: "0 auto auto 0" });
    const at = opener.getBoundingClientRect(), size = menu.getBoundingClientRect();
    const left = menu.matches(".end") ? at.right - size.width : at.left, isLow = menu.matches(".up") || at.bottom + size.height + 8 > innerHeight;
    menu.style.left = Math.max(8, Math.min(left, innerWidth - size.width - 8)) + "px";
    menu.style.top = Math.max(8, isLow && at.top - size.height - 4 >= 8 ? at.top - size.height - 4 : Math.min(at.bottom + 4, innerHeight - size.height - 8)) + "px";
  }
  $("a, button, input, select", menu)?.focus({ focusVisible: false });
}, true);
on("keydown", ".menu", (menu, event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const all = $$("a, button, input", menu), next = all.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  all.at(next % all.length).focus();
  event.preventDefault();
});
/** Asks before something is destroyed. Answers whether the person agrees. */
export const confirmed = async (title, text, button) => await chosen(title, text, [["yes", button, "danger main"]]) === "yes";
/** Asks with these buttons, each a value, a text and classes, and one that cancels. Returns the value of the chosen one. */
export const chosen = (title, text, buttons) => new Promise((answer) => {
  const dialog = el("dialog", { "aria-labelledby": "confirm-heading" },
    el("form", { method: "dialog", class: "form" }, el("h2", { id: "confirm-heading" }, title), el("p", { class: "soft" }, text),
      el("p", { class: "btns" }, ...buttons.map(([value, name, classes]) => el("button", { class: `btn ${classes}`, value }, name)),
        el("button", { class: "btn bare", value: "" }, "Cancel"))));
  dialog.addEventListener("close", () => { answer(dialog.returnValue); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
});

// -- Forms --

/** Marks a field as refused: aria-invalid, and the message as its description. What was typed stays. */
export const refuse = (input, message) => {
  const id = (input.id || input.name) + "-error", field = input.closest(".field") ?? input.parentElement;
  document.getElementById(id)?.remove();
  input.setAttribute("aria-invalid", "true");
  field.append(el("p", { class: "error", id }, icon("circle-alert"), el("span", {}, message)));
  const known = (input.getAttribute("aria-describedby") || "").split(" ").filter((it) => it && it !== id);
  input.setAttribute("aria-describedby", [...known, id].join(" "));
};
/** Takes back what `refuse` said of a field. */
const unrefuseField = (input) => {
  input.removeAttribute("aria-invalid");
  const ids = (input.getAttribute("aria-describedby") || "").split(" "), rest = ids.filter((id) => id && !id.endsWith("-error"));
  if (rest.length) input.setAttribute("aria-describedby", rest.join(" ")); else input.removeAttribute("aria-describedby");
  for (const note of $$(":scope > .error", input.closest(".field") ?? input.parentElement)) if (ids.includes(note.id)) note.remove();
};
/** Takes back what `refuse` and a failed sending said. */
export const unrefuse = (form) => {
  for (const input of $$("[aria-invalid]", form)) unrefuseField(input);
  for (const note of $$(".error, [data-form-error]", form)) note.remove();
};
// What was refused is no longer there once somebody types another value.
for (const type of ["input", "change"]) on(type, "form [aria-invalid]", unrefuseField);
/** Shows why a form was refused: at the field that the error names (its column or field, or a name in quotes), else above the
 *  buttons, as an alert. */
export const showRefusal = (form, error) => {
  const named = [error.body?.field, error.body?.column, ...(error.message.match(/"([^"]+)"/g) ?? []).map((it) => it.slice(1, -1))];
  const input = named.map((name) => name && form.elements.namedItem(name)).find((it) => it instanceof HTMLElement && it.type !== "hidden");
  if (input) {
    // The field is the one that the message names.
    const words = error.message.replace(new RegExp(`^"${input.name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}"( \\([^)]*\\))?`), "This");
    refuse(input, words + (error.hint ? " " + error.hint : ""));
    input.focus();
  } else {
    const buttons = $$(".btns", form).at(-1);
    const note = el("p", { class: "note bad", role: "alert", "data-form-error": true }, icon("circle-alert"), el("span", {}, ...told(error)));
    if (buttons) buttons.before(note); else form.append(note);
  }
};
/** Sends a form: `send(form)` does it and may throw. The button waits meanwhile. */
export const onSubmit = (query, send) => on("submit", query, async (form, event) => {
  event.preventDefault();
  const button = event.submitter ?? $("[type=submit]", form);
  unrefuse(form);
  const missing = [...form.elements].find((it) => it.required && !it.disabled && !String(it.value).trim());
  if (missing) { refuse(missing, "This is needed."); missing.focus(); return; }
  if (button) button.disabled = true;
  try { await send(form); } catch (error) { showRefusal(form, error); } finally { if (button) button.disabled = false; }
});

// -- Copying --

on("click", "[data-copy]", async (it) => {
  const from = it.dataset.copy ? document.getElementById(it.dataset.copy) : $("pre, code, .grow", it.closest(".code, .secret"));
  const word = $("span", it) ?? it;
  try { await navigator.clipboard.writeText(from.textContent); word.textContent = "Copied"; } catch { getSelection().selectAllChildren(from); word.textContent = "Selected"; }
  setTimeout(() => { word.textContent = "Copy"; }, 1600);
});

// -- The sidebar --

const remember = (name, value) => {
  document.cookie = `${name}=${encodeURIComponent(value)}; Path=/; Max-Age=31536000; SameSite=Lax${location.protocol === "https:" ? "; Secure" : ""}`;
};
export { remember };
on("click", "[data-theme-toggle]", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("kith_theme", root.dataset.theme);
});
const choosePlace = (workspaceId, mode) => attempt(async () => {
  const reply = await fetch("/app/place", {
    method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": page.csrf }, credentials: "same-origin",
    body: JSON.stringify({ workspace_id: workspaceId, mode }),
  });
  if (!reply.ok) throw new ApiError(reply.status, await reply.json().catch(() => null));
  // A record is of one workspace and mode; its list is everywhere.
  const [, first, second] = location.pathname.split("/");
  location.assign(first === "tables" ? "/" : second ? "/" + first : location.pathname);
});
on("change", "[data-switch-workspace]", (it) => {
  if (it.value !== "new") return choosePlace(it.value, "live");
  it.value = page.workspace;
  openDialog("new-workspace");
});
on("change", "[data-switch-mode]", (it) => choosePlace(page.workspace, it.checked ? "test" : "live"));
onSubmit("[data-new-workspace]", async (form) => {
  const name = form.elements.name.value.trim();
  const { data } = await api("POST", "workspaces", name ? { name } : {});
  await choosePlace(data.workspace_id, "live");
  location.assign("/");
});
/** Forgets what this browser keeps of a person's work: statements of the console, which may hold customers' data. */
export const forgetWork = () => {
  try { for (const name of Object.keys(localStorage)) if (name.startsWith("kith_sql_")) localStorage.removeItem(name); } catch { /* Nothing is kept. */ }
};
on("click", "[data-log-out]", () => attempt(async () => {
  await api("POST", "auth/logout", {});
  forgetWork();
  location.assign("/login");
}));

// -- Times --

const relative = (then, now) => {
  const seconds = (now - then) / 1000;
  if (seconds < 45) return "now";
  if (seconds < 3600) return Math.round(seconds / 60) + " min";
  if (seconds < 86400) return Math.round(seconds / 3600) + " h";
  if (seconds < 7 * 86400) return Math.round(seconds / 86400) + " d";
  const date = new Date(then), thisYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...(thisYear ? {} : { year: "numeric" }) });
};
const tell = () => {
  const now = Date.now();
  for (const it of $$("time[data-when]")) {
    const then = Date.parse(it.dateTime);
    if (Number.isNaN(then)) continue;
    it.title = new Date(then).toLocaleString("en-GB", { dateStyle: "full", timeStyle: "long" });
    it.textContent = then > now + 60000 ? new Date(then).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" }) : relative(then, now);
  }
};
whenShown(tell);
setInterval(tell, 30000);

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const toTheSecond = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });
const dayName = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" });
const shortDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
whenShown(() => {
  for (const it of $$("time[data-clock], time[data-moment]")) {
    const moment = new Date(it.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    it.textContent = ("clock" in it.dataset ? clock : toTheSecond).format(moment);
    it.title = exact.format(moment);
  }
  const today = new Date().toISOString().slice(0, 10);
  for (const it of $$("time[data-day]")) {
    const name = dayName.format(new Date(it.dateTime + "T00:00:00Z"));
    it.textContent = it.dateTime === today ? "Today, " + name.replace(/^\w+,? /, "") : name;
  }
  for (const it of $$("time[data-date]")) it.textContent = shortDay.format(new Date(it.dateTime + "T00:00:00Z"));
});

// -- Pages of a list --

// The address keeps the way back of some pages only; the rest of it is kept for this tab.
whenShown(() => {
  const pager = $("nav.pager"), here = new URL(location.href), cursor = here.searchParams.get("cursor") ?? "";
  if (!pager) return;
  for (const name of ["cursor", "back"]) here.searchParams.delete(name);
  const place = "kith_pages " + here.pathname + here.search, next = $("[rel=next]", pager), previous = $("[rel=prev]", pager);
  try {
    const before = JSON.parse(sessionStorage.getItem(place)) ?? {};
    if (next) {
      before[new URL(next.href).searchParams.get("cursor")] = cursor;
      sessionStorage.setItem(place, JSON.stringify(before));
    }
    if (!previous || !Object.hasOwn(before, cursor)) return;
    const trail = [];
    for (let at = before[cursor]; trail.length < 30 && Object.hasOwn(before, at); at = before[at]) trail.unshift(before[at] || "-");
    if (before[cursor]) here.searchParams.set("cursor", before[cursor]);
    if (trail.length) here.searchParams.set("back", trail.join("."));
    previous.href = here.href;
    previous.lastChild.data = "Previous";
  } catch { /* Nothing can be kept. */ }
});

// What the page before has to say.
try {
  const left = sessionStorage.getItem("kith_toast");
  sessionStorage.removeItem("kith_toast");
  if (left && page.csrf) toast(...JSON.parse(left));
} catch { /* There is nothing to say. */ }

// -- Keys --

const typing = (event) => event.target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
const places = { h: "/", a: "/activity", r: "/runs", c: "/contacts", d: "/deals", s: "/sql" };
let wentAt = 0;
if (document.body.classList.contains("app")) addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    const palette = openDialog("palette");
    if (palette) $("input", palette).select();
    return;
  }
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (places[event.key] && Date.now() - wentAt < 900) location.assign(places[event.key]);
  else if (event.key === "g") wentAt = Date.now();
  else if (event.key === "?") openDialog("keys");
  else if (event.key === "u" && lastUndo) takeBack(lastUndo);
  else if (event.key === "c") $("[data-new]")?.click();
  else if (event.key === "/") { event.preventDefault(); openDialog("palette"); }
});
