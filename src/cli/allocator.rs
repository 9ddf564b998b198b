//! Memory that was given back, given back.
//!
//! glibc's allocator maps large blocks on their own and returns them to the system when they are freed. What counts
//! as large is a limit that rises to the largest block ever freed, 32 MB at most. After the first map no column of a
//! map is large any more: every thread keeps what it once needed, and ten scans of 512×512 pixels and 100 energies
//! held a third more memory than was in use. With the limit fixed they do not.
//!
//! Whoever sets the limit in the environment knows why: then it stays as it is, as it does with other C libraries.

use std::ffi::OsStr;

/// The names by which the environment sets the limit.
const VARIABLES: [&str; 2] = ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];
/// Blocks from here on are returned when freed, bytes: a column of a map of 512×512 pixels. Columns of smaller maps
/// are reused, which is faster.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BLOCK_BYTES: libc::c_int = 1 << 20;

/// Fixes the limit, unless the environment has set it.
pub(super) fn return_large_blocks() {
    if !is_wanted(|name| std::env::var_os(name).is_some()) {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt(3) takes two integers by value and keeps no pointer; it locks the allocator while it writes the
    // limit, so it may be called at any time from any thread. Blocks that exist stay valid: the limit is only read
    // when a block is allocated or freed. What it returns tells whether the limit was taken; where not, nothing changed.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    }
}

/// Whether nobody has set the limit, by either of its names.
fn is_wanted(is_set: impl Fn(&OsStr) -> bool) -> bool {
    !VARIABLES.into_iter().any(|name| is_set(OsStr::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_stays() {
        assert!(is_wanted(|_| false));
        assert!(!is_wanted(|name| name == VARIABLES[0]));
        assert!(!is_wanted(|name| name == VARIABLES[1]));
    }
}
