(() => {
  "use strict";
  const form = document.querySelector("form[data-post]");
  const said = document.getElementById("said");
  const button = form.querySelector("button");
  const query = new URLSearchParams(location.search);
  const say = (text, well) => { said.textContent = text; said.dataset.well = well; };

  // A token is for this page alone: not for the history, nor for anybody who looks at the address.
  const token = query.get("token");
  if (token !== null) history.replaceState(null, "", location.pathname);
  if ("token" in form.dataset && !token) {
    button.disabled = true;
    say("Open this page by the link in your e-mail.", false);
  }

  // Where to go on, if it is a page of this Kith.
  const asked = query.get("next");
  const within = (path) => { try { const to = new URL(path, location.origin); return to.origin === location.origin ? to.href : null; } catch { return null; } };
  const next = (asked && within(asked)) || (form.dataset.next && within(form.dataset.next));
  if (asked) for (const link of document.querySelectorAll("a[data-along]")) link.search = "?" + new URLSearchParams({ next: asked });

  // A sign-in elsewhere that came to nothing; the words are this page's own, whatever the address says.
  const problem = query.get("error");
  if (problem !== null && said.dataset.problems) {
    const words = JSON.parse(said.dataset.problems);
    say(Object.hasOwn(words, problem) ? words[problem] : "You could not be signed in. Try again.", false);
    history.replaceState(null, "", location.pathname + (asked ? "?" + new URLSearchParams({ next: asked }) : ""));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    if ("token" in form.dataset) body.token = token;
    button.disabled = true;
    say("One moment …", true);
    try {
      const reply = await fetch(form.dataset.post, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "same-origin",
      });
      const answer = await reply.json().catch(() => ({}));
      if (!reply.ok) throw new Error(answer.message || "This did not work. Try again in a while.");
      form.hidden = true;
      say(form.dataset.done, true);
      if (next) setTimeout(() => location.assign(next), 600);
    } catch (error) {
      button.disabled = false;
      say(error instanceof TypeError ? "The server can't be reached just now." : error.message, false);
    }
  });
})();
