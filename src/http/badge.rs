//! `GET /badge/{name}.svg`: a service's level as a picture, for a page or a README.

use actix_web::HttpResponse;
use actix_web::http::header;

use supervisor_core::Level;

use super::api::Api;
use super::problem::Problem;
use super::services;

/// How wide a letter of 11 px is on the average, and the space around a word.
const LETTER: usize = 7;
const SPACE: usize = 10;

/// `GET /badge/{name}.svg`.
pub(super) async fn show(api: &Api, file: &str) -> Result<HttpResponse, Problem> {
    let name = file
        .strip_suffix(".svg")
        .ok_or_else(|| Problem::unknown_service(file))?;
    let view = services::find(api, name).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "image/svg+xml"))
        // Whoever keeps pictures for others asks each time.
        .insert_header((header::CACHE_CONTROL, "no-cache, max-age=0"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .body(picture(view.name.as_str(), view.status)))
}

/// Colours on which white text is read (a contrast of 4.5 at least).
fn colour(level: Level) -> &'static str {
    match level {
        Level::Healthy => "#1a7f37",
        Level::Warning => "#8a6100",
        Level::Degraded => "#b04a00",
        Level::Critical => "#c5221f",
        Level::Unknown => "#5f6368",
    }
}

/// Names hold no character that XML knows.
fn picture(name: &str, level: Level) -> String {
    let word = level.as_str();
    let left = name.len() * LETTER + SPACE;
    let right = word.len() * LETTER + SPACE;
    let (all, colour) = (left + right, colour(level));
    let (first, second) = (left / 2, left + right / 2);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="20" role="img" aria-label="{name}: {word}"><title>{name}: {word}</title><rect width="{left}" height="20" fill="#3c4043"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/><g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="{first}" y="14" textLength="{}">{name}</text><text x="{second}" y="14" textLength="{}">{word}</text></g></svg>"##,
        left - SPACE,
        right - SPACE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_names_the_service_and_its_level() {
        let text = picture("web@1", Level::Critical);
        assert!(
            text.starts_with("<svg ") && text.ends_with("</svg>"),
            "{text}"
        );
        assert!(text.contains(r#"aria-label="web@1: critical""#), "{text}");
        assert!(text.contains(colour(Level::Critical)), "{text}");
    }
}
