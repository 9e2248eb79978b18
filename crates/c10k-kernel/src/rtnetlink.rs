//! One question to rtnetlink and its answers (rtnetlink(7)). By hand, since the crate of that name is asynchronous,
//! and these are a handful of questions.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    ErrorMessage, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// How often a dump is asked for while the kernel says of each that it changed in the middle.
const MOST_DUMPS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(1);

/// Sends one request, in the network namespace of the calling thread, and gathers the answers until the dump
/// is done or the request is acknowledged. A dump during which the kernel's list changed is asked for anew.
///
/// # Errors
/// As socket(2), or the `errno` in the kernel's answer; EAGAIN when each of [`MOST_DUMPS`] dumps was interrupted.
pub(crate) fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.header.sequence_number = 1;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let most_tries = if flags & NLM_F_DUMP == NLM_F_DUMP { MOST_DUMPS } else { 1 };
    repeat(most_tries, || ask_once(&bytes))
}

/// The number of a device in the calling thread's network namespace.
///
/// # Errors
/// ENODEV without such a device.
pub(crate) fn index_of(device: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(device).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
}

/// What the kernel has answered so far.
#[derive(Debug, Default)]
struct Answers {
    messages: Vec<RouteNetlinkMessage>,
    /// The dump is done, or the request is acknowledged.
    is_done: bool,
    /// The kernel's list changed while it was dumped, so that entries may be missing or stand twice (NLM_F_DUMP_INTR).
    is_interrupted: bool,
}

fn repeat(
    most_tries: u32,
    mut once: impl FnMut() -> io::Result<Answers>,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    for _ in 0..most_tries {
        let answers = once()?;
        if !answers.is_interrupted {
            return Ok(answers.messages);
        }
        // Who changes the list may be done by then.
        std::thread::sleep(PAUSE);
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

fn ask_once(request: &[u8]) -> io::Result<Answers> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    let mut answers = Answers::default();
    while !answers.is_done {
        let (datagram, _) = socket.recv_from_full()?;
        answers.add(&datagram)?;
    }
    Ok(answers)
}

impl Answers {
    fn add(&mut self, datagram: &[u8]) -> io::Result<()> {
        let mut rest = datagram;
        while !rest.is_empty() && !self.is_done {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // Messages in one datagram are aligned to four bytes (netlink(7)).
            let length = (answer.header.length as usize).next_multiple_of(4);
            self.is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                // A dump that fails on its way says so in its last message (net/netlink/af_netlink.c,
                // `netlink_dump_done`).
                NetlinkPayload::Done(done) if done.code < 0 => return Err(errno(done.code)),
                NetlinkPayload::Done(_) | NetlinkPayload::Error(ErrorMessage { code: None, .. }) => {
                    self.is_done = true;
                }
                NetlinkPayload::Error(error) => return Err(errno(error.raw_code())),
                NetlinkPayload::InnerMessage(message) => self.messages.push(message),
                _ => {}
            }
            rest = rest.get(length.max(16)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The kernel gives an errno as a negative number.
fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code.saturating_neg())
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::address::AddressMessage;

    use super::*;

    /// A netlink message of the given type with this body.
    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(1u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    const DONE: u16 = 3;
    const ERROR: u16 = 2;

    /// One address of the answer to a dump.
    fn address(flags: u16) -> Vec<u8> {
        let mut answer = NetlinkMessage::from(RouteNetlinkMessage::NewAddress(AddressMessage::default()));
        answer.header.flags = flags;
        answer.finalize();
        let mut bytes = vec![0; answer.buffer_len()];
        answer.serialize(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<Answers> {
        let mut answers = Answers::default();
        answers.add(bytes).map(|()| answers)
    }

    #[test]
    fn a_dump_ends_with_its_last_message_and_an_error_in_that_is_an_error() {
        let whole = [address(2), address(2), message(DONE, 2, &0i32.to_ne_bytes())].concat();
        let answers = read(&whole).unwrap();
        assert_eq!((answers.messages.len(), answers.is_done, answers.is_interrupted), (2, true, false));
        let failed = [address(2), message(DONE, 2, &(-libc::ENOMEM).to_ne_bytes())].concat();
        assert_eq!(read(&failed).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
        let refused = message(ERROR, 0, &[&(-libc::EPERM).to_ne_bytes()[..], &[0; 16]].concat());
        assert_eq!(read(&refused).unwrap_err().raw_os_error(), Some(libc::EPERM));
        let acknowledged = message(ERROR, 0, &[0; 20]);
        assert!(read(&acknowledged).unwrap().is_done);
        assert!(!read(&address(2)).unwrap().is_done, "more is to come");
    }

    #[test]
    fn a_dump_that_was_interrupted_is_asked_for_again_and_not_for_ever() {
        let done = message(DONE, 2, &0i32.to_ne_bytes());
        let interrupted = [address(2 | NLM_F_DUMP_INTR), done.clone()].concat();
        // The kernel may say it in the last message alone.
        let late = [address(2), message(DONE, 2 | NLM_F_DUMP_INTR, &0i32.to_ne_bytes())].concat();
        let whole = [address(2), address(2), done].concat();
        let mut dumps = [&interrupted, &late, &whole].into_iter();
        let answers = repeat(MOST_DUMPS, || read(dumps.next().expect("the third is whole"))).unwrap();
        assert_eq!(answers.len(), 2);
        let mut asked = 0;
        let error = repeat(MOST_DUMPS, || {
            asked += 1;
            read(&interrupted)
        });
        assert_eq!((error.unwrap_err().raw_os_error(), asked), (Some(libc::EAGAIN), MOST_DUMPS));
    }
}
