//! What the namespace of a run has before anything is looked at or started.

use std::io;
use std::net::IpAddr;

use c10k_kernel::{conntrack, filter, link, shaper};
use c10k_plan::stage::{Furniture, Stage};

use crate::isolate::veth::SERVER_DEVICE;

/// Puts into this namespace, which must be the run's own, what it is to have.
pub(crate) fn furnish(stage: &Stage) -> io::Result<()> {
    stage.place.iter().try_for_each(|furniture| match *furniture {
        Furniture::Tracked { room } => fill_conntrack(room.into()),
        Furniture::NotTracked => conntrack::do_not_track(),
        Furniture::Narrow { bits_per_second } => narrow(bits_per_second),
        Furniture::Dropped { port } => drop_where_rules_are(port),
        Furniture::Astray { source } => lead_astray(source),
    })
}

/// Drops what comes to a port; in a kernel without rules what else stands in the way does that.
fn drop_where_rules_are(port: u16) -> io::Result<()> {
    match filter::drop_incoming(port) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Has the server's end of the link send to nobody what is for this source: as after a change of hardware of which a table
/// of neighbours has not heard.
fn lead_astray(source: IpAddr) -> io::Result<()> {
    /// Of those that nobody makes (the second bit: locally administered).
    const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
    link::add_permanent_neighbour(SERVER_DEVICE, source, &NOBODY)
}

/// Has connections tracked, and leaves room for so many.
fn fill_conntrack(room: u64) -> io::Result<()> {
    /// More entries take minutes to make, and hundreds of megabytes.
    const MOST: u64 = 1 << 20;
    conntrack::track().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => error,
        _ => unsupported(&format!("it has no nf_tables, or tracks no connections ({error})")),
    })?;
    let Some((entries, max)) = conntrack::room() else {
        return Err(unsupported("it tracks no connections"));
    };
    let wanted = max.saturating_sub(entries).saturating_sub(room);
    if wanted > MOST || max == 0 {
        return Err(unsupported(&format!(
            "net.netfilter.nf_conntrack_max = {max}, which is too many to be filled by a plant (0 is no limit)"
        )));
    }
    conntrack::fill(wanted as u32)
}

/// Has `lo` let so much through.
fn narrow(bits_per_second: u64) -> io::Result<()> {
    // A fiftieth of a second at once; what does not pass in a quarter of one is dropped.
    let bytes = |part: u64| u32::try_from(bits_per_second / 8 / part).unwrap_or(u32::MAX).max(2048);
    shaper::shape("lo", bits_per_second, bytes(50), bytes(4)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unsupported("it has no queue that limits a rate (sch_tbf)"),
        _ => error,
    })
}

fn unsupported(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("not on this kernel: {why}"))
}
