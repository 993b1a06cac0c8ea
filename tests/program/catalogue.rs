//! The fault catalogue: which numbers must have a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The numbers of faults that have a test. It only grows.
const PROVED: &[u32] = &[
    1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 23, 24, 25, 26, 28, 29, 30, 31,
    34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57,
    58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81,
    82, 90,
];

#[test]
fn every_fault_number_of_the_list_has_a_test() {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "actors", "tests"] {
        collect(&root.join(folder), &mut found);
    }
    let missing: Vec<_> = PROVED
        .iter()
        .filter(|number| !found.contains(number))
        .collect();
    assert!(
        missing.is_empty(),
        "no `fn fNN_…` for the faults {missing:?}"
    );
}

/// The numbers of all test functions below a folder that are named after a fault.
fn collect(folder: &Path, found: &mut BTreeSet<u32>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source file");
            found.extend(source.split("#[test").skip(1).filter_map(fault_number));
            // Those that actix-rt runs.
            found.extend(
                source
                    .split("#[actix_rt::test")
                    .skip(1)
                    .filter_map(fault_number),
            );
        }
    }
}

/// The number in the name of the function that follows a test attribute.
fn fault_number(after_attribute: &str) -> Option<u32> {
    let name = after_attribute.split_once("fn ")?.1.strip_prefix('f')?;
    let (digits, _) = name.split_once('_')?;
    digits.parse().ok()
}

#[test]
fn the_number_of_a_fault_is_read_from_the_name_of_its_test() {
    assert_eq!(fault_number("]\nfn f28_kills() {"), Some(28));
    assert_eq!(fault_number("]\n    async fn f09_missing() {"), Some(9));
    assert_eq!(fault_number("]\nfn finds_nothing() {"), None);
}
