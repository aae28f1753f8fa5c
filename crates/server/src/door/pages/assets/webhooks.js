// /webhooks and /webhooks/:id. See core.js for what it offers.
import { $, $$, on, el, icon, api, toast, attempt, refresh, openDialog, confirmed, onSubmit } from "./core.js";

// -- New webhook --

on("change", "[data-new-webhook] [name=all]", (it) => {
  for (const other of $$("[name=events]", it.form)) other.disabled = it.checked;
});
onSubmit("[data-new-webhook]", async (form) => {
  const { url, all, description } = form.elements;
  const body = { url: url.value.trim(), events: all.checked ? ["*"] : $$("[name=events]:checked", form).map((it) => it.value) };
  if (!body.events.length) throw new Error("Choose at least one event, or “All events”.");
  if (description.value.trim()) body.description = description.value.trim();
  const { data } = await api("POST", "webhooks", body);
  // The secret is in this dialog and nowhere else. It goes when the dialog is closed.
  form.replaceChildren(
    el("p", { class: "soft" }, "The webhook is made. This is the secret that signs what is sent to it. It is shown this once: give it to your receiver."),
    el("p", { class: "secret" }, el("code", { class: "grow" }, data.secret),
      el("button", { type: "button", class: "btn mini", "data-copy": true }, icon("copy"), el("span", {}, "Copy"))),
    el("p", { class: "btns" }, el("a", { class: "btn main", href: "/webhooks/" + data.id }, "Open the webhook"),
      el("button", { type: "button", class: "btn bare", "data-close": true }, "Done")));
  $("[data-copy]", form).focus();
  await refresh();
});

// -- One endpoint --

const shown = () => $("[data-webhook]")?.dataset.webhook;
/** Replaces the page's content; the focus stays where it was. */
const renew = async () => {
  const id = document.activeElement?.id;
  await refresh();
  if (id) document.getElementById(id)?.focus({ preventScroll: true });
};
on("change", "[data-enabled]", (it) => attempt(async () => {
  const enabled = it.checked;
  try { await api("PATCH", "webhooks/" + shown(), { enabled }); } catch (error) { it.checked = !enabled; throw error; }
  await renew();
  toast(enabled ? "Events are sent." : "No more events are sent.");
}));
on("click", "[data-test]", () => attempt(async () => {
  await api("POST", `webhooks/${shown()}/test`);
  await renew();
  toast("A test event is on its way.");
}));
on("click", "[data-replay]", (it) => attempt(async () => {
  await api("POST", `webhooks/${shown()}/replay/${it.dataset.replay}`);
  await renew();
  toast("The delivery is on its way again.");
}));
on("click", "[data-replay-failed]", () => attempt(async () => {
  // Deliveries are kept for 30 days, so this is all of them.
  const since = new Date(Date.now() - 31 * 86400000).toISOString();
  const { data } = await api("POST", `webhooks/${shown()}/replay-failed`, { since });
  await renew();
  if (data.has_more) return toast(data.replayed === 0 ? "There is no room: as many deliveries as there may be are waiting." : `The oldest ${data.replayed} deliveries are on their way again. Once they have arrived, send the others.`);
  toast(data.replayed === 0 ? "No delivery has failed." : data.replayed === 1 ? "1 delivery is on its way again." : `${data.replayed} deliveries are on their way again.`);
}));
on("click", "[data-rotate]", () => attempt(async () => {
  if (!await confirmed("Make a new secret?", "The old one stays valid for 24 hours.", "Make it")) return;
  const { data } = await api("POST", `webhooks/${shown()}/rotate-secret`);
  const dialog = openDialog("webhook-secret");
  $("code", dialog).textContent = data.secret;
}));
on("click", "[data-delete]", () => attempt(async () => {
  if (!await confirmed("Delete this webhook?", "No more events are sent to it, and the list of its deliveries goes too.", "Delete")) return;
  await api("DELETE", "webhooks/" + shown());
  location.assign("/webhooks");
}));

// What is sent meanwhile appears by itself. The page is loaded again only if something has changed.
const look = async () => {
  const id = shown(), place = $("[data-signature]"), address = new URLSearchParams(location.search);
  if (!id || !place || document.hidden || $("dialog[open]") || address.has("cursor")) return;
  const status = address.get("status");
  const { data } = await api("GET", `webhooks/${id}/deliveries?limit=50${status ? "&status=" + encodeURIComponent(status) : ""}`);
  const signature = data.map((it) => `${it.id}${it.status}${it.attempts} `).join("").trimEnd();
  if (signature !== place.dataset.signature) await renew();
};
const watch = () => look().catch(() => {}).finally(() => setTimeout(watch, 2500));
if (shown()) setTimeout(watch, 700);
