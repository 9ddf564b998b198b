//! The operator's screen: static files of ours, part of the program, nothing from elsewhere.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::{has, problem};

/// Nothing but what this server itself serves; pictures also from what the page has already got.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// What the page is called.
const PAGE: &str = "page.html";

#[derive(RustEmbed)]
#[folder = "src/publish/http/page"]
struct Files;

pub(super) async fn html(headers: HeaderMap) -> Response {
    serve(PAGE, &headers)
}

pub(super) async fn file(headers: HeaderMap, name: Result<Path<String>, PathRejection>) -> Response {
    match name {
        Ok(Path(name)) => serve(&name, &headers),
        Err(_) => problem(StatusCode::NOT_FOUND, "no such page"),
    }
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    // Names are looked up in a table, never on a disk.
    let Some(file) = Files::get(name) else { return problem(StatusCode::NOT_FOUND, "no such page") };
    let digest = file.metadata.sha256_hash();
    let etag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{etag}\"");
    if has(headers, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::ETAG, etag)], file.data.into_owned()).into_response()
}

/// What this API offers, as OpenAPI.
pub(super) async fn openapi() -> Response {
    let text = include_str!("openapi.json");
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(mut document) => {
            document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
            Json(document).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the description of the API cannot be read");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the description of the API cannot be read")
        }
    }
}
