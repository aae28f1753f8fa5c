//! The style sheet, scripts, fonts and icons of the pages. They are part of the program. Their address holds a hash of all of
//! them, so that browsers keep them for ever and a new release has new addresses.

use std::sync::OnceLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use ring::digest::{Context, SHA256};

struct Asset {
    name: &'static str,
    content_type: &'static str,
    /// The parts of the file, one after the other.
    parts: &'static [&'static [u8]],
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const FONT: &str = "font/woff2";

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset { name: $name, content_type: $content_type, parts: &[include_bytes!(concat!("assets/", $name))] }
    };
}

const ASSETS: &[Asset] = &[
    asset!("kith.css", CSS),
    Asset {
        name: "pages.css",
        content_type: CSS,
        parts: &[
            include_bytes!("assets/css/common.css"),
            include_bytes!("assets/css/records.css"),
            include_bytes!("assets/css/record.css"),
            include_bytes!("assets/css/feed.css"),
            include_bytes!("assets/css/control.css"),
            include_bytes!("assets/css/account.css"),
        ],
    },
    asset!("core.js", JS),
    asset!("amounts.js", JS),
    asset!("table.js", JS),
    asset!("bulk.js", JS),
    asset!("changes.js", JS),
    asset!("fields.js", JS),
    asset!("cells.js", JS),
    asset!("record.js", JS),
    asset!("board.js", JS),
    asset!("palette.js", JS),
    asset!("feed.js", JS),
    asset!("runs.js", JS),
    asset!("webhooks.js", JS),
    asset!("automations.js", JS),
    asset!("schema.js", JS),
    asset!("sql.js", JS),
    asset!("exact.js", JS),
    asset!("import.js", JS),
    asset!("settings.js", JS),
    asset!("account.js", JS),
    asset!("public.js", JS),
    asset!("explorer.js", JS),
    asset!("explorer.css", CSS),
    asset!("swagger-ui/swagger-ui-bundle.js", JS),
    asset!("swagger-ui/swagger-ui.css", CSS),
    asset!("icons.svg", "image/svg+xml"),
    asset!("fonts/hanken-grotesk-latin.woff2", FONT),
    asset!("fonts/hanken-grotesk-latin-ext.woff2", FONT),
];

/// The hash of all assets, which is part of their addresses.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut context = Context::new(&SHA256);
        for asset in ASSETS {
            context.update(asset.name.as_bytes());
            asset.parts.iter().for_each(|part| context.update(part));
        }
        hex::encode(&context.finish().as_ref()[..6])
    })
}

/// The address of an asset.
pub fn address(name: &str) -> String {
    format!("/assets/{}/{name}", version())
}

/// Serves what stands below `/assets/`. An address of another release gets the file of this one, but is not kept.
pub fn serve(below: &str) -> Option<Response> {
    let (asked, name) = below.split_once('/')?;
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    let bytes = match asset.parts {
        [whole] => Bytes::from_static(whole),
        parts => Bytes::from(parts.concat()),
    };
    let mut response = Response::new(Body::from(bytes));
    let kept = if asked == version() { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(response)
}
