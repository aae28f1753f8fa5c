// /automations and /automations/:id. See core.js for what it offers.
import { $, $$, on, el, icon, api, toast, attempt, refresh, openDialog, leaveWithToast, onSubmit } from "./core.js";

// -- The form --

const add = (form, kind) => {
  const made = $(`template[data-${kind}]`, form).content.cloneNode(true).firstElementChild;
  $(`[data-${kind}s]`, form).append(made);
  return made;
};
/** Shows the fields of the chosen action. */
const unfold = (part) => {
  const type = $("[data-as=type]", part).value, fields = type && $(`template[data-of=${type}]`, part.closest("form"));
  $(".of-action", part).replaceChildren(...(fields ? [fields.content.cloneNode(true)] : []));
};
const written = (value) => Array.isArray(value) ? value.map(written).join(", ") : typeof value === "string" ? (read(value) === value ? value : JSON.stringify(value)) : value === undefined ? "" : JSON.stringify(value);
/** A value as a person types it: a number, true, false, null and a quoted text are JSON, all else is a text. */
const read = (text) => {
  if (!/^(-?\d+(\.\d+)?([eE][+-]?\d+)?|true|false|null|".*"|\{.*\}|\[.*\])$/s.test(text.trim())) return text;
  try { return JSON.parse(text); } catch { return text; }
};
document.addEventListener("opened", (event) => {
  const form = $("[data-rule]", event.target);
  if (!form) return;
  const now = form.dataset.now ? JSON.parse(form.dataset.now) : { conditions: [], actions: [] };
  for (const it of now.conditions) {
    const part = add(form, "condition");
    $("[data-as=field]", part).value = it.field;
    $("[data-as=op]", part).value = it.op;
    $("[data-as=value]", part).value = written(it.value);
  }
  for (const it of now.actions) {
    const part = add(form, "action");
    $("[data-as=type]", part).value = it.type;
    unfold(part);
    for (const input of $$(".of-action [data-as]", part)) input.value = "json" in input.dataset ? written(it[input.dataset.as]) : it[input.dataset.as] ?? "";
    // What this form has no field for is kept.
    part.dataset.rest = JSON.stringify(it);
  }
  if (!now.conditions.length) add(form, "condition");
  if (!now.actions.length) add(form, "action");
});
/** Another row, or the last one if nothing is in it yet. */
const more = (form, kind, first) => {
  const last = $$(`[data-${kind}s] [data-part]`, form).at(-1), field = last && $(`[data-as=${first}]`, last);
  (field && !field.value ? field : $(`[data-as=${first}]`, add(form, kind))).focus();
};
on("click", "[data-add-condition]", (it) => more(it.form, "condition", "field"));
on("click", "[data-add-action]", (it) => more(it.form, "action", "type"));
on("click", "[data-remove]", (it) => it.closest("[data-part]").remove());
on("change", "[data-part] [data-as=type]", (it) => { delete it.closest("[data-part]").dataset.rest; unfold(it.closest("[data-part]")); });

const conditions = (form) => $$("[data-conditions] [data-part]", form).flatMap((part) => {
  const [field, op, value] = ["field", "op", "value"].map((name) => $(`[data-as=${name}]`, part).value.trim());
  if (!field && !value) return [];
  if (op === "exists") return [{ field, op, ...(value ? { value: read(value) } : {}) }];
  if (op === "in") return [{ field, op, value: value.split(",").map((it) => read(it.trim())) }];
  return [{ field, op, value: op === "contains" ? (value.startsWith('"') ? read(value) : value) : read(value) }];
});
const actions = (form) => $$("[data-actions] [data-part]", form).flatMap((part) => {
  const type = $("[data-as=type]", part).value, made = { ...JSON.parse(part.dataset.rest || "{}"), type };
  if (!type) return [];
  for (const input of $$(".of-action [data-as]", part)) {
    const text = input.value.trim(), name = input.dataset.as;
    if (!text && "optional" in input.dataset) delete made[name];
    else made[name] = "json" in input.dataset ? read(text) : text;
  }
  return [made];
});
onSubmit("[data-rule]", async (form) => {
  const body = { name: form.elements.name.value.trim(), trigger_event: form.elements.trigger_event.value, conditions: conditions(form), actions: actions(form) };
  const id = form.dataset.rule;
  if (id) {
    await api("PATCH", "automations/" + id, body);
    form.closest("dialog").close();
    await refresh();
    return toast("The rule is saved.");
  }
  await api("POST", "automations", body);
  form.closest("dialog").close();
  await refresh();
  toast("The rule is made, and waits for its event.");
});

