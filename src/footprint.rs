//! How much memory we take: what we use, not what we are made of.
//!
//! At rest nearly all memory of the program is its own code, and most of that is the start's
//! (configuration, command line, database) or belongs to what a configuration does not use. The
//! kernel maps code in by the large folio or by 64 kB around each page that is used, and never
//! out again while there is room. So after the start, and ever more seldom then, all of it is given back:
//! what is needed is mapped in again from the page cache, some hundred faults of less than a
//! microsecond. And since what runs lies scattered over the whole program, the mapping is cut
//! into windows first: no fault maps in more than its own.
//!
//! [Built for size](../docs/decisions/0004-built-for-size.md) has the figures.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::time::Duration;

/// How long the start takes at most, with all that follows from it.
const START: Duration = Duration::from_secs(10);
/// How long what was used only once stays at most, in the end: soon after the start much is
/// asked once and never again.
const AGAIN: Duration = Duration::from_secs(3_600);
/// What one fault maps in at most. Each is a mapping of its own for the kernel (200 bytes of
/// its memory): smaller ones save little more and cost as much again.
const WINDOW: usize = 16 * 1024;

/// Our few threads need no heap of their own each: glibc would give every one an arena, and
/// keep what each has freed. Where files are mirrored, several threads read and record them side
/// by side, and would wait for each other at a single one. To be called before there is a second
/// thread.
pub(crate) fn begin(mirrors: bool) {
    // SAFETY: plain settings, made before there is a second thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, if mirrors { 4 } else { 1 });
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
    }
}

/// Gives back what is not used, until it is dropped.
pub(crate) async fn stay_small() {
    tokio::time::sleep(START).await;
    let code = code();
    for part in &code {
        cut(part);
    }
    let mut pause = START;
    loop {
        for part in &code {
            give_back(part);
        }
        trim();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN);
    }
}

/// The parts of our own program that are mapped from its file and never written to: code and
/// constants. Relocated data, though read-only by now, is not among them.
fn code() -> Vec<Range<usize>> {
    /// Called for the program itself first, then for its libraries.
    unsafe extern "C" fn note(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        found: *mut c_void,
    ) -> c_int {
        // SAFETY: `info` is valid during this call and describes that many headers; `found`
        // is the list below.
        let (info, found) = unsafe { (&*info, &mut *found.cast::<Vec<Range<usize>>>()) };
        // SAFETY: the same.
        let headers =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let page = rustix::param::page_size();
        for header in headers {
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
                let word = |word: u64| usize::try_from(word).unwrap_or(0);
                let start = word(info.dlpi_addr) + word(header.p_vaddr);
                let end = start + word(header.p_filesz);
                found.push(start / page * page..end.next_multiple_of(page));
            }
        }
        1
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    // SAFETY: `note` gets the list and does not keep it.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut found).cast()) };
    found
}

/// Cuts a mapping into windows: every other one is marked as not to be dumped, which for code is
/// so anyway, and what differs is a mapping of its own. Not the first, whose header tells a
/// debugger which program it was. Where the kernel allows no more mappings it stays whole.
fn cut(part: &Range<usize>) {
    for start in (part.start + WINDOW..part.end).step_by(2 * WINDOW) {
        let length = WINDOW.min(part.end - start);
        advise(start, length, libc::MADV_DONTDUMP);
    }
}

/// Unmaps what nobody needs just now; a page that is used again is mapped in again as it was,
/// for nobody has written to it.
fn give_back(part: &Range<usize>) {
    advise(part.start, part.len(), libc::MADV_DONTNEED);
}

fn advise(start: usize, length: usize, advice: c_int) {
    // SAFETY: only ever of `code`, whose pages are those of the file: to drop them is to read
    // them again. A refusal changes nothing.
    unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, advice) };
}

/// Gives back what the heap has freed.
fn trim() {
    // SAFETY: it frees what is free.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Resident kilobytes of a range of ours.
    fn resident(part: &Range<usize>) -> usize {
        let text = fs::read_to_string("/proc/self/smaps").expect("readable");
        let mut inside = false;
        let mut sum = 0;
        for line in text.lines() {
            let first = line.split(' ').next().unwrap_or_default();
            if let Some((from, to)) = first.split_once('-')
                && let (Ok(from), Ok(to)) = (
                    usize::from_str_radix(from, 16),
                    usize::from_str_radix(to, 16),
                )
            {
                inside = part.start <= from && to <= part.end;
            } else if inside && let Some(rest) = line.strip_prefix("Rss:") {
                let number = rest.split_whitespace().next().expect("a number");
                sum += number.parse::<usize>().expect("a number");
            }
        }
        sum
    }

    #[test]
    fn code_that_is_given_back_is_gone_and_runs_again() {
        static WRITTEN: AtomicU32 = AtomicU32::new(7);
        let code = code();
        let holds = |at: usize| move |part: &&Range<usize>| part.contains(&at);
        let here = give_back as fn(&Range<usize>) as usize;
        let text = code.iter().find(holds(here)).expect("our own code");
        let written = code.iter().find(holds(&raw const WRITTEN as usize));
        assert!(written.is_none(), "what is written to must stay");
        cut(text);
        let before = resident(text);
        give_back(text);
        let after = resident(text);
        let whole = text.len() / 1024;
        assert!(
            after * 2 < before,
            "{after} kB of {before} kB, of {whole} kB"
        );
        assert_eq!(format!("{}", WRITTEN.load(Ordering::Relaxed)), "7");
    }
}
