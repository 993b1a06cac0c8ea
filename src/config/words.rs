//! Splits a command as a shell splits words. No shell runs it, so what only a shell would
//! understand is refused rather than handed to the program as a word.

use std::ops::Range;

use super::value::Value;

/// Why a text cannot be split, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsplittable {
    /// Which bytes of the text.
    pub(super) at: Range<usize>,
    /// What is wrong with them.
    pub(super) problem: String,
}

/// Words that are operators to a shell when they stand unquoted.
const OPERATORS: [&str; 14] = [
    "|", "||", "|&", "&", "&&", ";", ";;", "<", "<<", ">", ">>", "2>", "2>>", "&>",
];

/// A program and its arguments: an array of strings, or a string to split, or said.
pub(crate) fn command(value: &Value<'_>) -> Option<Vec<String>> {
    const EXAMPLE: &str = "[\"python3\", \"worker.py\"]";
    let words = if value.is_array() {
        value.list(EXAMPLE, |word| {
            let text = word.need_text("\"word\"")?;
            if text.contains('\0') {
                return word.wrong("contains a NUL character", "no program can be given one");
            }
            Some(text.to_owned())
        })?
    } else if let Some(text) = value.text() {
        if text.contains('\0') {
            return value.wrong("contains a NUL character", "no program can be given one");
        }
        match split(text) {
            Ok(words) => words,
            Err(Unsplittable { at, problem }) => {
                let span = value.inner_span(at.start, at.len());
                let help = "quote it, write an array of words, or run a shell: \
                            [\"sh\", \"-c\", \"…\"]";
                return value.wrong_at(span, "cannot be split into words", &problem, help);
            }
        }
    } else {
        return value.expected("an array of words, or a string", EXAMPLE);
    };
    match words.first() {
        None => value.wrong("is empty", format!("name a program: {EXAMPLE}")),
        Some(program) if program.trim().is_empty() => {
            value.wrong("begins with an empty word", "the first word is the program")
        }
        Some(_) => Some(words),
    }
}

/// Splits at white space outside quotes (POSIX, Shell Command Language, 2.2 Quoting).
pub(super) fn split(text: &str) -> Result<Vec<String>, Unsplittable> {
    let mut words = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut word = String::new();
    // Where the word began, if one has: `""` is a word, too.
    let mut begun: Option<usize> = None;
    let mut quoted = false;

    while let Some((at, c)) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => {
                if let Some(start) = begun.take() {
                    words.push(finish(&mut word, start..at, quoted)?);
                }
                quoted = false;
            }
            '\'' => {
                begun.get_or_insert(at);
                quoted = true;
                loop {
                    match chars.next() {
                        Some((_, '\'')) => break,
                        Some((_, inner)) => word.push(inner),
                        None => return unclosed(at, "this single quote is not closed"),
                    }
                }
            }
            '"' => {
                begun.get_or_insert(at);
                quoted = true;
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((_, '\\')) => match chars.next() {
                            Some((_, '\n')) => {}
                            Some((_, escaped @ ('$' | '`' | '"' | '\\'))) => word.push(escaped),
                            Some((_, other)) => word.extend(['\\', other]),
                            None => return unclosed(at, "this double quote is not closed"),
                        },
                        Some((_, inner)) => word.push(inner),
                        None => return unclosed(at, "this double quote is not closed"),
                    }
                }
            }
            '\\' => {
                quoted = true;
                match chars.next() {
                    Some((_, '\n')) => {}
                    Some((_, escaped)) => {
                        begun.get_or_insert(at);
                        word.push(escaped);
                    }
                    None => return unclosed(at, "nothing follows this backslash"),
                }
            }
            plain => {
                begun.get_or_insert(at);
                word.push(plain);
            }
        }
    }
    if let Some(start) = begun {
        words.push(finish(&mut word, start..text.len(), quoted)?);
    }
    Ok(words)
}

fn unclosed<T>(at: usize, problem: &str) -> Result<T, Unsplittable> {
    Err(Unsplittable {
        at: at..at + 1,
        problem: problem.to_owned(),
    })
}

/// Ends a word, unless it is one that only a shell understands.
fn finish(word: &mut String, at: Range<usize>, quoted: bool) -> Result<String, Unsplittable> {
    let word = std::mem::take(word);
    if !quoted && OPERATORS.contains(&word.as_str()) {
        let problem = format!("only a shell understands `{word}`, and none runs this");
        return Err(Unsplittable { at, problem });
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        for (text, words) in [
            ("a b  c", vec!["a", "b", "c"]),
            ("  a\tb\n", vec!["a", "b"]),
            ("'a b' c", vec!["a b", "c"]),
            (r#"a"b c"d"#, vec!["ab cd"]),
            (r#""say \"hi\" \n""#, vec![r#"say "hi" \n"#]),
            (r"a\ b \'", vec!["a b", "'"]),
            ("'' \"\"", vec!["", ""]),
            ("sh -c 'a | b; c'", vec!["sh", "-c", "a | b; c"]),
            ("a '|' \\; >x", vec!["a", "|", ";", ">x"]),
            ("héllo 'wörld'", vec!["héllo", "wörld"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text:?}");
        }
    }

    #[test]
    fn an_open_quote_is_pointed_at() {
        for (text, at) in [("a 'b", 2), ("a \"b", 2), ("a\\", 1), ("'it's'", 5)] {
            assert_eq!(split(text).unwrap_err().at, at..at + 1, "{text:?}");
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for (text, at) in [("a | b", 2..3), ("a && b", 2..4), ("a b > c", 4..5)] {
            assert_eq!(split(text).unwrap_err().at, at, "{text:?}");
        }
    }
}