// -- One rule --

const shown = () => $("[data-automation]")?.dataset.automation;
on("change", "[data-enabled]", (it) => attempt(async () => {
  const enabled = it.checked;
  try { await api("PATCH", "automations/" + shown(), { enabled }); } catch (error) { it.checked = !enabled; throw error; }
  await refresh();
  $("[data-enabled]")?.focus();
  toast(enabled ? "The rule is on." : "The rule is off.");
}));
on("click", "[data-delete]", (it) => attempt(async () => {
  it.disabled = true;
  try {
    const { data } = await api("GET", "automations/" + shown());
    await api("DELETE", "automations/" + shown());
    const { name, trigger_event, conditions, actions, enabled } = data;
    leaveWithToast("/automations", `The rule “${name}” is deleted. What it has written stays.`, { undo: ["POST", "automations", { name, trigger_event, conditions, actions, enabled }] });
  } catch (error) { it.disabled = false; throw error; }
}));

// -- Test --

const tables = { contact: "contacts", company: "companies", deal: "deals", activity: "activities", email: "emails", list: "lists", list_member: "list_members", pipeline: "pipelines", pipeline_stage: "pipeline_stages", association: "associations", custom_field: "custom_fields" };
on("click", "[data-try]", () => attempt(async () => {
  const trigger = $("[data-automation]").dataset.trigger, subject = trigger === "*" ? "deal" : trigger.slice(0, trigger.lastIndexOf("."));
  const type = trigger === "*" ? "deal.updated" : trigger.endsWith(".*") ? subject + ".updated" : trigger;
  const { data } = await api("GET", (tables[subject] ?? encodeURIComponent(subject)) + "?limit=1").catch(() => ({ data: [] }));
  const event = { type, data: data[0] ?? {} };
  if (type.endsWith("_changed")) Object.assign(event.data, { old_stage: event.data.stage, new_stage: event.data.stage, old_pipeline: event.data.pipeline, new_pipeline: event.data.pipeline });
  const dialog = openDialog("try-automation");
  $("textarea", dialog).value = JSON.stringify(event, null, 2);
}));
const shownValue = (value) => value === null || value === undefined ? "nothing" : typeof value === "string" ? value : JSON.stringify(value);
const changed = (change) => el("li", {}, el("span", { class: "chip" }, change.verb), el("code", {}, `${change.table} ${shownValue(change.id)}`),
  el("span", { class: "soft" }, ...Object.entries(change.changes).flatMap(([column, { from, to }]) => [`${column} `, from === null ? null : el("del", {}, shownValue(from)), " ", to === null ? null : el("ins", {}, shownValue(to)), " "])));
onSubmit("[data-try-form]", async (form) => {
  let event;
  try { event = JSON.parse(form.elements.event.value); } catch (error) { throw new Error("The event is no JSON: " + error.message); }
  $("[data-outcome]", form).replaceChildren();
  const { data } = await api("POST", `automations/${shown()}/test`, { event });
  const words = { success: ["ok", "circle-check", "The rule would act."], error: ["bad", "circle-alert", "The rule would fail: " + data.error], skipped: ["", "info", data.fires ? "The rule would do nothing: a condition does not hold." : "This event does not fire the rule."] };
  const [tone, name, text] = words[data.status];
  $("[data-outcome]", form).replaceChildren(
    el("p", { class: "note " + tone }, icon(name), el("span", {}, text)),
    el("ul", { class: "rows" },
      ...data.conditions.map((it) => el("li", {}, icon(it.holds ? "check" : "x"), el("code", {}, `${it.field} ${it.op} ${it.value === undefined ? "" : shownValue(it.value)}`), el("span", { class: "soft" }, `it is ${shownValue(it.found)}`))),
      ...data.actions.flatMap((it) => [el("li", {}, icon(it.status === "success" ? "check" : "x"), el("b", { class: "mono" }, it.type), el("span", { class: it.error ? "madder" : "soft" }, it.error || it.status)), ...(it.changes || []).map(changed)])));
});

// Runs that end meanwhile appear by themselves.
const look = async () => {
  const id = shown(), place = $("[data-signature]");
  if (!id || !place || document.hidden || $("dialog[open]") || new URLSearchParams(location.search).has("cursor")) return;
  const { data } = await api("GET", `automations/${id}/runs?limit=50`);
  if (data.map((it) => it.id).join(" ") !== place.dataset.signature) await refresh();
};
const watch = () => look().catch(() => {}).finally(() => setTimeout(watch, 2500));
if (shown()) setTimeout(watch, 700);
