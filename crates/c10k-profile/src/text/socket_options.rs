//! Socket options of a profile: data, and how they are set on a socket that somebody else has made.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use socket2::{SockRef, TcpKeepalive};

/// Options for the sockets of a server or a swarm; None leaves the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketOptions {
    /// Length of the accept queue asked of listen(2); the kernel takes the smaller of this and
    /// `net.core.somaxconn`.
    #[serde(
        default,
        deserialize_with = "bounded::<1, 2_147_483_647, _>",
        skip_serializing_if = "Option::is_none"
    )]
    pub backlog: Option<u32>,
    /// SO_RCVBUF in bytes, as set: the kernel doubles it. It ends the kernel's own tuning.
    #[serde(
        default,
        deserialize_with = "bounded::<1, 1_073_741_823, _>",
        skip_serializing_if = "Option::is_none"
    )]
    pub rcvbuf_bytes: Option<u32>,
    /// SO_SNDBUF in bytes, as set: the kernel doubles it. It ends the kernel's own tuning.
    #[serde(
        default,
        deserialize_with = "bounded::<1, 1_073_741_823, _>",
        skip_serializing_if = "Option::is_none"
    )]
    pub sndbuf_bytes: Option<u32>,
    /// TCP_NODELAY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodelay: Option<bool>,
    /// SO_KEEPALIVE with its three times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Keepalive>,
    /// SO_LINGER.
    #[serde(default, rename = "linger_secs", skip_serializing_if = "Option::is_none")]
    pub linger: Option<Linger>,
    /// TCP_USER_TIMEOUT in milliseconds: how long sent data may stay unacknowledged.
    #[serde(
        default,
        deserialize_with = "bounded::<1, 2_147_483_647, _>",
        skip_serializing_if = "Option::is_none"
    )]
    pub user_timeout_ms: Option<u32>,
}

/// When a silent peer is asked, and when it is given up (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// Seconds of silence before the first probe (TCP_KEEPIDLE), 1 to 32,767.
    #[serde(deserialize_with = "required::<1, 32_767, _>")]
    pub idle_secs: u32,
    /// Seconds between probes (TCP_KEEPINTVL), 1 to 32,767.
    #[serde(deserialize_with = "required::<1, 32_767, _>")]
    pub interval_secs: u32,
    /// Probes without an answer before the connection is given up (TCP_KEEPCNT), 1 to 127.
    #[serde(deserialize_with = "required::<1, 127, _>")]
    pub probes: u32,
}

/// What close(2) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Sends RST at once and leaves no TIME_WAIT (SO_LINGER with 0 seconds).
    Reset,
    /// Waits up to so many seconds for what is unsent.
    Secs(u16),
}

