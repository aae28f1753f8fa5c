// A record's page: its form, deleting and restoring, the note, the undoing of changes, the images of a message. runs.js undoes runs.
import { $, ApiError, api, attempt, leaveWithToast, on, onSubmit, refresh, refuse, toast } from "./core.js";
import { Refusal, prepare, referred, sent } from "./fields.js";

const encoded = encodeURIComponent;
const record = () => {
  const { table, id, name, soft } = $("[data-record]").dataset;
  return { path: `${encoded(table)}/${encoded(id)}`, table, name, isSoft: soft !== undefined };
};
const listAddress = () => $(".crumb")?.getAttribute("href") ?? "/";

// -- The form --

on("click", "[data-edit-record]", (button) => {
  const form = $("template[data-form]").content.cloneNode(true).firstElementChild, facts = $("[data-facts]");
  facts.before(form);
  facts.hidden = true;
  button.closest(".btns").hidden = true;
  prepare(form);
  $("input, select, textarea", form)?.focus();
});
const leave = (form) => {
  form.remove();
  $("[data-facts]").hidden = false;
  $(".record .btns").hidden = false;
  $("[data-edit-record]").focus();
};
on("click", "[data-record-form] [data-cancel]", (it) => leave(it.form));
on("keydown", "[data-record-form]", (form, event) => { if (event.key === "Escape") leave(form); });
onSubmit("[data-record-form]", (form) => sent(form, { onlyChanges: true }, async (body) => {
  if (!Object.keys(body).length) return leave(form);
  const { requestId } = await api("PATCH", record().path, body);
  await refresh();
  $("[data-edit-record]")?.focus();
  toast("Saved.", { undo: requestId });
}));

// -- Relations --

on("change", "[data-relate] [name=kind]", (it) => {
  const record = it.form.elements.record;
  Object.assign(record.dataset, { table: it.selectedOptions[0].dataset.table, id: "", named: "" });
  record.value = "";
});
onSubmit("[data-relate]", async (form) => {
  const { kind, record, label } = form.elements;
  try {
    const body = { from_type: form.dataset.type, from_id: form.dataset.id, to_type: kind.value, to_id: await referred(record) };
    const { requestId } = await api("POST", "associations", { ...body, ...(label.value.trim() ? { label: label.value.trim() } : {}) });
    form.closest("dialog").close();
    await refresh();
    toast("Related.", { undo: requestId });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refuse(error.input, error.message);
    error.input.focus();
  }
});
on("click", "[data-unrelate]", (it) => attempt(async () => {
  const { requestId } = await api("DELETE", "associations/" + encoded(it.dataset.unrelate));
  await refresh();
  toast("The relation is removed.", { undo: requestId });
}));

// -- Deleting and restoring --

on("click", "[data-delete-record]", () => attempt(async () => {
  const { path, name, isSoft } = record();
  const { requestId } = await api("DELETE", path);
  if (!isSoft) return leaveWithToast(listAddress(), `“${name}” was deleted.`, { undo: requestId });
  await refresh();
  $("[data-restore-record]")?.focus();
  toast(`“${name}” was deleted.`, { undo: requestId });
}));
on("click", "[data-restore-record]", () => attempt(async () => {
  const { path, name } = record();
  const { requestId } = await api("POST", path + "/restore");
  await refresh();
  $("[data-edit-record]")?.focus();
  toast(`“${name}” was restored.`, { undo: requestId });
}));

// -- The note --

onSubmit("[data-log]", async (form) => {
  const [subject, ...rest] = form.elements.text.value.trim().split("\n"), isShort = subject.length <= 200;
  const text = isShort ? { subject, ...(rest.length ? { body: rest.join("\n").trim() } : {}) } : { body: form.elements.text.value.trim() };
  const { requestId } = await api("POST", "activities", { type: form.elements.type.value, [form.dataset.log]: form.dataset.id, ...text });
  await refresh();
  $("[data-log] [name=text]")?.focus();
  toast("Logged.", { undo: requestId });
});
on("keydown", "[data-log] textarea", (it, event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) it.form.requestSubmit();
});

// -- Undoing --

const inWords = (error) => {
  const conflicts = error.body?.conflicts;
  if (!conflicts) return error;
  const told = conflicts.slice(0, 3).map((it) => `${it.table} ${it.id}: ${it.reason.replaceAll("_", " ")}`).join("; ");
  return new ApiError(error.status, { message: `${error.message} (${told}${conflicts.length > 3 ? " …" : ""})` });
};
on("click", "[data-undo-entry]", (button) => attempt(async () => {
  button.disabled = true;
  try {
    const { requestId } = await api("POST", `activity/${encoded(button.dataset.undoEntry)}/undo`, {});
    await refresh();
    toast("Undone.", { undo: requestId });
  } catch (error) {
    button.disabled = false;
    throw inWords(error);
  }
}));

// -- A message --

on("click", "[data-show-images]", (button) => {
  const frame = $(".mail iframe");
  frame.src = frame.getAttribute("src") + "?images=shown";
  button.closest(".note").remove();
});
