//! Nothing that a file can contain is worse than a mistake.

use proptest::prelude::*;

use super::*;

const REFERENCE: &str = include_str!("../../../docs/reference.toml");

/// Reads and shows, in every way that users see it.
fn survive(text: &str) {
    let _ = check(text);
}

fn check(text: &str) -> usize {
    match read(text) {
        Ok(settings) => check_report(&settings).len(),
        Err(errors) => {
            assert!(!errors.mistakes().is_empty(), "refused without a reason");
            for mistake in errors.mistakes() {
                assert!(mistake.position().is_some(), "{mistake} has no place");
            }
            let plain = errors.render(false, 0);
            assert!(plain.ends_with(&format!("{}\n", errors.summary())));
            errors.render(true, 80).len() + errors.to_string().len()
        }
    }
}

/// Values that are wrong nearly everywhere, and some that are right.
const VALUES: [&str; 30] = [
    "true",
    "0",
    "-1",
    "1",
    "30",
    "0.5",
    "-0.0",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "0xffff",
    "9223372036854775808",
    "170141183460469231731687303715884105728",
    "1979-05-27",
    "''",
    "'-5s'",
    "'30s'",
    "'10%'",
    "'-1%'",
    "'9999999999999999 years'",
    "'SIGTERM'",
    "\"\\u0000\"",
    "[]",
    "['']",
    "[['a']]",
    "{}",
    "{ a = 1 }",
    "'''\n\n'''",
    "'ü😀'",
];

/// A key somewhere in a table, as they come in the wild.
fn line() -> impl Strategy<Value = String> {
    let keys: Vec<String> = super::reference::every_key();
    (
        proptest::sample::select(keys),
        proptest::sample::select(VALUES.to_vec()),
    )
        .prop_map(|(key, value)| format!("{} = {value}\n", key.replace("NAME", "a")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        survive(&text);
    }

    #[test]
    fn any_wrong_value_of_any_key_is_read_or_refused(lines in prop::collection::vec(line(), 1..6)) {
        survive(&lines.concat());
    }

    #[test]
    fn a_mutilated_reference_is_read_or_refused(
        cut in 0..REFERENCE.len(),
        length in 0..40usize,
        insert in "[\\PC\\n\\r\\t\"'\\[\\]{}=,.#]{0,8}",
    ) {
        let bytes = REFERENCE.as_bytes();
        let end = (cut + length).min(bytes.len());
        let text = [&bytes[..cut], insert.as_bytes(), &bytes[end..]].concat();
        survive(&String::from_utf8_lossy(&text));
    }
}

#[test]
fn a_reference_cut_at_any_byte_is_read_or_refused() {
    for end in (0..REFERENCE.len())
        .filter(|end| REFERENCE.is_char_boundary(*end))
        .step_by(7)
    {
        survive(&REFERENCE[..end]);
    }
}

#[test]
fn lines_may_end_in_two_bytes_and_the_file_may_begin_with_a_mark() {
    let text = REFERENCE.replace('\n', "\r\n");
    assert_eq!(good(&text).services, good(REFERENCE).services);
    assert_eq!(
        good(&format!("\u{feff}{REFERENCE}")).services,
        good(REFERENCE).services
    );
    survive("[services.a]\r\nfrob = 1\r\n");
}

#[test]
fn deep_nesting_is_refused_and_a_long_chain_is_not() {
    survive(&format!("a = {}", "[".repeat(100_000)));
    survive(&format!("a = {}", "{a=".repeat(10_000)));
    survive(&format!("[{}]", vec!["a"; 10_000].join(".")));
    let chain: String = (1..3_000)
        .map(|n| format!("[services.s{n}]\ndepends_on = ['s{}']\n", n - 1))
        .collect();
    assert_eq!(
        good(&format!("[services.s0]\n{chain}")).services.len(),
        3_000
    );
}

#[test]
fn a_long_file_full_of_mistakes_is_refused_in_time_that_grows_with_its_length_alone() {
    for line in [
        "frob = \n",
        "interval = 30s\n",
        "x\n",
        "[services.A]\n",
        "\"\n",
        "a.b = 1\n",
    ] {
        survive(&line.repeat(20_000));
    }
    let different: String = (0..5_000)
        .map(|n| format!("[services.s{n}]\nfrob = 1\n"))
        .collect();
    survive(&different);
}
