//! Source addresses that a swarm adds to a device for the time of its run, and takes off again however it ends.
//!
//! Exactly those that were missing are added, and exactly those that were added are removed: at the end, on an
//! error, on a panic, on a signal and on the second one. A swarm that is killed by SIGKILL cannot; the journal
//! that it wrote before the first address tells the next one, and [`remove_left_behind`] does it then.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use c10k_kernel::address::{self, Origin, whole_bits};
use thiserror::Error;

mod journal;
mod removed;

pub use journal::{Found, LeftBehind, Unread, left_behind};
pub use removed::Removed;

use journal::{Dead, Journal};

/// The mark of the addresses that swarms add (IFA_PROTO), by which they are known from others where a journal was cut.
const ORIGIN: u8 = 0xc1;

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
    /// What the kernel did not say of whether it was added.
    in_doubt: Vec<IpAddr>,
    device_index: u32,
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

impl AddedIps {
    /// Writes the journal and adds nothing yet.
    ///
    /// # Errors
    /// [`AddError::NoDevice`] and [`AddError::Journal`].
    pub fn prepare(device: &str) -> Result<Self, AddError> {
        let index = address::device_index(device).map_err(|_| AddError::NoDevice(device.to_owned()))?;
        journal::sweep();
        let journal =
            Journal::begin(device, index).map_err(|(path, error)| AddError::Journal { path, error })?;
        let work = Work {
            device: device.to_owned(),
            added: Vec::new(),
            in_doubt: Vec::new(),
            device_index: index,
            journal: Some(journal),
        };
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
        match address::add_marked(&self.device, ip, whole_bits(ip), ORIGIN) {
            Ok(()) => {
                self.added.push(ip);
                journal.is_ours(ip).map_err(unwritten)
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                journal.is_not_ours(ip).map_err(unwritten)
            }
            Err(error) => {
                // An answer that was lost on its way may have been a yes.
                match Standing::now().map(|standing| standing.whose(ip, self.device_index)) {
                    Ok(Whose::Ours) => self.added.push(ip),
                    Ok(Whose::Nobodys | Whose::Others) => journal.is_not_ours(ip).map_err(unwritten)?,
                    Ok(Whose::Unknown) | Err(_) => self.in_doubt.push(ip),
                }
                Err(AddError::Refused { ip, device: self.device.clone(), error })
            }
        }
    }

    /// What is removed is forgotten, so that a second call has nothing to do.
    fn remove(&mut self) -> Removed {
        let mut report = Removed { device: self.device.clone(), ..Removed::default() };
        let Some(mut journal) = self.journal.take() else { return report };
        let mut added = std::mem::take(&mut self.added);
        added.extend(of_doubt(&std::mem::take(&mut self.in_doubt), self.device_index, &[], &mut report));
        remove_each(&added, &mut journal, &mut report);
        report
    }
}

/// Whose an address is by its mark.
enum Whose {
    Ours,
    Others,
    Nobodys,
    /// The kernel shows no marks.
    Unknown,
}

/// The addresses of this network namespace.
struct Standing(Vec<Origin>);

impl Standing {
    fn now() -> io::Result<Self> {
        address::origins().map(Self)
    }

    fn whose(&self, ip: IpAddr, device_index: u32) -> Whose {
        let is_it =
            |on: &&Origin| (on.address, on.prefix, on.device_index) == (ip, whole_bits(ip), device_index);
        match self.0.iter().find(is_it) {
            None => Whose::Nobodys,
            Some(on) if on.origin == Some(ORIGIN) => Whose::Ours,
            // Since it shows marks the kernel has marked 127.0.0.1 by itself.
            Some(_) if self.0.iter().any(|on| on.origin.is_some()) => Whose::Others,
            Some(_) => Whose::Unknown,
        }
    }
}

