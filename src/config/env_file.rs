//! Reads an `env_file`: `KEY=VALUE` lines with comments, quotes and `export`.
//!
//! Its lines hold secrets, so a mistake names the line's number and never shows it.

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) line: usize,
    /// What is wrong, without its content.
    pub(super) problem: &'static str,
}

/// The variables in order, and every line that cannot be read.
pub(super) fn parse(text: &str) -> (Vec<(String, String)>, Vec<BadLine>) {
    let mut variables = Vec::new();
    let mut bad = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        match variable(line) {
            Ok(Some(variable)) => variables.push(variable),
            Ok(None) => {}
            Err(problem) => bad.push(BadLine {
                line: index + 1,
                problem,
            }),
        }
    }
    (variables, bad)
}

/// A line's variable; none for an empty line or a comment.
fn variable(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let assignment = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        Some(_) | None => line,
    };
    let Some((name, value)) = assignment.split_once('=') else {
        return Err("has no `=`: write KEY=VALUE");
    };
    let name = name.trim_end();
    if !is_name(name) {
        return Err("does not begin with a variable's name (letters, digits and _)");
    }
    let value = unquote(value.trim())?;
    if value.contains('\0') {
        return Err("contains a NUL character");
    }
    Ok(Some((name.to_owned(), value)))
}

/// Whether it can be a variable's name.
pub(super) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn unquote(value: &str) -> Result<String, &'static str> {
    const OPEN: &str = "has a quote that is not closed";
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'').ok_or(OPEN)?;
        nothing_after(after)?;
        return Ok(inner.to_owned());
    }
    if let Some(rest) = value.strip_prefix('"') {
        let mut out = String::new();
        let mut chars = rest.chars();
        loop {
            match chars.next().ok_or(OPEN)? {
                '"' => break,
                '\\' => match chars.next().ok_or(OPEN)? {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    plain @ ('"' | '\\' | '$' | '`') => out.push(plain),
                    other => out.extend(['\\', other]),
                },
                plain => out.push(plain),
            }
        }
        nothing_after(chars.as_str())?;
        return Ok(out);
    }
    // A comment needs white space before it: `a#b` is a value.
    let comment = value
        .char_indices()
        .find(|(at, c)| *c == '#' && value[..*at].ends_with([' ', '\t']));
    let end = match comment {
        Some((at, _)) => at,
        None if value.starts_with('#') => 0,
        None => value.len(),
    };
    Ok(value[..end].trim_end().to_owned())
}

fn nothing_after(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("goes on after its closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_quotes_and_export_are_understood() {
        let text = "# a comment\n\nA=1\nexport B=two words # why\nC='# $x \\n'\n\
                    D=\"a\\nb \\\"c\\\"\" # x\nE=\nF=a#b\nG = spaced\nEXPORT=x\nexported=y\n";
        let (variables, bad) = parse(text);
        assert_eq!(bad, vec![]);
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            variables,
            vec![
                ("A", "1"),
                ("B", "two words"),
                ("C", "# $x \\n"),
                ("D", "a\nb \"c\""),
                ("E", ""),
                ("F", "a#b"),
                ("G", "spaced"),
                ("EXPORT", "x"),
                ("exported", "y"),
            ]
        );
    }

    #[test]
    fn every_bad_line_is_named_by_its_number() {
        let (variables, bad) = parse("A=1\nsecret\n2B=x\nC='open\nD='x' y\n");
        assert_eq!(variables.len(), 1);
        assert_eq!(
            bad.iter().map(|bad| bad.line).collect::<Vec<_>>(),
            vec![2, 3, 4, 5]
        );
        assert!(bad.iter().all(|bad| !bad.problem.contains("secret")));
    }
}
