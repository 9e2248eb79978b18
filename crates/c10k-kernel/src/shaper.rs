//! Queues before a device that let a limited rate through, over rtnetlink (tc(8), net/sched/sch_tbf.c, sch_htb.c). By hand:
//! a few attributes of two kinds of queue.

use std::io;
use std::path::Path;

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, Nla as _};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption, TcStats2};

use crate::rtnetlink::{ask, index_of};

/// One direction of a link: what it carries, and what it has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What it carries at most, bits a second.
    pub bits_per_second: u64,
    /// What was sent over it since the device is there, bits, as the limit counts them.
    pub sent_bits: u64,
    /// Packets that the queue before it has dropped.
    pub dropped: u64,
}

/// What leaves a device of the calling thread's network namespace: limited by the queue before it, or, for a device of
/// hardware, by its speed. `None` where nothing says a limit, as of `lo` and veth (whose speed is a word only).
///
/// # Errors
/// As [`root_queue`].
pub fn line(device: &str) -> io::Result<Option<Line>> {
    let queue = root_queue(device)?.unwrap_or_default();
    let limited = queue.bits_per_second.map(|bits_per_second| Line {
        bits_per_second,
        sent_bits: queue.sent_bytes.saturating_mul(8),
        dropped: queue.dropped,
    });
    Ok(limited.or_else(|| {
        let bits_per_second = speed(Path::new("/sys/class/net"), device)?;
        let statistics = std::fs::read_to_string("/proc/thread-self/net/dev").ok()?;
        let sent_bits = sent_bits(&statistics, device)?;
        Some(Line { bits_per_second, sent_bits, dropped: queue.dropped })
    }))
}

/// The speed of a device of hardware, bits a second: others have no folder `device`.
fn speed(devices: &Path, device: &str) -> Option<u64> {
    let folder = devices.join(device);
    let megabits: u64 = std::fs::read_to_string(folder.join("speed")).ok()?.trim().parse().ok()?;
    (megabits > 0 && folder.join("device").exists()).then(|| megabits.saturating_mul(1_000_000))
}

/// Bits that a device has sent, with what Ethernet adds to each packet, from the text of `/proc/net/dev`.
fn sent_bits(statistics: &str, device: &str) -> Option<u64> {
    /// Preamble, checksum and the gap between two packets (IEEE 802.3).
    const ADDED_BYTES: u64 = 8 + 4 + 12;
    // Eight columns of what was received, then bytes and packets sent.
    let mut sent = columns_of(statistics, device)?.skip(8);
    let (bytes, packets) = (sent.next()??, sent.next()??);
    Some(bytes.saturating_add(packets.saturating_mul(ADDED_BYTES)).saturating_mul(8))
}

/// Packets that a device of the calling thread's network namespace has lost by its own counts since it is there: at the
/// queue before it, and by what ip-link(8) shows as errors and dropped, of what it sent and of what it received.
///
/// # Errors
/// As [`root_queue`]; that of reading `/proc/thread-self/net/dev`; ENODATA where that does not show the device.
pub fn dropped(device: &str) -> io::Result<u64> {
    let queue = root_queue(device)?.unwrap_or_default();
    let statistics = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let own = lost(&statistics, device).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODATA))?;
    Ok(own.saturating_add(queue.dropped))
}

/// The four columns of `/proc/net/dev` that count what was lost: errors and dropped, received and sent.
fn lost(statistics: &str, device: &str) -> Option<u64> {
    let columns = columns_of(statistics, device)?.collect::<Option<Vec<u64>>>()?;
    [2, 3, 10, 11].iter().try_fold(0_u64, |sum, at| Some(sum.saturating_add(*columns.get(*at)?)))
}

/// The numbers in the line of a device.
fn columns_of<'a>(statistics: &'a str, device: &str) -> Option<impl Iterator<Item = Option<u64>> + use<'a>> {
    let line = statistics.lines().find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'))?;
    Some(line.split_whitespace().map(|word| word.parse().ok()))
}

/// The queue that all packets pass that leave a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootQueue {
    /// Its kind: `tbf`, `htb`, `fq_codel`, `noqueue` and so on.
    pub kind: String,
    /// What it lets through, bits a second; `None` where it limits no rate, or its classes say more than one.
    pub bits_per_second: Option<u64>,
    /// Bytes that have left it, link-layer headers included.
    pub sent_bytes: u64,
    /// Packets that it has dropped.
    pub dropped: u64,
    /// Packets that had to wait because of the rate.
    pub overlimits: u64,
    /// Bytes that wait in it now.
    pub backlog_bytes: u64,
}

