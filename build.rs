//! Compiles the shim, which the program embeds: see `src/shim/src/lib.rs` on its form.
//!
//! It has no dependencies and no libc, so one call of rustc does it, the same in every
//! profile. Flags and wrappers that belong to the program do not reach it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/shim/src");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR")).join("supervisor-shim");
    compile(&root.join("src/shim/src/start.rs"), &out);
    println!("cargo:rustc-env=SUPERVISOR_SHIM={}", out.display());
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
