//! Time zones by their names in the IANA database, from the files that the system keeps.
//!
//! Each zone is read for itself: a database of all of them would be memory for nothing.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use jiff::tz::TimeZone;

/// Where systems keep it.
const PLACES: [&str; 4] = [
    "/usr/share/zoneinfo",
    "/usr/lib/zoneinfo",
    "/usr/share/lib/zoneinfo",
    "/etc/zoneinfo",
];
/// The largest one has 4 kB.
const MOST_BYTES: u64 = 256 * 1024;

/// Why there is no such zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ZoneError {
    /// No file can have that name.
    #[error("is no name of a time zone")]
    Name,
    /// It is in no database.
    #[error("is not in the time zone database ({0})")]
    Unknown(String),
    /// There is no database.
    #[error("cannot be looked up: this system has no time zone database")]
    NoDatabase,
    /// Its file cannot be understood.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// The zone of that name. `UTC` needs no database.
///
/// # Errors
/// Why there is none.
pub(crate) fn load(name: &str) -> Result<TimeZone, ZoneError> {
    load_from(&PLACES, name)
}

fn load_from(places: &[&str], name: &str) -> Result<TimeZone, ZoneError> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let part = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
            && part
                .bytes()
                .next()
                .is_some_and(|first| first.is_ascii_uppercase())
    };
    if name.len() > 64 || !name.split('/').all(part) {
        return Err(ZoneError::Name);
    }
    let Some(place) = places.iter().map(Path::new).find(|place| place.is_dir()) else {
        return Err(ZoneError::NoDatabase);
    };
    let mut bytes = Vec::new();
    let path = place.join(name);
    if !path.is_file() {
        return Err(ZoneError::Unknown(place.display().to_string()));
    }
    File::open(&path)
        .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
        .map_err(|error| ZoneError::Unreadable(error.to_string()))?;
    TimeZone::tzif(name, &bytes).map_err(|error| ZoneError::Unreadable(error.to_string()))
}

/// The names that there are, to suggest one of them.
pub(crate) fn names() -> Vec<String> {
    let Some(place) = PLACES.iter().map(Path::new).find(|place| place.is_dir()) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut ahead = vec![String::new()];
    while let Some(inner) = ahead.pop() {
        let Ok(entries) = fs::read_dir(place.join(&inner)) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // posix/ and right/ hold the same once more.
            if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
                continue;
            }
            let path = match inner.as_str() {
                "" => name,
                inner => format!("{inner}/{name}"),
            };
            if entry.path().is_dir() && path.matches('/').count() < 3 {
                ahead.push(path);
            } else {
                names.push(path);
            }
        }
    }
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_and_nothing_else_is() {
        assert_eq!(load("UTC"), Ok(TimeZone::UTC));
        let berlin = load("Europe/Berlin").expect("tzdata is installed");
        assert_eq!(berlin.iana_name(), Some("Europe/Berlin"));
        for bad in [
            "",
            "/etc/passwd",
            "../passwd",
            "Europe/../UTC",
            "europe/berlin",
            "A\0",
        ] {
            assert_eq!(load(bad), Err(ZoneError::Name), "{bad}");
        }
        assert!(matches!(load("Europe/Berln"), Err(ZoneError::Unknown(_))));
        assert!(matches!(load("Europe"), Err(ZoneError::Unknown(_))));
        assert_eq!(
            load_from(&["/nowhere"], "Europe/Berlin"),
            Err(ZoneError::NoDatabase)
        );
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("Broken"), b"TZif2 and then nothing").expect("written");
        let place = home.path().to_str().expect("text");
        assert!(matches!(
            load_from(&[place], "Broken"),
            Err(ZoneError::Unreadable(_))
        ));
        assert!(
            names()
                .iter()
                .any(|name| name == "America/Argentina/Ushuaia")
        );
    }
}
