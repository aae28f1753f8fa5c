// Members, keys and settings of a workspace.
import { $, alarm, api, attempt, chosen, confirmed, on, onSubmit, page, refresh, toast } from "./core.js";

const ws = "ws=" + encodeURIComponent(page.workspace);
const id = encodeURIComponent;

/** Shows a dialog's result in the place of its form. */
const showResult = (form) => {
  const result = $("[data-result]", form.closest("dialog"));
  form.hidden = true;
  result.hidden = false;
  $("[data-close]", result).focus();
};

// -- Members --

onSubmit("[data-invite]", async (form) => {
  const { data } = await api("POST", "members/invite", { workspace_id: page.workspace, email: form.elements.email.value.trim(), role: form.elements.role.value });
  const link = $("#invite-link");
  link.href = link.textContent = data.accept_url;
  showResult(form);
  await refresh();
});
on("click", "[data-withdraw]", (it) => attempt(async () => {
  await api("DELETE", `members/invites/${id(it.dataset.withdraw)}?${ws}`);
  await refresh();
  toast("The invitation is withdrawn.");
}));
on("change", "[data-member]", async (it) => {
  try {
    await api("PATCH", `members?${ws}&user_id=${id(it.dataset.member)}`, { role: it.value });
    await refresh();
    toast("The role is changed.");
  } catch (error) {
    it.value = it.dataset.was;
    alarm(error);
  }
});
on("click", "[data-remove]", (it) => attempt(async () => {
  const own = "own" in it.dataset;
  const agreed = own
    ? await confirmed("Leave the workspace", "Your keys and connections end at once.", "Leave")
    : await confirmed(`Remove ${it.dataset.name}`, "Their keys and connections end at once. What they did stays.", "Remove");
  if (!agreed) return;
  await api("DELETE", `members?${ws}&user_id=${id(it.dataset.remove)}`);
  if (own) return location.assign("/");
  await refresh();
  toast(`${it.dataset.name} is no member any more.`);
}));

// -- Keys --

onSubmit("[data-new-key]", async (form) => {
  const { name, dialect, mode, role } = form.elements;
  const body = { dialect: dialect.value, mode: mode.value, role: role.value, ...(name.value.trim() ? { name: name.value.trim() } : {}) };
  const { data } = await api("POST", `keys?${ws}`, body);
  $("#new-key-value").textContent = data.api_key;
  showResult(form);
  await refresh();
});
on("click", "[data-revoke]", (it) => attempt(async () => {
  it.disabled = true;
  try { await api("DELETE", `keys/${id(it.dataset.revoke)}?${ws}`); } catch (error) { it.disabled = false; throw error; }
  await refresh();
  toast(`“${it.dataset.name}” is revoked: whatever uses it is refused from now on.`, { undo: ["POST", `keys/${id(it.dataset.revoke)}/restore?${ws}`] });
}));

// -- Settings --

onSubmit("[data-rename-workspace]", async (form) => {
  const name = form.elements.name.value.trim();
  await api("PATCH", `workspaces/${id(form.dataset.renameWorkspace)}`, { name });
  form.closest("dialog").close();
  await refresh();
  $("[data-switch-workspace] option:checked").textContent = name;
  toast(`The workspace is called ${name} now.`);
});

onSubmit("[data-email]", async (form) => {
  await api("PUT", "integrations/email", { api_key: form.elements.api_key.value.trim(), from_email: form.elements.from_email.value.trim(), ...(form.elements.webhook_secret.value.trim() ? { webhook_secret: form.elements.webhook_secret.value.trim() } : {}) });
  await refresh();
  toast("E-mail is set up.");
});
on("click", "[data-disconnect-email]", () => attempt(async () => {
  if (!await confirmed("Disconnect e-mail", "The stored key is forgotten, and nothing is sent any more.", "Disconnect")) return;
  await api("DELETE", "integrations/email");
  await refresh();
  toast("E-mail is disconnected.");
}));
onSubmit("[data-mailbox]", async (form) => {
  const { host, port, username, password, folder } = form.elements;
  const body = { host: host.value.trim(), username: username.value.trim(), password: password.value };
  // What is no number is refused at its field.
  if (port.value.trim()) body.port = /^\d+$/.test(port.value.trim()) ? Number(port.value) : port.value;
  if (folder.value.trim()) body.folder = folder.value.trim();
  await api("POST", "integrations/mailbox", body);
  await refresh();
  toast("The mailbox is connected.");
});
on("click", "[data-disconnect-mailbox]", () => attempt(async () => {
  if (!await confirmed("Disconnect the mailbox", "The stored password is forgotten, and no more e-mail is read. What was recorded stays.", "Disconnect")) return;
  await api("DELETE", "integrations/mailbox");
  await refresh();
  toast("The mailbox is disconnected.");
}));
const setSending = async (body) => (await api("PATCH", `workspaces/${id(page.workspace)}`, body)).data;
const counted = (count, one) => count === 1 ? `1 ${one}` : `${count} ${one}s`;
on("change", "[data-sending]", async (it) => {
  try {
    if (!it.checked) {
      await setSending({ sending: false });
      return toast("Nothing leaves any more.");
    }
    // Switched off once more, it says what waits.
    const { emails, deliveries } = (await setSending({ sending: false })).held;
    const waiting = [[emails, "e-mail"], [deliveries, "webhook event"]].filter(([count]) => count).map(([count, one]) => counted(count, one)).join(" and ");
    if (!waiting) {
      await setSending({ sending: true });
      return toast("E-mail and webhooks leave again.");
    }
    const held = await chosen("Switch sending on", `Held: ${waiting}. Released, they leave at once. Dropped, they never leave, and are shown as failed.`,
      [["release", "Release", "main"], ["drop", "Drop", "danger"]]);
    if (!held) return void (it.checked = false);
    await setSending({ sending: true, held });
    toast(held === "drop" ? `Dropped: ${waiting}. E-mail and webhooks leave again.` : `Released: ${waiting}.`);
  } catch (error) {
    it.checked = !it.checked;
    alarm(error);
  }
});
on("click", "[data-disconnect-app]", (it) => attempt(async () => {
  if (!await confirmed(`Disconnect ${it.dataset.name}`, "Its tokens end within a second. What it did stays.", "Disconnect")) return;
  await api("DELETE", `auth/apps/${id(it.dataset.disconnectApp)}?${ws}`);
  await refresh();
  toast(`${it.dataset.name} is disconnected.`);
}));
on("click", "[data-connect]", (it) => attempt(async () => {
  const { data } = await api("POST", `connection?${ws}`, {});
  $("#connection-url").textContent = data.url;
  $("#connection-role").textContent = "postgres:" + data.role;
  $("#connection-result").hidden = false;
  it.textContent = "Replace it with a new URL";
}));
on("input", "[data-delete-workspace] [name=name]", (it) => {
  const form = it.form;
  $("[type=submit]", form).disabled = it.value.trim() !== form.dataset.name.trim();
});
onSubmit("[data-delete-workspace]", async (form) => {
  await api("DELETE", `workspaces/${id(form.dataset.deleteWorkspace)}`, { name: form.elements.name.value });
  location.assign("/");
});
