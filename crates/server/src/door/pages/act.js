(() => {
  "use strict";
  const panel = document.getElementById("act");
  const button = panel.querySelector("button");
  const said = document.getElementById("said");
  const who = document.getElementById("who");
  const say = (text, well) => { said.textContent = text; said.dataset.well = well; };

  // What is acted on stands last in the address. An invitation's token is for this page alone: not for the history.
  const subject = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() || "");
  const here = location.pathname;
  const ask = (path, options) => fetch(path, { credentials: "same-origin", ...options });
  const words = async (reply) => (await reply.json().catch(() => ({}))).message || "This did not work. Try again in a while.";

  const shown = (data) => {
    document.getElementById("workspace").textContent = data.workspace_id;
    document.getElementById("key").textContent = data.api_key;
    document.getElementById("done").hidden = false;
    panel.hidden = true;
    say("", true);
  };

  const signInFirst = () => {
    const query = "?" + new URLSearchParams({ next: here });
    for (const link of document.querySelectorAll("a[data-along]")) link.search = query;
    document.getElementById("stranger").hidden = false;
    panel.hidden = true;
  };

  ask("/v1/auth/me").then(async (reply) => {
    if (reply.status === 401) return signInFirst();
    if (!reply.ok) return say(await words(reply), false);
    const { data } = await reply.json();
    who.textContent = data.user.email;
    panel.hidden = false;
  }).catch(() => say("The server can't be reached just now.", false));

  button.addEventListener("click", async () => {
    button.disabled = true;
    say("One moment …", true);
    try {
      const reply = await ask(panel.dataset.post + encodeURIComponent(subject), {
        method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
      });
      if (reply.status === 401) { say("", true); return signInFirst(); }
      if (!reply.ok) throw new Error(await words(reply));
      shown((await reply.json()).data);
    } catch (error) {
      button.disabled = false;
      say(error instanceof TypeError ? "The server can't be reached just now." : error.message, false);
    }
  });

  document.getElementById("copy").addEventListener("click", async (event) => {
    try {
      await navigator.clipboard.writeText(document.getElementById("key").textContent);
      event.target.textContent = "Copied";
    } catch { event.target.textContent = "Select the key and copy it"; }
  });
})();
