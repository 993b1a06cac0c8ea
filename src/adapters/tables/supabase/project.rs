//! Which project, and the key to it.

use std::fmt;

use awc::http::Uri;
use awc::http::header::HeaderValue;

/// A project's address and key.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// Scheme, host and port, and a path where a self-hosted one has one; no `/` at the end.
    base: String,
    key: ApiKey,
}

/// A key. It is shown nowhere: not by `Debug`, not in errors, not in a header's own `Debug`.
#[derive(Clone)]
pub(crate) struct ApiKey(String);

/// Why there is no project to speak to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProjectError {
    /// Nobody says where.
    #[error("the sync's target is supabase, but no variable says where that is: set {}", .0.join(" or "))]
    NoUrl(Vec<String>),
    /// Nobody gives a key.
    #[error("the sync's target is supabase, but there is no key to it: set {}", .0.join(" or "))]
    NoKey(Vec<String>),
    /// That is no address of a project.
    #[error("{0:?} is no address of a project: {1}")]
    Url(String, &'static str),
    /// Anybody on the way could read the key.
    #[error(
        "{0:?} would carry the key in the clear: write https://, or allow_http = true where the network is yours alone"
    )]
    Clear(String),
    /// That is no key. Which one is not said.
    #[error("the key to the project {0}")]
    Key(&'static str),
}

impl Project {
    /// The project that these variables of the environment name, of each the first that is
    /// set.
    ///
    /// # Errors
    /// See [`ProjectError`].
    pub(crate) fn from_env(
        env: &dyn Fn(&str) -> Option<String>,
        url: &[String],
        key: &[String],
        allow_http: bool,
    ) -> Result<Self, ProjectError> {
        let first = |names: &[String]| {
            names
                .iter()
                .filter_map(|name| env(name))
                .map(|value| value.trim().to_owned())
                .find(|value| !value.is_empty())
        };
        let address = first(url).ok_or_else(|| ProjectError::NoUrl(url.to_vec()))?;
        let secret = first(key).ok_or_else(|| ProjectError::NoKey(key.to_vec()))?;
        Self::new(&address, &secret, allow_http)
    }

    /// The project at this address. `http://` is for this machine alone unless it is allowed.
    ///
    /// # Errors
    /// See [`ProjectError`].
    pub(crate) fn new(url: &str, key: &str, allow_http: bool) -> Result<Self, ProjectError> {
        let bad = |why| Err(ProjectError::Url(without_secrets(url), why));
        let Ok(uri) = url.trim().parse::<Uri>() else {
            return bad("it cannot be read as a URL");
        };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return bad("it must begin with https://");
        };
        if authority.as_str().contains('@') {
            return bad("it holds a user name, which is for nobody there");
        }
        if uri.query().is_some() {
            return bad("it ends in a query");
        }
        match scheme {
            "https" => {}
            "http" if allow_http || is_loopback(authority.host()) => {}
            "http" => return Err(ProjectError::Clear(url.to_owned())),
            _ => return bad("it must begin with https://"),
        }
        let path = uri.path().trim_end_matches('/');
        // Some copy the address of the REST API.
        let path = path.strip_suffix("/rest/v1").unwrap_or(path);
        Ok(Self {
            base: format!("{scheme}://{authority}{path}"),
            key: ApiKey::new(key)?,
        })
    }

    /// Its address, without `/` at the end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn key(&self) -> &ApiKey {
        &self.key
    }
}

impl ApiKey {
    fn new(text: &str) -> Result<Self, ProjectError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ProjectError::Key("is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ProjectError::Key(
                "holds a space or another character that no key has",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the header `apikey`.
    pub(super) fn header(&self) -> HeaderValue {
        sensitive(&self.0)
    }

    /// The value of `Authorization`, which a key gets that is a JWT: PostgREST refuses others.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        (!self.0.starts_with("sb_")).then(|| sensitive(&format!("Bearer {}", self.0)))
    }