/// Which of those in doubt are to be removed. Those that nobody can tell are noted in `report`.
fn of_doubt(
    in_doubt: &[IpAddr],
    device_index: u32,
    claimed_by_others: &[IpAddr],
    report: &mut Removed,
) -> Vec<IpAddr> {
    if in_doubt.is_empty() {
        return Vec::new();
    }
    let Ok(standing) = Standing::now() else {
        report.in_doubt.extend(in_doubt);
        return Vec::new();
    };
    let mut ours = Vec::new();
    for ip in in_doubt {
        match standing.whose(*ip, device_index) {
            Whose::Ours if !claimed_by_others.contains(ip) => ours.push(*ip),
            Whose::Ours | Whose::Unknown => report.in_doubt.push(*ip),
            Whose::Others | Whose::Nobodys => {}
        }
    }
    ours
}

/// Removes what dead swarms left in this network namespace, and forgets what is gone with its namespace or with
/// the boot it belonged to. Those of another namespace that is still there are returned as they were found.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn remove_left_behind() -> io::Result<(Vec<Removed>, Vec<LeftBehind>)> {
    let mut done = Vec::new();
    let mut elsewhere = Vec::new();
    let Dead { left: dead, unread, of_the_living } = journal::of_the_dead()?;
    let claims: Vec<Vec<IpAddr>> = dead.iter().map(|(left, _)| left.all().collect()).collect();
    for (number, (left, mut journal)) in dead.into_iter().enumerate() {
        let mut report = Removed { device: left.device.clone(), ..Removed::default() };
        if left.found == Found::Elsewhere {
            elsewhere.push(left);
            continue;
        }
        match address::device_index(&left.device) {
            Ok(index) if left.found == Found::Here && index == left.device_index => {
                let others = claims.iter().enumerate().filter(|(other, _)| *other != number);
                let mut others: Vec<IpAddr> = others.flat_map(|(_, ips)| ips).copied().collect();
                others.extend(&of_the_living);
                let mut ours = of_doubt(&left.in_doubt, index, &others, &mut report);
                ours.splice(0..0, left.addresses);
                remove_each(&ours, &mut journal, &mut report);
                done.push(report);
            }
            Err(error) if left.found == Found::Here && error.raw_os_error() != Some(libc::ENODEV) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let failed = left.all().map(|ip| (ip, io::Error::from_raw_os_error(errno)));
                report.failed.extend(failed);
                done.push(report);
            }
            // The addresses went with their device, their namespace, or the boot.
            Ok(_) | Err(_) => {
                if let Err(error) = journal.forget() {
                    report.journal_faults.push((journal.path().to_owned(), error));
                    done.push(report);
                }
            }
        }
    }
    done.extend(unread.into_iter().map(of_unread));
    journal::sweep();
    Ok((done, elsewhere))
}

/// What an unreadable journal may speak of: all that stands here with the mark of swarms.
fn of_unread(unread: Unread) -> Removed {
    let standing = Standing::now().map(|standing| standing.0).unwrap_or_default();
    let marked = standing.into_iter().filter(|on| on.origin == Some(ORIGIN)).map(|on| on.address).collect();
    Removed { unread: vec![unread], marked, ..Removed::default() }
}

fn remove_each(added: &[IpAddr], journal: &mut Journal, report: &mut Removed) {
    for ip in added.iter().rev() {
        // It is removed whether or not that can be written: the journal's disk may be what went wrong.
        let _ = journal.will_remove(*ip);
        match address::remove(&report.device, *ip, whole_bits(*ip)) {
            Ok(()) => report.removed += 1,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                report.gone += 1;
            }
            Err(error) => {
                let _ = journal.is_ours(*ip);
                report.failed.push((*ip, error));
                continue;
            }
        }
        let _ = journal.is_not_ours(*ip);
    }
    if report.failed.is_empty()
        && report.in_doubt.is_empty()
        && let Err(error) = journal.forget()
    {
        report.journal_faults.push((journal.path().to_owned(), error));
    }
}

fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    // Even after a panic in between: what was added must be removed all the same.
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn addresses(count: usize) -> &'static str {
    if count == 1 { "address" } else { "addresses" }
}
