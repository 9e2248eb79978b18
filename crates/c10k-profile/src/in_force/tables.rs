//! What the limit on descriptors bounds: the tables of workers, or one of all.

use c10k_kernel::descriptors;
use c10k_record::{Warning, human_count};

/// Whether workers may have descriptor tables of their own here; where not, a warning says what that means under a soft
/// RLIMIT_NOFILE of `soft_nofile`. A container's filter may refuse unshare(2), and a limit on threads the one that would
/// try it.
pub fn own_tables_are_allowed(soft_nofile: u64, warnings: &mut Vec<Warning>) -> bool {
    let tried = descriptors::own_tables_possible();
    if let Err(error) = &tried {
        let text = format!(
            "workers cannot have descriptor tables of their own ({error}): all connections share one, and RLIMIT_NOFILE, \
             {}, is their limit",
            human_count(soft_nofile)
        );
        warnings.push(Warning::new("one-table", text));
    }
    tried.is_ok()
}
