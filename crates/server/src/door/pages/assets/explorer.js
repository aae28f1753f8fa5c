// /docs/api: Swagger UI over the OpenAPI document of a dialect.
import { $, $$, el } from "./core.js";

const place = $("#explorer"), asked = new URLSearchParams(location.search).get("dialect");
const links = $$("[data-dialect]"), chosen = links.find((it) => it.dataset.dialect === asked) ?? links[0];
for (const it of links) if (it === chosen) it.setAttribute("aria-current", "page"); else it.removeAttribute("aria-current");

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

// The page has one main part; Swagger UI brings another, some time after it says that it is complete.
new MutationObserver(() => $("main:not([role])", place)?.setAttribute("role", "group")).observe(place, { childList: true, subtree: true });

try {
  const reply = await fetch("/openapi.json?dialect=" + encodeURIComponent(chosen.dataset.dialect));
  if (!reply.ok) throw new Error();
  const spec = await reply.json();
  // The page may call only the address that it came from, which may not be the public one.
  spec.servers = [{ url: location.origin }];
  // The page says these itself.
  delete spec.info.description;
  window.SwaggerUIBundle({
    spec, domNode: place, docExpansion: "none", filter: true, deepLinking: true, validatorUrl: null, displayRequestDuration: true,
    defaultModelsExpandDepth: -1, syntaxHighlight: { activated: false }, tryItOutEnabled: true,
    // Only the key that is given is sent, not the session of somebody who is signed in.
    requestInterceptor: (request) => Object.assign(request, { credentials: "omit" }),
    onComplete: () => {
      place.removeAttribute("aria-busy");
      $(".operation-filter-input", place)?.setAttribute("aria-label", "Filter by tag");
    },
  });
} catch {
  place.replaceChildren(el("p", { class: "note bad", role: "alert" }, "The description could not be loaded. Load the page again."));
}