    /// A text without the key, should somebody have repeated it.
    pub(super) fn scrub(&self, text: String) -> String {
        if text.contains(&self.0) {
            text.replace(&self.0, "…")
        } else {
            text
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

fn sensitive(text: &str) -> HeaderValue {
    let mut value =
        HeaderValue::from_str(text).unwrap_or_else(|_| unreachable!("a key is graphic ASCII"));
    value.set_sensitive(true);
    value
}

/// An address as it may be shown: what stands before an `@` may be a password.
fn without_secrets(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => url.to_owned(),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "eyJ.secret.sig";

    fn base(url: &str) -> Result<String, ProjectError> {
        Project::new(url, KEY, false).map(|project| project.base().to_owned())
    }

    #[test]
    fn an_address_is_taken_with_or_without_what_some_copy_behind_it() {
        for (url, expected) in [
            ("https://x.supabase.co", "https://x.supabase.co"),
            ("https://x.supabase.co/", "https://x.supabase.co"),
            (" https://x.supabase.co/rest/v1/ ", "https://x.supabase.co"),
            ("https://own.example:8443/db", "https://own.example:8443/db"),
            ("http://127.0.0.1:54321", "http://127.0.0.1:54321"),
            ("http://localhost:54321", "http://localhost:54321"),
            ("http://[::1]:54321", "http://[::1]:54321"),
        ] {
            assert_eq!(base(url).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn an_address_that_would_betray_the_key_is_refused() {
        for url in [
            "http://x.supabase.co",
            "http://10.0.0.5:8000",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
        ] {
            assert_eq!(base(url), Err(ProjectError::Clear(url.to_owned())));
            assert!(Project::new(url, KEY, true).is_ok());
        }
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        for url in [
            "",
            "x.supabase.co",
            "/rest/v1",
            "ftp://x.supabase.co",
            "https://x.supabase.co?apikey=1",
            "https://",
            "https://a b",
        ] {
            assert!(matches!(base(url), Err(ProjectError::Url(..))), "{url:?}");
        }
        let error = base("https://user:hidden@x.supabase.co").unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }

    #[test]
    fn of_each_the_first_variable_that_is_set_counts() {
        let env = |pairs: &'static [(&str, &str)]| {
            Project::from_env(
                &move |name| {
                    let found = pairs.iter().find(|(key, _)| *key == name);
                    found.map(|(_, value)| (*value).to_owned())
                },
                &["SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"].map(str::to_owned),
                &["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_KEY"].map(str::to_owned),
                false,
            )
        };
        let found = env(&[
            ("SUPABASE_URL", "https://a.supabase.co"),
            ("NEXT_PUBLIC_SUPABASE_URL", "https://b.supabase.co"),
            ("SUPABASE_SERVICE_ROLE_KEY", "one"),
            ("SUPABASE_KEY", "two"),
        ])
        .unwrap();
        assert_eq!(found.base(), "https://a.supabase.co");
        assert_eq!(found.key().header(), "one");
        let found = env(&[
            ("SUPABASE_URL", " "),
            ("NEXT_PUBLIC_SUPABASE_URL", "https://b.supabase.co"),
            ("SUPABASE_KEY", "two\n"),
        ])
        .unwrap();
        assert_eq!(found.base(), "https://b.supabase.co");
        assert_eq!(found.key().header(), "two");
        assert!(matches!(env(&[]), Err(ProjectError::NoUrl(_))));
        let no_key = env(&[("SUPABASE_URL", "https://a.supabase.co")]).unwrap_err();
        assert_eq!(
            no_key.to_string(),
            "the sync's target is supabase, but there is no key to it: set SUPABASE_SERVICE_ROLE_KEY or SUPABASE_KEY"
        );
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        let project = Project::new("https://x.supabase.co", KEY, false).unwrap();
        let shown = format!(
            "{project:?} {:?} {:?}",
            project.key().header(),
            project.key().bearer()
        );
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(project.key().scrub(format!("a {KEY} b")), "a … b");
        let bad = Project::new("https://x.supabase.co", "secret\nsecret", false).unwrap_err();
        assert!(!bad.to_string().contains("secret"), "{bad}");
    }

    #[test]
    fn only_a_key_that_is_a_jwt_is_a_bearer_token() {
        let bearer = |key| {
            let project = Project::new("https://x.supabase.co", key, false).unwrap();
            project.key().bearer()
        };
        assert_eq!(bearer(KEY).unwrap(), format!("Bearer {KEY}").as_str());
        assert_eq!(bearer("sb_secret_abc"), None);
        assert_eq!(bearer("sb_publishable_abc"), None);
    }
}
