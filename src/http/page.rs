//! The dashboard: files that are the same for everybody. Who may see what, the API says.
//!
//! The shell (`/` and `/login`) is asked for anew each time and answered with 304 where it has
//! not changed; what it needs lies below an address that names the content, and is kept by
//! browsers for good. Nothing of it comes from elsewhere, and nothing inline is run.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::web::Bytes;

use super::packed::takes_gzip;
use super::problem::Problem;
use super::routes;

/// What the page may load, run and speak to: us, and nobody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// A file of the dashboard.
struct File {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    /// By gzip.
    packed: &'static [u8],
}

mod files {
    use super::File;

    include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));
}

pub(super) use files::VERSION;

/// `GET /` and `GET /login`.
pub(super) fn shell(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let file = find("index.html").ok_or_else(routes::not_found)?;
    let etag = format!("\"{VERSION}\"");
    let known = request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|tags| tags.to_str().ok())
        .any(|tags| tags.contains(&etag));
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::ETAG, etag))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ));
    if known {
        return Ok(response.finish());
    }
    Ok(body(&mut response, file, request.headers()))
}

/// `GET /assets/{version}/{name}`.
pub(super) fn asset(
    request: &HttpRequest,
    version: &str,
    name: &str,
) -> Result<HttpResponse, Problem> {
    // Another version's page must not be mixed with our files.
    let file = find(name)
        .filter(|_| version == VERSION)
        .ok_or_else(routes::not_found)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, FOR_GOOD));
    Ok(body(&mut response, file, request.headers()))
}

fn find(name: &str) -> Option<&'static File> {
    files::FILES.iter().find(|file| file.name == name)
}

fn body(response: &mut HttpResponseBuilder, file: &File, asked: &HeaderMap) -> HttpResponse {
    response
        .insert_header((header::CONTENT_TYPE, file.kind))
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ));
    if takes_gzip(asked) {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
        return response.body(Bytes::from_static(file.packed));
    }
    response.body(Bytes::from_static(file.plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_compressed_is_at_most_150_kb() {
        let size: usize = files::FILES.iter().map(|file| file.packed.len()).sum();
        assert!(size <= 150_000, "{size} bytes");
        assert!(files::FILES.len() > 5);
    }

    #[test]
    fn the_shell_names_only_files_that_are_there() {
        let page = std::str::from_utf8(find("index.html").unwrap().plain).unwrap();
        let prefix = format!("/assets/{VERSION}/");
        let names: Vec<&str> = page
            .split(&prefix)
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(!names.is_empty());
        for name in names {
            assert!(find(name).is_some(), "{name}");
        }
        for inline in [
            "<style",
            " style=",
            "<script>",
            " onclick=",
            "javascript:",
            "https://",
        ] {
            assert!(!page.contains(inline), "{inline}");
        }
    }
}
