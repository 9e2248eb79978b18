//! Source addresses that a swarm adds to a device for the time of its run, and takes off again however it ends.
//!
//! Exactly those that were missing are added, and exactly those that were added are removed: at the end, on an
//! error, on a panic, on a signal and on the second one. A swarm that is killed by SIGKILL cannot; the journal
//! that it wrote before the first address tells the next one, and [`remove_left_behind`] does it then.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use c10k_kernel::address::{self, whole_bits};
use thiserror::Error;

mod journal;

pub use journal::{Found, LeftBehind, left_behind};

use journal::Journal;

/// Addresses that this process has added; they are removed on drop.
#[derive(Debug)]
#[must_use = "the addresses are removed when this is dropped"]
pub struct AddedIps {
    work: Mutex<Work>,
}

#[derive(Debug)]
struct Work {
    device: String,
    /// What is still to be removed, in the order of adding.
    added: Vec<IpAddr>,
    /// None when everything has been removed: nothing may be added any more.
    journal: Option<Journal>,
}

/// Why an address was not added. Those that had been added before stay until they are removed.
#[derive(Debug, Error)]
pub enum AddError {
    /// The kernel refused an address.
    #[error("cannot add {ip} to '{device}': {error}")]
    Refused {
        /// The address.
        ip: IpAddr,
        /// The device.
        device: String,
        /// The kernel's answer.
        error: io::Error,
    },
    /// There is no such device here.
    #[error("there is no device '{0}' here")]
    NoDevice(String),
    /// What is about to be done could not be written down first.
    #[error("cannot write down which addresses are added, in {}: {error}", .path.display())]
    Journal {
        /// The journal or its folder.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A signal came in the middle.
    #[error("stopped by a signal while addresses were being added")]
    Stopped,
}

impl AddError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Refused { error, ip, device } if error.raw_os_error() == Some(libc::EPERM) => format!(
                "adding addresses takes CAP_NET_ADMIN: run it with sudo, or have them added before: \
                 `sudo ip addr add {ip}/{} dev {device}` for each",
                whole_bits(*ip)
            ),
            Self::Refused { .. } => "name unicast addresses with --ips, such as 192.168.1.200-230".to_owned(),
            Self::NoDevice(_) => {
                "`ip link` shows the devices; `lo` will do for a server on this machine".to_owned()
            }
            Self::Journal { .. } => {
                "addresses are only added when they can be found again: make this folder writable".to_owned()
            }
            Self::Stopped => "start it again".to_owned(),
        }
    }
}

/// What came of removing.
#[derive(Debug, Default)]
pub struct Removed {
    /// The device.
    pub device: String,
    /// How many were removed.
    pub removed: usize,
    /// How many somebody else had removed before.
    pub gone: usize,
    /// Those that could not be removed, and why. Their journal stays.
    pub failed: Vec<(IpAddr, io::Error)>,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "removed {} source {} from {}", self.removed, addresses(self.removed), self.device)?;
        if self.gone > 0 {
            write!(f, "; {} had gone before", self.gone)?;
        }
        if let Some((ip, error)) = self.failed.first() {
            let left = self.failed.len();
            write!(f, "; {left} could not be removed ({ip}: {error}): c10k-swarm --remove-ips tries again")?;
        }
        Ok(())
    }
}

impl AddedIps {
    /// Writes the journal and adds nothing yet.
    ///
    /// # Errors
    /// [`AddError::NoDevice`] and [`AddError::Journal`].
    pub fn prepare(device: &str) -> Result<Self, AddError> {
        let index = address::device_index(device).map_err(|_| AddError::NoDevice(device.to_owned()))?;
        let journal =
            Journal::begin(device, index).map_err(|(path, error)| AddError::Journal { path, error })?;
        let work = Work { device: device.to_owned(), added: Vec::new(), journal: Some(journal) };
        Ok(Self { work: Mutex::new(work) })
    }

    /// Adds one address as /32 or /128, written down in the journal first. One that is there already by then stays
    /// somebody else's.
    ///
    /// # Errors
    /// [`AddError::Refused`], [`AddError::Journal`], and [`AddError::Stopped`] when all have been removed already.
    pub fn add(&self, ip: IpAddr) -> Result<(), AddError> {
        lock(&self.work).add(ip)
    }

    /// How many are added now.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.work).added.len()
    }

    /// Removes them, and the journal when nothing is left.
    #[must_use = "some may be left"]
    pub fn remove(self) -> Removed {
        lock(&self.work).remove()
    }
}

impl Drop for AddedIps {
    fn drop(&mut self) {
        // What cannot be removed stays in the journal, which the next swarm finds.
        lock(&self.work).remove();
    }
}

impl Work {
    fn add(&mut self, ip: IpAddr) -> Result<(), AddError> {
        let journal = self.journal.as_mut().ok_or(AddError::Stopped)?;
        let path = journal.path().to_owned();
        let unwritten = |error| AddError::Journal { path: path.clone(), error };
        journal.will_add(ip).map_err(unwritten)?;
        match address::add(&self.device, ip, whole_bits(ip)) {
            Ok(()) => {
                self.added.push(ip);
                Ok(())
            }
            Err(error) => {
                journal.is_not_ours(ip).map_err(unwritten)?;
                if error.raw_os_error() == Some(libc::EEXIST) {
                    return Ok(());
                }
                Err(AddError::Refused { ip, device: self.device.clone(), error })
            }
        }
    }

    /// What is removed is forgotten, so that a second call has nothing to do.
    fn remove(&mut self) -> Removed {
        let mut report = Removed { device: self.device.clone(), ..Removed::default() };
        let Some(mut journal) = self.journal.take() else { return report };
        remove_each(&std::mem::take(&mut self.added), &mut journal, &mut report);
        report
    }
}

/// Removes what dead swarms left in this network namespace, and forgets what is gone with its namespace or with
/// the boot it belonged to. Those of another namespace that is still there are returned as they were found.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn remove_left_behind() -> io::Result<(Vec<Removed>, Vec<LeftBehind>)> {
    let mut done = Vec::new();
    let mut elsewhere = Vec::new();
    for (left, journal) in journal::of_the_dead()? {
        let device_is_the_same =
            address::device_index(&left.device).is_ok_and(|index| index == left.device_index);
        match left.found {
            Found::Here if device_is_the_same => {
                let mut report = Removed { device: left.device.clone(), ..Removed::default() };
                let mut journal = journal;
                remove_each(&left.addresses, &mut journal, &mut report);
                done.push(report);
            }
            // The addresses went with their device, their namespace, or the boot.
            Found::Here | Found::Nowhere => journal.forget(),
            Found::Elsewhere => elsewhere.push(left),
        }
    }
    Ok((done, elsewhere))
}

fn remove_each(added: &[IpAddr], journal: &mut Journal, report: &mut Removed) {
    for ip in added.iter().rev() {
        match address::remove(&report.device, *ip, whole_bits(*ip)) {
            Ok(()) => report.removed += 1,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                report.gone += 1;
            }
            Err(error) => {
                report.failed.push((*ip, error));
                continue;
            }
        }
        let _ = journal.is_not_ours(*ip);
    }
    if report.failed.is_empty() {
        journal.forget();
    }
}

fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    // Whoever panicked in between: what was added must be removed all the same.
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn addresses(count: usize) -> &'static str {
    if count == 1 { "address" } else { "addresses" }
}