/// The queue before a device; `None` where the kernel tells of none.
///
/// # Errors
/// ENODEV without such a device; as socket(2) for netlink.
pub fn root_queue(device: &str) -> io::Result<Option<RootQueue>> {
    let index = index_of(device)?.cast_signed();
    let mut question = TcMessage::default();
    question.header.index = index;
    let answers = ask(RouteNetlinkMessage::GetQueueDiscipline(question), NLM_F_DUMP)?;
    let root = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewQueueDiscipline(queue)
            if queue.header.index == index && queue.header.parent == TcHandle::ROOT =>
        {
            Some(queue)
        }
        _ => None,
    });
    let Some(root) = root else { return Ok(None) };
    let mut queue = RootQueue::default();
    let mut options = Vec::new();
    for attribute in &root.attributes {
        match attribute {
            TcAttribute::Kind(kind) => queue.kind.clone_from(kind),
            TcAttribute::Options(all) => options = raw(all),
            TcAttribute::Stats2(all) => {
                for part in all {
                    match part {
                        TcStats2::Basic(seen) => queue.sent_bytes = seen.bytes,
                        TcStats2::Queue(seen) => {
                            queue.dropped = seen.drops.into();
                            queue.overlimits = seen.overlimits.into();
                            queue.backlog_bytes = seen.backlog.into();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    queue.bits_per_second = match queue.kind.as_str() {
        "tbf" => tbf_rate(&options),
        "htb" => htb_rate(index)?,
        _ => None,
    };
    Ok(Some(queue))
}

/// Lets a device send so many bits a second and no more (tc-tbf(8)). `burst_bytes` pass at once after a rest; when
/// `queue_bytes` wait, further packets are dropped. It replaces what queue the device had.
///
/// # Errors
/// ENODEV without such a device, EPERM without CAP_NET_ADMIN, ENOENT in a kernel without sch_tbf, EINVAL for a rate
/// of 0.
pub fn shape(device: &str, bits_per_second: u64, burst_bytes: u32, queue_bytes: u32) -> io::Result<()> {
    let mut message = TcMessage::default();
    message.header.index = index_of(device)?.cast_signed();
    message.header.parent = TcHandle::ROOT;
    message.header.handle = TcHandle { major: 1, minor: 0 };
    let bytes = bits_per_second / 8;
    // `tc_tbf_qopt`: rate, peak rate, limit, buffer, mtu. TCA_TBF_BURST 6 says the buffer in bytes instead.
    let mut parameters = Vec::new();
    parameters.extend(rate_specification(bytes));
    parameters.extend([0; 12]);
    for value in [queue_bytes, 0, 0] {
        parameters.extend(value.to_ne_bytes());
    }
    let mut options = vec![DefaultNla::new(TBF_PARAMETERS, parameters)];
    if bytes > u64::from(u32::MAX) {
        options.push(DefaultNla::new(TBF_RATE_64, bytes.to_ne_bytes().to_vec()));
    }
    const TBF_BURST: u16 = 6;
    options.push(DefaultNla::new(TBF_BURST, burst_bytes.to_ne_bytes().to_vec()));
    message.attributes = vec![
        TcAttribute::Kind("tbf".to_owned()),
        TcAttribute::Options(options.into_iter().map(TcOption::Other).collect()),
    ];
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    ask(RouteNetlinkMessage::NewQueueDiscipline(message), flags).map(drop)
}

const TBF_PARAMETERS: u16 = 1;
const TBF_RATE_64: u16 = 4;

/// `tc_ratespec` of that many bytes a second.
fn rate_specification(bytes_per_second: u64) -> [u8; 12] {
    /// With that the kernel reckons by itself and wants no table of us.
    const LINKLAYER_ETHERNET: u8 = 1;
    let mut specification = [0; 12];
    specification[1] = LINKLAYER_ETHERNET;
    let rate = u32::try_from(bytes_per_second).unwrap_or(u32::MAX);
    specification[8..].copy_from_slice(&rate.to_ne_bytes());
    specification
}

/// The rate of a `tbf`, bits a second, from its options.
fn tbf_rate(options: &[u8]) -> Option<u64> {
    rate_of(options, TBF_PARAMETERS, 0, TBF_RATE_64)
}

/// The highest rate of the one class below the root of a `htb`; `None` where there are none or more.
fn htb_rate(index: i32) -> io::Result<Option<u64>> {
    const HTB_PARAMETERS: u16 = 1;
    const HTB_CEILING_64: u16 = 7;
    let mut question = TcMessage::default();
    question.header.index = index;
    let answers = ask(RouteNetlinkMessage::GetTrafficClass(question), NLM_F_DUMP)?;
    let mut rates = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewTrafficClass(class) if class.header.parent == TcHandle::ROOT => {
            let options = class.attributes.iter().find_map(|attribute| match attribute {
                TcAttribute::Options(all) => Some(raw(all)),
                _ => None,
            })?;
            // `tc_htb_opt` begins with rate and ceiling.
            rate_of(&options, HTB_PARAMETERS, 12, HTB_CEILING_64)
        }
        _ => None,
    });
    Ok(rates.next().filter(|_| rates.next().is_none()))
}

/// A `tc_ratespec` at `offset` of an attribute, or the attribute that has it in 64 bits; bits a second.
fn rate_of(options: &[u8], parameters: u16, offset: usize, in_64_bits: u16) -> Option<u64> {
    let wide = find(options, in_64_bits)
        .and_then(|value| Some(u64::from_ne_bytes(value.get(..8)?.try_into().ok()?)));
    let narrow = || {
        let value = find(options, parameters)?.get(offset + 8..offset + 12)?;
        Some(u64::from(u32::from_ne_bytes(value.try_into().ok()?)))
    };
    wide.or_else(narrow).map(|bytes| bytes.saturating_mul(8))
}

/// The options as they came: of a kind that the library does not know it keeps the bytes of all in one.
fn raw(options: &[TcOption]) -> Vec<u8> {
    let other = options.iter().find_map(|option| match option {
        TcOption::Other(bytes) => Some(bytes),
        _ => None,
    });
    other.map_or_else(Vec::new, |bytes| {
        let mut value = vec![0; bytes.value_len()];
        bytes.emit_value(&mut value);
        value
    })
}

/// The value of an attribute among others.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if kind & 0x3fff == wanted {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_device_of_hardware_that_knows_its_speed_has_one() {
        let devices = tempfile::tempdir().unwrap();
        for (name, speed, hardware) in
            [("eth0", "300", true), ("veth0", "10000", false), ("eth1", "-1", true)]
        {
            let folder = devices.path().join(name);
            std::fs::create_dir_all(if hardware { folder.join("device") } else { folder.clone() }).unwrap();
            std::fs::write(folder.join("speed"), format!("{speed}\n")).unwrap();
        }
        let speeds = ["eth0", "veth0", "eth1", "lo"].map(|name| speed(devices.path(), name));
        assert_eq!(speeds, [Some(300_000_000), None, None, None]);
    }

    #[test]
    fn what_a_device_has_sent_is_counted_as_ethernet_does() {
        let statistics = "Inter-|   Receive  |  Transmit\n face |bytes packets\n\
                          eth0: 9 1 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n\
                          eth01: 9 1 0 0 0 0 0 0 5 5 0 0 0 0 0 0\n";
        assert_eq!(sent_bits(statistics, "eth0"), Some((1000 + 10 * 24) * 8));
        assert_eq!(sent_bits(statistics, "eth"), None);
    }

    #[test]
    fn what_a_device_has_lost_is_what_it_counts_as_errors_and_as_dropped_either_way() {
        let statistics = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop\n\
                          veth0: 9 1 2 30 0 0 0 0 1000 10 400 5000 7 0 0 0\n";
        assert_eq!(lost(statistics, "veth0"), Some(2 + 30 + 400 + 5_000));
        assert_eq!((lost(statistics, "veth"), lost("veth0: 1 2 3\n", "veth0")), (None, None));
        assert!(dropped("lo").is_ok(), "every namespace has one");
        assert!(dropped("no-such").is_err());
    }

    #[test]
    fn a_rate_is_read_from_options_of_any_shape() {
        let mut options = vec![40, 0, 1, 0];
        options.extend(rate_specification(50_000));
        options.extend([0; 24]);
        assert_eq!(tbf_rate(&options), Some(400_000));
        for cut in 0..options.len() {
            assert_eq!(tbf_rate(&options[..cut]), None);
        }
        options.extend([12, 0, 4, 0]);
        options.extend(10_000_000_000_u64.to_ne_bytes());
        assert_eq!(tbf_rate(&options), Some(80_000_000_000), "the wider one counts");
    }
}
