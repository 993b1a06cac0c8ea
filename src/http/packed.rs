//! Answers that are compressed for those who take that: ten thousand services are megabytes of
//! the same words.

use std::io::Write as _;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::block;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::health;

/// Below it, compressing costs more than it saves.
const WORTH_IT: usize = 8 * 1024;

/// An answer in JSON that nobody keeps, compressed where it is large and the client takes that.
pub(super) async fn json(body: &impl Serialize, asked: &HeaderMap) -> HttpResponse {
    if !takes_gzip(asked) {
        return health::json(body);
    }
    let plain = match serde_json::to_vec(body) {
        Ok(plain) if plain.len() >= WORTH_IT => plain,
        // What cannot be written is answered as elsewhere.
        _ => return health::json(body),
    };
    let done = block(move || {
        // The fastest: twice as hard saves little, because what repeats is near.
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&plain).and_then(|()| packed.finish())
    });
    match done.await {
        Ok(Ok(packed)) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .insert_header((header::CONTENT_ENCODING, "gzip"))
            .insert_header((header::VARY, "Accept-Encoding"))
            .body(packed),
        // Memory takes everything, and a panic elsewhere is no reason not to answer.
        Ok(Err(_)) | Err(_) => health::json(body),
    }
}

/// Whether a client takes gzip: names it, and not with `q=0`.
pub(super) fn takes_gzip(asked: &HeaderMap) -> bool {
    let named = asked
        .get_all(header::ACCEPT_ENCODING)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut named = named.map(|coding| coding.split_once(';').unwrap_or((coding, "")));
    named.any(|(coding, quality)| {
        let refused = quality
            .trim()
            .strip_prefix("q=")
            .and_then(|q| q.parse::<f32>().ok())
            .is_some_and(|q| q <= 0.0);
        coding.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (said, taken) in [
            ("gzip, deflate, br", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(said));
            assert_eq!(takes_gzip(&headers), taken, "{said}");
        }
    }
}
