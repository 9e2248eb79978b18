//! What the link between two ends carries, and how much of it is used.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use c10k_kernel::namespace::Beside;
use c10k_kernel::shaper::{Line, dropped, line};
use serde::{Deserialize, Serialize};

/// Over so long a time at least a rate is told: within a moment a queue lets more through than its rate.
const WINDOW: Duration = Duration::from_secs(1);

/// The narrowest line of a link, since it began to be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSeen {
    /// The device that sends over it.
    pub device: String,
    /// What it carries, bits a second.
    pub bits_per_second: u64,
    /// What was sent over it in its busiest second, bits; `None` when it was watched for less than one.
    pub busiest_bits_per_second: Option<u64>,
    /// Packets dropped by the queue before it.
    pub dropped: u64,
}

/// Watches the lines of a link that say what they carry: of a veth pair both ends, of loopback `lo`.
#[derive(Debug, Default)]
pub struct LinkWatch {
    begun: Option<Instant>,
    watched: Vec<Watched>,
    /// Every device between the ends, whatever it says.
    devices: Vec<Device>,
    /// What all of them have lost since then.
    lost: Option<u64>,
}

/// A device, and what it had lost by its own counts when it began to be watched.
#[derive(Debug)]
struct Device {
    name: String,
    namespace: Option<Beside>,
    before: u64,
}

#[derive(Debug)]
struct Watched {
    device: String,
    /// Where it stands, when not in this process's namespace.
    namespace: Option<Beside>,
    first: Line,
    last: Line,
    busiest: Option<u64>,
    /// Moments of the last second, and one before it, with the bits sent until then.
    moments: VecDeque<(Duration, u64)>,
}

impl LinkWatch {
    /// Begins to watch these devices, each in its namespace (`None` = this process's). One that cannot be read, or says
    /// no limit, is left out.
    #[must_use]
    pub fn begin(devices: Vec<(String, Option<Beside>)>) -> Self {
        let watch = |(device, namespace): (String, Option<Beside>)| {
            let first = read(&device, namespace.as_ref())?;
            let moments = [(Duration::ZERO, first.sent_bits)].into();
            Some(Watched { device, namespace, first, last: first, busiest: None, moments })
        };
        let device = |(name, namespace): &(String, Option<Beside>)| {
            let namespace = namespace.as_ref().and_then(|namespace| namespace.try_clone().ok());
            let before = in_place(namespace.as_ref(), || dropped(name))?;
            Some(Device { name: name.clone(), namespace, before })
        };
        // Of a link of which one end cannot be read it is not known what it lost.
        let read = devices.iter().map(device).collect::<Option<Vec<_>>>().unwrap_or_default();
        Self {
            begun: Some(Instant::now()),
            watched: devices.into_iter().filter_map(watch).collect(),
            devices: read,
            lost: None,
        }
    }

    /// Looks what the devices have lost; once, when it is to be known.
    pub fn look_at_losses(&mut self) {
        let lost = self.devices.iter().map(|device| {
            let now = in_place(device.namespace.as_ref(), || dropped(&device.name))?;
            Some(now.saturating_sub(device.before))
        });
        self.lost = lost.sum::<Option<u64>>().filter(|_| !self.devices.is_empty());
    }

    /// Packets that the devices had lost at the last look, since they began to be watched; `None` where that is not known.
    #[must_use]
    pub fn lost(&self) -> Option<u64> {
        self.lost
    }

    /// Looks once; a few times a second is enough.
    pub fn look(&mut self) {
        let Some(begun) = self.begun else { return };
        for watched in &mut self.watched {
            if let Some(now) = read(&watched.device, watched.namespace.as_ref()) {
                watched.note(begun.elapsed(), now);
            }
        }
    }

    /// The line that carries least; `None` where none says what it carries.
    #[must_use]
    pub fn narrowest(&self) -> Option<LinkSeen> {
        let watched = self.watched.iter().min_by_key(|watched| watched.first.bits_per_second)?;
        Some(LinkSeen {
            device: watched.device.clone(),
            bits_per_second: watched.first.bits_per_second,
            busiest_bits_per_second: watched.busiest,
            dropped: watched.last.dropped.saturating_sub(watched.first.dropped),
        })
    }
}

impl Watched {
    fn note(&mut self, at: Duration, now: Line) {
        self.last = now;
        self.moments.push_back((at, now.sent_bits));
        // The youngest that is a second old is the one that a rate is told from.
        while self.moments.get(1).is_some_and(|(then, _)| at.saturating_sub(*then) >= WINDOW) {
            self.moments.pop_front();
        }
        if let Some((then, sent)) =
            self.moments.front().filter(|(then, _)| at.saturating_sub(*then) >= WINDOW)
        {
            let bits = now.sent_bits.saturating_sub(*sent) as f64;
            let rate = (bits / at.saturating_sub(*then).as_secs_f64()) as u64;
            self.busiest = self.busiest.max(Some(rate));
        }
    }
}

fn read(device: &str, namespace: Option<&Beside>) -> Option<Line> {
    in_place(namespace, || line(device))?
}

/// What is read in a namespace, or in this one.
fn in_place<T: Send>(namespace: Option<&Beside>, read: impl FnOnce() -> io::Result<T> + Send) -> Option<T> {
    match namespace {
        Some(namespace) => namespace.inside(read).and_then(|read| read).ok(),
        None => read().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(bits_per_second: u64) -> Watched {
        let first = Line { bits_per_second, sent_bits: 500, dropped: 3 };
        let moments = [(Duration::ZERO, 500)].into();
        Watched { device: "lo".to_owned(), namespace: None, first, last: first, busiest: None, moments }
    }

    #[test]
    fn a_rate_is_told_over_a_second_and_the_busiest_is_kept() {
        let mut line = watched(1000);
        let mut note = |ms: u64, sent_bits: u64| {
            line.note(Duration::from_millis(ms), Line { bits_per_second: 1000, sent_bits, dropped: 5 });
            line.busiest
        };
        // A burst within a second is no rate yet.
        assert_eq!(note(250, 1_300), None);
        assert_eq!(note(1_000, 1_400), Some(900));
        assert_eq!(note(1_250, 2_290), Some(990), "from 250 ms on");
        assert_eq!(note(9_000, 2_300), Some(990), "what came later was less");
        let watch = LinkWatch { watched: vec![watched(2000), line], ..LinkWatch::default() };
        let seen = watch.narrowest().expect("two lines");
        assert_eq!((seen.bits_per_second, seen.busiest_bits_per_second, seen.dropped), (1000, Some(990), 2));
    }

    #[test]
    fn a_device_that_says_no_limit_or_is_not_there_is_not_watched() {
        let mut watch = LinkWatch::begin(vec![("no-such".to_owned(), None)]);
        watch.look();
        watch.look_at_losses();
        assert_eq!((watch.narrowest(), watch.lost()), (None, None));
        let mut own = LinkWatch::begin(vec![("lo".to_owned(), None)]);
        assert_eq!(own.lost(), None, "nobody has looked");
        own.look_at_losses();
        assert!(own.lost().is_some(), "what it lost is known where no limit is");
        let mut one_end = LinkWatch::begin(vec![("lo".to_owned(), None), ("no-such".to_owned(), None)]);
        one_end.look_at_losses();
        assert_eq!(one_end.lost(), None, "the other end may have lost any number");
    }
}
