//! The status page: one document with its style and script in it, which asks the API again and again.
//!
//! Nothing in it comes from elsewhere, and the browser is told to take nothing from elsewhere either: only what has the
//! digests of this style and this script is used.

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

struct Page {
    text: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| Page {
    text: DOCUMENT.replace("{{style}}", STYLE).replace("{{script}}", SCRIPT),
    policy: format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        digest(STYLE),
        digest(SCRIPT)
    ),
});

fn digest(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

pub(super) async fn show() -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE.policy.as_str())];
    (headers, PAGE.text.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_asks_nobody_else() {
        let page = &PAGE.text;
        assert!(page.contains(STYLE) && page.contains(SCRIPT));
        for elsewhere in ["http://", "https://", "src=", "@import", "url(", "innerHTML"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}
