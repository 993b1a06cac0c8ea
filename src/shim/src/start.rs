//! The root of the freestanding program: entry point, panic handler, and the four memory
//! routines that the compiler expects to exist. Everything else is shared with the library.
//!
//! There is no libc below us: a static glibc's start-up alone dirties 50 kB of private
//! memory a process and maps 180 kB of text.

#![no_std]
#![no_main]
#![no_builtins]
#![allow(dead_code, unreachable_pub)]

mod child;
mod errand;
mod lines;
mod log;
mod oom;
mod protocol;
mod record;
mod run;
mod spec;
mod sys;
mod text;
mod tree;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call shim_main",
    "ud2",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "bl shim_main",
    "brk #1",
);

#[cfg(target_arch = "riscv64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "li ra, 0",
    "mv a0, sp",
    "call shim_main",
    "unimp",
);

#[unsafe(no_mangle)]
extern "C" fn shim_main(stack: *const usize) -> ! {
    // SAFETY: the kernel puts the number of arguments there, then pointers to them.
    let title = unsafe { title(stack) };
    sys::exit(run::run(title))
}

/// The bytes of the first argument: what `ps` shows, and ours to change.
unsafe fn title(stack: *const usize) -> &'static mut [u8] {
    // SAFETY: the caller's word; the strings live as long as the process.
    unsafe {
        if *stack == 0 {
            return &mut [];
        }
        let first = *stack.add(1) as *mut u8;
        core::slice::from_raw_parts_mut(first, strlen(first))
    }
}

/// 134 is what a shell shows for an abort. The supervisor sees a lost shim and ends the tree.
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(134)
}

/// Referenced by the precompiled core; never called, as panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's contract is memcpy's.
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _,
            inout("rsi") from => _, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: as above.
    unsafe {
        for i in 0..count {
            *to.add(i) = *from.add(i);
        }
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: the target does not begin inside the source, so copying forwards is right.
        return unsafe { memcpy(to, from, count) };
    }
    for i in (0..count).rev() {
        // SAFETY: the caller's contract is memmove's.
        unsafe { *to.add(i) = *from.add(i) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    for i in 0..count {
        // SAFETY: the caller's contract is memset's, which takes the low byte.
        unsafe { *to.add(i) = byte as u8 };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    for i in 0..count {
        // SAFETY: the caller's contract is memcmp's.
        let (x, y) = unsafe { (*a.add(i), *b.add(i)) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(a, b, count) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller's contract is strlen's: a NUL ends it.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    length
}
