//! From a number at which connections stop to the wall that is most likely behind it.
//!
//! A limit leaves its number: 1,024 descriptors less the few that a process has open, the 28,232 ports of the kernel's
//! range. The limits of the host at hand come first, then those that kernels, distributions and servers come with. A
//! number is a hint and no proof, so each comes with what proves it. A number that fits nothing has no name.

mod fingerprint;
mod known;
mod own;
mod said;

use c10k_record::HostSnapshot;

pub use fingerprint::Fingerprint;
pub use said::{Said, number_in};

/// More guesses than this are none.
const MOST: usize = 4;

/// What a number may come from, the likeliest first: at most four, and each wall once as the likeliest.
#[must_use]
pub fn read_number(said: &Said, host: &HostSnapshot) -> Vec<Fingerprint> {
    let mut found: Vec<Fingerprint> = Vec::new();
    for one in own::of_this_host(said, host).into_iter().chain(known::known(said)) {
        let is_told =
            |have: &Fingerprint| have.walls.first().is_some_and(|first| one.walls.first() == Some(first));
        if found.len() < MOST && !found.iter().any(is_told) {
            found.push(one);
        }
    }
    found
}
