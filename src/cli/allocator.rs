//! Memory that was given back, given back.
//!
//! glibc's allocator maps large blocks on their own and returns them to the system when they are freed. What counts
//! as large is a limit that rises to the largest block ever freed, 32 MB at most. After the first map no column of a
//! map is large any more: every thread keeps what it once needed, and ten scans of 512×512 pixels and 100 energies
//! held twice the memory that was in use. With the limit fixed they do not.
//!
//! The limit can be set by a call or by the environment. The call is foreign code, and this crate has none; so the
//! long-running commands start themselves again, once, in the same process (`exec`), with the environment that they
//! want. Against it speaks that it is unusual, and that the variable is inherited by children, of which there are
//! none. Another allocator would be a dependency in C, and would hold back memory after rules of its own.
//!
//! Where the variable is set already, whatever its value, or where starting again fails, everything goes on as it is.

use std::ffi::OsStr;

/// glibc's name for the limit.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";
/// Blocks from here on are returned when freed, bytes: a column of a map of 512×512 pixels. Columns of smaller maps
/// are reused, which is faster.
const LARGE_BLOCK_BYTES: &str = "1048576";

/// Starts the program again with the limit fixed, unless it has been. Returns where there is nothing to do, or
/// where it cannot be done. Only for the very beginning: no thread may run yet.
pub(super) fn return_large_blocks() {
    if !is_wanted(|name| std::env::var_os(name).is_some()) {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt as _;
        let mut words = std::env::args_os();
        let mut command = std::process::Command::new(&program);
        command.arg0(words.next().unwrap_or_else(|| program.into_os_string()));
        // Only returns where it failed: then the daemon needs more memory, and that is all.
        let _failure = command.args(words).env(VARIABLE, LARGE_BLOCK_BYTES).exec();
    }
}

/// Whether nobody has set the limit, by either of its names.
fn is_wanted(is_set: impl Fn(&OsStr) -> bool) -> bool {
    ![VARIABLE, "GLIBC_TUNABLES"].into_iter().any(|name| is_set(OsStr::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_stays() {
        assert!(is_wanted(|_| false));
        assert!(!is_wanted(|name| name == VARIABLE), "the second start must not start a third");
        assert!(!is_wanted(|name| name == "GLIBC_TUNABLES"));
    }
}
