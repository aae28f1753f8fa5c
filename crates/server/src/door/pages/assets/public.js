// The public pages: tabs of code, a workspace at the push of a button.
import { $, $$, ApiError, attempt, on, openDialog } from "./core.js";

const choose = (tab) => {
  const box = tab.closest("[data-tabs]");
  for (const it of $$("[role=tab]", box)) {
    const is = it === tab;
    it.setAttribute("aria-selected", is);
    if (is) it.removeAttribute("tabindex"); else it.setAttribute("tabindex", "-1");
    document.getElementById(it.getAttribute("aria-controls")).hidden = !is;
  }
  const copy = $("[data-copy]", box);
  if (copy) copy.dataset.copy = tab.getAttribute("aria-controls");
};
on("click", "[data-tabs] [role=tab]", choose);
on("keydown", "[data-tabs] [role=tab]", (tab, event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const all = $$("[role=tab]", tab.closest("[data-tabs]")), next = all.at((all.indexOf(tab) + step) % all.length);
  choose(next);
  next.focus();
  event.preventDefault();
});

on("click", "[data-make]", async (button) => {
  button.disabled = true;
  await attempt(async () => {
    let reply;
    // Without the cookie: a signed-out person's old session must not stand in the way.
    try { reply = await fetch("/v1/workspaces", { method: "POST", credentials: "omit" }); } catch { throw new ApiError(0, { message: "The server can't be reached just now." }); }
    const answer = await reply.json().catch(() => null);
    if (!reply.ok) throw new ApiError(reply.status, answer);
    const dialog = openDialog("made");
    $("#made-key", dialog).textContent = answer.data.api_key;
    $("#made-claim", dialog).href = answer.data.claim_url;
  });
  button.disabled = false;
});
on("click", "[data-to-clipboard]", async (button) => {
  const from = document.getElementById(button.dataset.toClipboard);
  try {
    await navigator.clipboard.writeText(from.textContent);
    $("span", button).textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(from);
    $("span", button).textContent = "Selected";
  }
});
on("click", "[data-undo-example]", (button) => {
  const undone = button.closest(".entry").classList.toggle("undone");
  $("span", button).textContent = undone ? "Redo the run" : "Undo the run";
});
