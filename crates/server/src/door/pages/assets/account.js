// The forms of accounts, and the pages that accept a workspace or an invitation.
import { $, $$, ApiError, api, el, forgetWork, icon, page, refuse, told, unrefuse } from "./core.js";

const query = new URLSearchParams(location.search);
const said = $("#said");

/** An address of this Kith, or null. Whatever leads elsewhere is left out. */
const within = (path) => {
  if (!path || !path.startsWith("/")) return null;
  try {
    const to = new URL(path, location.origin);
    // A path that begins with two slashes would name a host.
    return to.origin === location.origin && !to.pathname.startsWith("//") ? to.pathname + to.search + to.hash : null;
  } catch { return null; }
};
const asked = within(query.get("next"));
if (asked) for (const link of $$("a[data-along]")) link.search = "?" + new URLSearchParams({ next: asked });

/** Says what went wrong, above the button that was pressed. */
const complain = (before, ...text) => {
  $("[data-complaint]")?.remove();
  before.before(el("p", { class: "note bad", role: "alert", id: "complaint-error", "data-complaint": true }, icon("circle-alert"), el("span", {}, ...text)));
};

/** A refusal in words for people. */
const words = (error) => {
  const own = { conflict: "There is an account with this e-mail address already. Sign in, or choose a new password by “I have lost my password”." }[error.code];
  const message = error.message.replace(/^"email"/, "This");
  return own ?? [message, error.hint].filter(Boolean).join(" ");
};
/** The fields that a refusal is about: those whose word is in it. */
const blamed = (error) => {
  if (!(error instanceof ApiError) || error.status === 429 || error.status >= 500) return [];
  const about = { name: /\bname is\b/i, email: /e-?mail/i, password: /password/i };
  return Object.entries(about).filter(([, pattern]) => pattern.test(error.message)).map(([name]) => form.elements.namedItem(name)).filter(Boolean);
};

const form = $("form[data-account]");
if (form) {
  const button = $("[type=submit]", form), wantsToken = "token" in form.dataset;
  // A token is for this page alone: not for the history, nor for anybody who looks at the address.
  const token = query.get("token");
  if (token !== null) history.replaceState(null, "", location.pathname);
  if (wantsToken && !token) {
    button.disabled = true;
    complain(button, "Open this page by the link in your e-mail.");
  }
  const way = asked && [["/claim/", "You claim the workspace after this."], ["/invite/", "You accept the invitation after this. Use the address that it was sent to."]]
    .find(([path]) => asked.startsWith(path));
  if (way) {
    $("#on-the-way").hidden = false;
    $("#on-the-way span").textContent = way[1];
  }
  // A sign-in elsewhere that came to nothing; the words are this page's own, whatever the address says.
  const problem = query.get("error");
  if (problem !== null && form.dataset.problems) {
    const words = JSON.parse(form.dataset.problems);
    complain(button, Object.hasOwn(words, problem) ? words[problem] : "You could not be signed in. Try again.");
    history.replaceState(null, "", location.pathname + (asked ? "?" + new URLSearchParams({ next: asked }) : ""));
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    unrefuse(form);
    $("[data-complaint]")?.remove();
    const missing = [...form.elements].filter((it) => it.required && !it.value.trim());
    if (missing.length) {
      for (const it of missing) refuse(it, "This is needed.");
      complain(button, missing.map((it) => it.labels[0].textContent).join(" and ") + (missing.length > 1 ? " are needed." : " is needed."));
      missing[0].focus();
      return;
    }
    const body = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    if (wantsToken) body.token = token;
    button.disabled = true;
    said.textContent = "One moment …";
    try {
      const reply = await fetch(form.dataset.post, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "same-origin",
      });
      const answer = await reply.json().catch(() => ({}));
      if (!reply.ok) throw new ApiError(reply.status, answer);
      for (const it of [...form.elements]) it.closest(".field")?.remove();
      button.remove();
      said.textContent = form.dataset.done;
      const next = asked || within(form.dataset.next);
      if (next) location.assign(next);
    } catch (error) {
      said.textContent = "";
      button.disabled = false;
      complain(button, error instanceof TypeError ? "The server can't be reached just now." : words(error));
      const refused = blamed(error);
      for (const it of refused) {
        it.setAttribute("aria-invalid", "true");
        it.setAttribute("aria-describedby", [it.getAttribute("aria-describedby"), "complaint-error"].filter(Boolean).join(" "));
      }
      refused[0]?.focus();
    }
  });
}

const panel = $("#act");
if (panel) {
  const button = $("[data-act]", panel);
  button.addEventListener("click", async () => {
    button.disabled = true;
    said.textContent = "One moment …";
    try {
      const { data } = await api("POST", panel.dataset.post, {});
      $("#key").textContent = data.api_key;
      // The pages open on what was accepted.
      await fetch("/app/place", {
        method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": page.csrf }, credentials: "same-origin",
        body: JSON.stringify({ workspace_id: data.workspace_id, mode: "live" }),
      });
      panel.hidden = true;
      said.textContent = "";
      $("#done").hidden = false;
    } catch (error) {
      said.textContent = "";
      button.disabled = false;
      complain(button.closest(".btns"), ...told(error));
    }
  });
  $("[data-log-out-here]").addEventListener("click", async () => {
    try { await api("POST", "auth/logout", {}); forgetWork(); } finally { location.assign("/login?" + new URLSearchParams({ next: location.pathname })); }
  });
}
