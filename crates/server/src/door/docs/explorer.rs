//! The API explorer, `/docs/api`: Swagger UI over the OpenAPI documents. All that it loads is part of this program, so that it
//! works without the internet. `bin/vendor-swagger-ui` brings another version.

use maud::html;

use crate::door::pages::assets;
use crate::door::pages::public::{PublicPage, document};

/// The page for a public address. The script chooses the dialect that the address names.
pub fn page(base: &str) -> String {
    let body = html! {
        main.wrap.explorer #main {
            h1 { "API explorer" }
            p.lead {
                "Every endpoint, with its parameters, its answers and a form to try it. “Authorize” takes an API key, which stays in this \
                 page and is forgotten when you leave it."
            }
            nav.seg aria-label="Dialect" {
                @for (at, (name, title)) in [("agentcrm", "agentCRM"), ("relm", "Relm")].into_iter().enumerate() {
                    a href={ "/docs/api?dialect=" (name) } data-dialect=(name) aria-current=[(at == 0).then_some("page")] { (title) }
                }
            }
            noscript { p { "The explorer needs JavaScript. " a.link href="/docs#endpoints" { "The documentation" } " lists the same endpoints." } }
            div #explorer aria-busy="true" { p.soft { "Loading the description …" } }
        }
        link rel="stylesheet" href=(assets::address("swagger-ui/swagger-ui.css"));
        link rel="stylesheet" href=(assets::address("explorer.css"));
        script defer src=(assets::address("swagger-ui/swagger-ui-bundle.js")) {}
        script type="module" src=(assets::address("explorer.js")) {}
    };
    let description = "Try each endpoint of Kith in the browser, in both dialects.";
    document(base, &PublicPage { title: "API explorer", description, nav: "/docs/api", body }).into_string()
}