impl SocketOptions {
    /// These options where they say something, otherwise those of `base`.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        Self {
            backlog: self.backlog.or(base.backlog),
            rcvbuf_bytes: self.rcvbuf_bytes.or(base.rcvbuf_bytes),
            sndbuf_bytes: self.sndbuf_bytes.or(base.sndbuf_bytes),
            nodelay: self.nodelay.or(base.nodelay),
            keepalive: self.keepalive.or(base.keepalive),
            linger: self.linger.or(base.linger),
            user_timeout_ms: self.user_timeout_ms.or(base.user_timeout_ms),
        }
    }

    /// Sets on a socket what says something, `backlog` excepted, which is listen(2)'s. Before bind, connect and
    /// listen: the receive buffer decides the window scale (tcp(7)). What a listener has its connections inherit.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_on(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let socket = SockRef::from(&socket);
        if let Some(bytes) = self.rcvbuf_bytes {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = self.sndbuf_bytes {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        if let Some(nodelay) = self.nodelay {
            socket.set_tcp_nodelay(nodelay)?;
        }
        if let Some(keepalive) = self.keepalive {
            let secs = |secs: u32| Duration::from_secs(u64::from(secs));
            let times = TcpKeepalive::new()
                .with_time(secs(keepalive.idle_secs))
                .with_interval(secs(keepalive.interval_secs))
                .with_retries(keepalive.probes);
            socket.set_tcp_keepalive(&times)?;
        }
        if let Some(linger) = self.linger {
            let secs = match linger {
                Linger::Reset => 0,
                Linger::Secs(secs) => u64::from(secs),
            };
            socket.set_linger(Some(Duration::from_secs(secs)))?;
        }
        if let Some(ms) = self.user_timeout_ms {
            socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(ms))))?;
        }
        Ok(())
    }

    /// The options of which a socket keeps another value than it was given by [`SocketOptions::set_on`]: name, wanted value,
    /// kept value. Of a buffer the kernel keeps twice what it was given, or twice `net.core.rmem_max` or `wmem_max` where
    /// those are less (socket(7)).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn not_kept_on(&self, socket: BorrowedFd<'_>) -> io::Result<Vec<(&'static str, String, String)>> {
        let socket = SockRef::from(&socket);
        let kept = Self {
            backlog: self.backlog,
            rcvbuf_bytes: self.rcvbuf_bytes.map(|_| half(socket.recv_buffer_size())).transpose()?,
            sndbuf_bytes: self.sndbuf_bytes.map(|_| half(socket.send_buffer_size())).transpose()?,
            nodelay: self.nodelay.map(|_| socket.tcp_nodelay()).transpose()?,
            keepalive: match self.keepalive {
                Some(_) if socket.keepalive()? => Some(Keepalive {
                    idle_secs: whole(socket.tcp_keepalive_time()?),
                    interval_secs: whole(socket.tcp_keepalive_interval()?),
                    probes: socket.tcp_keepalive_retries()?,
                }),
                _ => None,
            },
            linger: match self.linger {
                Some(_) => socket.linger()?.map(|long| match long.as_secs() {
                    0 => Linger::Reset,
                    secs => Linger::Secs(u16::try_from(secs).unwrap_or(u16::MAX)),
                }),
                None => None,
            },
            user_timeout_ms: match self.user_timeout_ms {
                Some(_) => {
                    socket.tcp_user_timeout()?.map(|long| u32::try_from(long.as_millis()).unwrap_or(u32::MAX))
                }
                None => None,
            },
        };
        let after = kept.named();
        let found =
            |name: &str| after.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
        let differs = |(name, wanted): (&'static str, String)| {
            let after = found(name).unwrap_or_else(|| "none".to_owned());
            (after != wanted).then_some((name, wanted, after))
        };
        Ok(self.named().into_iter().filter_map(differs).collect())
    }

    /// Whether nothing but the backlog says anything, so that [`SocketOptions::set_on`] does nothing.
    #[must_use]
    pub fn sets_nothing(&self) -> bool {
        Self { backlog: None, ..*self } == Self::default()
    }

    /// The options that say something, as name and value.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, String)> {
        let number = |name, value: Option<u32>| value.map(|value| (name, value.to_string()));
        let keepalive = self.keepalive.map(|k| {
            (
                "keepalive",
                format!("idle {} s, interval {} s, {} probes", k.idle_secs, k.interval_secs, k.probes),
            )
        });
        let linger = self.linger.map(|linger| match linger {
            Linger::Reset => ("linger_secs", "reset".to_owned()),
            Linger::Secs(secs) => ("linger_secs", secs.to_string()),
        });
        [
            number("backlog", self.backlog),
            number("rcvbuf_bytes", self.rcvbuf_bytes),
            number("sndbuf_bytes", self.sndbuf_bytes),
            self.nodelay.map(|on| ("nodelay", on.to_string())),
            keepalive,
            linger,
            number("user_timeout_ms", self.user_timeout_ms),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What a buffer was given, of what the kernel keeps.
fn half(kept: io::Result<usize>) -> io::Result<u32> {
    kept.map(|bytes| u32::try_from(bytes / 2).unwrap_or(u32::MAX))
}

fn whole(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

impl<'de> Deserialize<'de> for Linger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Linger;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds from 1 to 32767, or \"reset\" for RST at close")
            }

            fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Linger, E> {
                match u16::try_from(secs) {
                    Ok(secs @ 1..=32_767) => Ok(Linger::Secs(secs)),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(secs), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Linger, E> {
                if text == "reset" {
                    Ok(Linger::Reset)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Linger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reset => serializer.serialize_str("reset"),
            Self::Secs(secs) => serializer.serialize_u16(*secs),
        }
    }
}

fn required<'de, const LOW: u32, const HIGH: u32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u32, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(number) if (LOW..=HIGH).contains(&number) => Ok(number),
        _ => Err(de::Error::custom(format!(
            "{number} is out of range; expected an integer from {LOW} to {HIGH}"
        ))),
    }
}

fn bounded<'de, const LOW: u32, const HIGH: u32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    required::<LOW, HIGH, D>(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn options_are_set_on_a_socket_and_what_says_nothing_is_left_alone() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let options = SocketOptions {
            rcvbuf_bytes: Some(8192),
            nodelay: Some(true),
            keepalive: Some(Keepalive { idle_secs: 1200, interval_secs: 30, probes: 5 }),
            linger: Some(Linger::Reset),
            user_timeout_ms: Some(900),
            ..SocketOptions::default()
        };
        let sndbuf = socket.send_buffer_size().unwrap();
        options.set_on(socket.as_fd()).unwrap();
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 8192, "the kernel doubles it");
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(1200));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(900)));
        assert_eq!(socket.send_buffer_size().unwrap(), sndbuf);
    }

    #[test]
    fn what_a_socket_does_not_keep_is_told_with_what_it_keeps() {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let all = SocketOptions {
            backlog: Some(7),
            rcvbuf_bytes: Some(8192),
            sndbuf_bytes: Some(12_288),
            nodelay: Some(true),
            keepalive: Some(Keepalive { idle_secs: 1200, interval_secs: 30, probes: 5 }),
            linger: Some(Linger::Secs(3)),
            user_timeout_ms: Some(900),
        };
        let (set, untouched) = (socket(), socket());
        all.set_on(set.as_fd()).unwrap();
        assert_eq!(all.not_kept_on(set.as_fd()).unwrap(), []);
        let names: Vec<&str> =
            all.not_kept_on(untouched.as_fd()).unwrap().into_iter().map(|(name, ..)| name).collect();
        let but_the_backlog: Vec<&str> = all.named().into_iter().map(|(name, _)| name).skip(1).collect();
        assert_eq!(names, but_the_backlog);
        // net.core.rmem_max bounds it, whichever process asks.
        let huge = SocketOptions { rcvbuf_bytes: Some(1_073_741_823), ..SocketOptions::default() };
        let socket = socket();
        huge.set_on(socket.as_fd()).unwrap();
        let (name, wanted, kept) = huge.not_kept_on(socket.as_fd()).unwrap().remove(0);
        assert_eq!((name, wanted.as_str()), ("rcvbuf_bytes", "1073741823"));
        assert_eq!(kept, (socket.recv_buffer_size().unwrap() / 2).to_string());
    }

    #[test]
    fn a_backlog_alone_sets_nothing_on_a_socket() {
        assert!(SocketOptions { backlog: Some(5), ..SocketOptions::default() }.sets_nothing());
        assert!(!SocketOptions { nodelay: Some(false), ..SocketOptions::default() }.sets_nothing());
    }
}
