//! Makes what the program embeds.
//!
//! The shim (see `src/shim/src/lib.rs` on its form) has no dependencies and no libc, so one
//! call of rustc does it, the same in every profile. Flags and wrappers that belong to the
//! program do not reach it.
//!
//! The dashboard is the files of `src/dashboard` as they are, and compressed. They are served
//! below an address that names their content, so that browsers keep them for good.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() {
    println!("cargo:rerun-if-changed=src/shim/src");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR")).join("supervisor-shim");
    compile(&root.join("src/shim/src/start.rs"), &out);
    println!("cargo:rustc-env=SUPERVISOR_SHIM={}", out.display());
    dashboard(&root.join("src/dashboard"));
}

/// Writes `dashboard.rs`: every file with its kind, plain and compressed.
fn dashboard(root: &Path) {
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    let files: Vec<(String, Vec<u8>)> = files.iter().map(|path| (name(path), read(path))).collect();
    let version = fingerprint(&files);
    let out = PathBuf::from(variable("OUT_DIR")).join("dashboard");
    // What was removed must not stay embedded.
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
    let mut list = format!("pub(crate) const VERSION: &str = {version:?};\n");
    list.push_str("pub(crate) static FILES: &[File] = &[\n");
    for (name, mut bytes) in files {
        let Some(kind) = kind(&name) else { continue };
        if name == "index.html" {
            let page = String::from_utf8(bytes).unwrap_or_else(|_| panic!("{name} is not UTF-8"));
            bytes = page
                .replace("/assets/", &format!("/assets/{version}/"))
                .into_bytes();
        }
        let (plain, packed) = (out.join(&name), out.join(format!("{name}.gz")));
        write(&packed, &gzip(&bytes));
        write(&plain, &bytes);
        writeln!(
            list,
            "File {{ name: {name:?}, kind: {kind:?}, plain: include_bytes!({plain:?}), packed: include_bytes!({packed:?}) }},",
        )
        .expect("a String takes everything");
    }
    list.push_str("];\n");
    write(&out.with_extension("rs"), list.as_bytes());
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("a directory that can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().expect("a file has a name");
    name.to_str().expect("our own names").to_owned()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Of what is served; none for licences and notes, which only the sources carry.
fn kind(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).expect("memory takes everything");
    packed.finish().expect("memory takes everything")
}

/// FNV-1a (64 bits) over all names and contents: not against forgery, only against staleness.
fn fingerprint(files: &[(String, Vec<u8>)]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in files
        .iter()
        .flat_map(|(name, bytes)| name.bytes().chain(bytes.iter().copied()))
    {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

fn compile(source: &Path, out: &Path) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--crate-name", "supervisor_shim", "--crate-type", "bin"])
        .args(["--edition", "2024", "--target", &variable("TARGET")])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "lto=fat"])
        .args(["-C", "codegen-units=1", "-C", "debuginfo=0"])
        .args(["-C", "strip=symbols", "-C", "overflow-checks=off"])
        .args(["-C", "debug-assertions=off"])
        // Not position independent: relocations would make pages private.
        .args(["-C", "relocation-model=static"])
        .args(["-C", "target-feature=+crt-static"])
        .args(["-C", "default-linker-libraries=no"])
        .args([
            "-C",
            "link-args=-nostartfiles -nostdlib -static -Wl,--build-id=none",
        ])
        .args(["-C", "link-args=-Wl,-z,norelro -Wl,-z,noseparate-code"])
        .args(["-D", "warnings", "-o"])
        .arg(out)
        .arg(source);
    if variable("CARGO_CFG_TARGET_ENV") == "musl" {
        // Its own start-up files would define _start a second time.
        rustc.args(["-C", "link-self-contained=no"]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
        rustc.env_remove(name);
    }
    match rustc.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "the shim does not compile: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("rustc cannot be run for the shim: {error}"),
    }
}
