//! The text format of Prometheus (version 0.0.4): families with a help line, a type and samples.

use std::fmt::{Display, Write as _};

/// What a family's numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// They only grow, but for a new beginning.
    Counter,
    /// They go up and down.
    Gauge,
}

/// A text under construction.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// A family of it: begun by its first sample, so that none is without.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
    help: &'static str,
    kind: Kind,
    begun: bool,
}

impl Exposition {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// A family of that name. Its help is one line without backslashes.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Family<'_> {
        Family {
            text: &mut self.0,
            name,
            help,
            kind,
            begun: false,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// One of its numbers.
    pub(super) fn put(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let (text, name) = (&mut *self.text, self.name);
        if !self.begun {
            self.begun = true;
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let help = self.help;
            let _never_fails = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        text.push_str(name);
        for (n, (label, value)) in labels.iter().enumerate() {
            text.push(if n == 0 { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _never_fails = writeln!(text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_begun_once_and_an_empty_one_never() {
        let mut text = Exposition::default();
        text.family("none", Kind::Gauge, "Nothing.");
        let mut family = text.family("some_total", Kind::Counter, "Something.");
        family.put(&[("a", "b\"\\\n")], 1);
        family.put(&[("a", "c"), ("d", "e")], 0.5);
        text.family("one", Kind::Gauge, "One.").put(&[], -1);
        assert_eq!(
            text.into_text(),
            "# HELP some_total Something.\n# TYPE some_total counter\n\
             some_total{a=\"b\\\"\\\\\\n\"} 1\nsome_total{a=\"c\",d=\"e\"} 0.5\n\
             # HELP one One.\n# TYPE one gauge\none -1\n"
        );
    }
}
