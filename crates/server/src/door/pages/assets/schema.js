// /schema: fields, pipelines, stages. See core.js for what it offers.
import { $, on, api, toast, attempt, refresh, refuse, openDialog, confirmed, onSubmit } from "./core.js";

const part = encodeURIComponent;
const done = async (dialog, text, requestId) => {
  dialog?.close();
  await refresh();
  toast(text, { undo: requestId });
};
/** A key from a label: "NPS score" is nps_score. */
const keyOf = (label) => label.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "");
on("input", "dialog [name=label]", (it) => {
  const key = it.form.elements.namedItem("key");
  if (key && !key.dataset.typed) key.value = keyOf(it.value);
});
on("input", "dialog [name=key]", (it) => { it.dataset.typed = "true"; });

// -- Fields --

onSubmit("[data-new-field]", async (form) => {
  const { object_type, key, label, type, options, required } = form.elements;
  const body = { object_type: object_type.value, key: key.value.trim(), label: label.value.trim() || key.value.trim(), type: type.value, required: required.checked };
  if (type.value !== "select" && options.value.trim()) {
    refuse(options, "Only a field of the type select has options.");
    return options.focus();
  }
  if (type.value === "select") body.options = options.value.split("\n").map((it) => it.trim()).filter(Boolean);
  const { requestId } = await api("POST", "schema/fields", body);
  await done(form.closest("dialog"), "The field is made.", requestId);
});
on("click", "[data-delete-field]", (it) => attempt(async () => {
  if (!await confirmed(`Delete the field ${it.dataset.name}?`, "The values stay in the records. They are no longer checked.", "Delete")) return;
  const { requestId } = await api("DELETE", "schema/fields/" + part(it.dataset.deleteField));
  await done(null, "The field is deleted.", requestId);
}));

// -- Pipelines and stages --

let place = "";
const pipelineOf = (it) => "pipelines/" + part(it.closest("[data-pipeline]").dataset.pipeline);
const stageOf = (it) => `${pipelineOf(it)}/stages/${part(it.closest("[data-stage]").dataset.stage)}`;
onSubmit("[data-new-pipeline-form]", async (form) => {
  const { requestId } = await api("POST", "pipelines", { key: form.elements.key.value.trim(), label: form.elements.label.value.trim() });
  await done(form.closest("dialog"), "The pipeline is made. It needs a stage.", requestId);
});
on("click", "[data-new-stage]", (it) => { place = pipelineOf(it) + "/stages"; openDialog("new-stage"); });
onSubmit("[data-new-stage-form]", async (form) => {
  const { key, label, is_won, is_lost } = form.elements;
  const { requestId } = await api("POST", place, { key: key.value.trim(), label: label.value.trim(), is_won: is_won.checked, is_lost: is_lost.checked });
  await done(form.closest("dialog"), "The stage is made.", requestId);
});
const rename = (it, path) => { place = path; $("[name=label]", openDialog("rename")).value = it.dataset.now; };
on("click", "[data-rename-pipeline]", (it) => rename(it, pipelineOf(it)));
on("click", "[data-rename-stage]", (it) => rename(it, stageOf(it)));
onSubmit("[data-rename-form]", async (form) => {
  const { requestId } = await api("PATCH", place, { label: form.elements.label.value.trim() });
  await done(form.closest("dialog"), "Renamed.", requestId);
});
on("click", "[data-move]", (it) => attempt(async () => {
  const { requestId } = await api("PATCH", stageOf(it), { position: Number(it.dataset.move) }), label = it.getAttribute("aria-label");
  await done(null, "Moved.", requestId);
  document.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus();
}));
on("click", "[data-make-default]", (it) => attempt(async () => {
  const { requestId } = await api("PATCH", pipelineOf(it), { is_default: true });
  await done(null, "New deals go there.", requestId);
}));
on("click", "[data-delete-pipeline]", (it) => attempt(async () => {
  if (!await confirmed("Delete this pipeline?", "A pipeline with deals in it can't be deleted.", "Delete")) return;
  const { requestId } = await api("DELETE", pipelineOf(it));
  await done(null, "The pipeline is deleted.", requestId);
}));
on("click", "[data-delete-stage]", (it) => attempt(async () => {
  if (!await confirmed(`Delete the stage ${it.dataset.name}?`, "A stage with deals in it can't be deleted.", "Delete")) return;
  const { requestId } = await api("DELETE", stageOf(it));
  await done(null, "The stage is deleted.", requestId);
}));
